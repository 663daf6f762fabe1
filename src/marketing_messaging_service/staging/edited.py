"""Reads back rejected lines that were exported and then edited."""

from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType
from typing import NoReturn

import msgspec

from src.marketing_messaging_service.errors import ParameterError
from src.marketing_messaging_service.run_options import EditedLine
from src.marketing_messaging_service.staging.encoding import BYTE_ORDER_MARK
from src.marketing_messaging_service.staging.lines import MAX_LINE_BYTES
from src.marketing_messaging_service.staging.opening import open_regular
from src.marketing_messaging_service.staging.text_form import bare

_decode = msgspec.json.Decoder(dict[str, msgspec.Raw]).decode
_decode_id = msgspec.json.Decoder(int).decode
_decode_text = msgspec.json.Decoder(str).decode


def read_edited_lines(path: Path) -> Mapping[int, EditedLine]:
    """Return the lines of a file of edited lines, by their ids in rejected_rows.

    Each line is an object with the id and the line as --export wrote them; other keys are not read. Raises
    ParameterError, naming the line, for anything else, and when the file cannot be read or has no line.
    """
    found: dict[int, EditedLine] = {}
    try:
        with open_regular(path) as stream:
            for number, raw in enumerate(stream, start=1):
                text = raw.removeprefix(BYTE_ORDER_MARK) if number == 1 else raw
                if not text.strip():
                    continue
                row_id, line = _edited_line(text, f"{path}, line {number}")
                if row_id in found:
                    _refuse(f"{path}, line {number}", f"the id {row_id} was already in line {found[row_id].number}")
                found[row_id] = EditedLine(line, number)
    except (OSError, ValueError) as error:
        # A ValueError comes from a name with a null character in it.
        reason = (error.strerror or error) if isinstance(error, OSError) else error
        raise ParameterError(
            f"{path} cannot be read as edited lines: {reason}; name the file that was edited."
        ) from None
    if not found:
        raise ParameterError(f"{path} holds no line; name the file that was exported and edited.")
    # Given a plain dict, Prefect would look into every line whenever a step gets it.
    return MappingProxyType(found)


def _edited_line(text: bytes, where: str) -> tuple[int, bytes]:
    try:
        told = _decode(text)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
        _refuse(where, 'it is not a JSON object such as {"id": 17, "line": {"user_id": "ada"}}')
    try:
        row_id = _decode_id(told["id"])
    except (KeyError, msgspec.MsgspecError):
        _refuse(where, "its id is not a whole number")
    if "line" not in told:
        _refuse(where, "it has no line")
    line = bytes(told["line"])
    if line.startswith(b'"'):
        line = _decode_text(line).encode()
    elif not line.startswith(b"{"):
        _refuse(where, "its line is neither an object nor a text")
    if not bare(line):
        _refuse(where, "its line is empty; remove it from the file if it is to stay rejected")
    if len(line) > MAX_LINE_BYTES:
        _refuse(where, f"its line has {len(line)} bytes, and at most {MAX_LINE_BYTES} are taken")
    return row_id, line


def _refuse(where: str, what: str) -> NoReturn:
    raise ParameterError(f"{where}: {what}. Correct it, then start the replay again; nothing was taken.")
