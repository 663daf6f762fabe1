"""Raw lines as they may be shown: without personal addresses, and short."""

import re

MASK = "***@***"

# An address in any script, also behind an escape that JSON or a URL may write the sign as; rather too much than too
# little. What ends it are the signs that stand around values in JSON, CSV and logs.
_OUTSIDE = r"\s\"'`<>(){}\[\],;:=|\\"
_ADDRESS = re.compile(rf"[^{_OUTSIDE}]+(?:@|＠|\\u0040|\\x40|%40|&#64;)[^{_OUTSIDE}]+", re.IGNORECASE)


def masked(text: str) -> str:
    """Return text with every e-mail address in it masked."""
    return _ADDRESS.sub(MASK, text)
