"""Writes rejected lines into a file for editing, which a replay takes back."""

import json
import os
from collections.abc import Iterable
from pathlib import Path

import msgspec

from src.marketing_messaging_service.errors import ExportError
from src.marketing_messaging_service.infrastructure.instants import instant_text
from src.marketing_messaging_service.loading.results import RejectedLine

ONLY_THE_OWNER = 0o600
"""Who may read the file: it contains what identifies users."""


def export_rejected_lines(path: Path, lines: Iterable[RejectedLine]) -> int:
    """Write rejected lines into a new file that only its owner may read, one per line, and return their number.

    Raises ExportError, and leaves no file behind, when there already is one of that name or it cannot be written.
    """
    count = 0
    try:
        with os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, ONLY_THE_OWNER), "wb") as stream:
            try:
                for count, line in enumerate(lines, start=1):  # noqa: B007  it is returned
                    stream.write(_exported(line))
            except BaseException:
                path.unlink(missing_ok=True)
                raise
    except FileExistsError:
        raise ExportError(
            f"{path} exists and is not overwritten, because it may hold lines that somebody has edited; name "
            "another file, or remove it."
        ) from None
    except OSError as error:
        raise ExportError(
            f"{path} cannot be written: {error.strerror or error}; nothing of it was kept. Name another file."
        ) from None
    return count


def _exported(line: RejectedLine) -> bytes:
    """Return a rejected line as a line of the file: an object as it came, anything else as text."""
    told = {
        "id": line.row_id,
        "file": line.path,
        "line_number": line.line_number,
        "reason_code": line.reason_code,
        "field_name": line.field_name,
        "explanation": line.explanation,
        "rejected_at": f"{instant_text(line.rejected_at, 'seconds')} UTC",
        **({} if line.header_line is None else {"header": line.header_line}),
    }
    head = json.dumps(told, ensure_ascii=False).removesuffix("}")
    text = line.raw_line if _is_object(line.raw_line) else json.dumps(line.raw_line, ensure_ascii=False)
    return f'{head}, "line": {text}}}\n'.encode()


def _is_object(text: str) -> bool:
    """Whether a line is an object that means the same when nested in another one."""
    try:
        msgspec.json.decode(text.encode(), type=dict[str, msgspec.Raw])
    except (msgspec.MsgspecError, RecursionError, UnicodeEncodeError):
        return False
    return "\n" not in text and "\r" not in text
