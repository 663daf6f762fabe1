"""Makes raw lines safe to show: without personal addresses, and short."""

import re

MASK = "***@***"

# An address in any script, also with the @ escaped as in JSON or a URL; too much rather than too little. It ends at the
# characters that surround values in JSON, CSV and logs.
_OUTSIDE = r"\s\"'`<>(){}\[\],;:=|\\"
_ADDRESS = re.compile(rf"[^{_OUTSIDE}]+(?:@|＠|\\u0040|\\x40|%40|&#64;)[^{_OUTSIDE}]+", re.IGNORECASE)


def masked(text: str) -> str:
    """Return text with every e-mail address in it masked."""
    return _ADDRESS.sub(MASK, text)
