"""Takes apart lines that hold several events, as clients post them: each event becomes its own line."""

from collections.abc import Iterator, Sequence
from dataclasses import replace

import msgspec

from src.marketing_messaging_service.staging import lines
from src.marketing_messaging_service.staging.line_parser import DuplicateKeys, json_object
from src.marketing_messaging_service.staging.lines import Chunk
from src.marketing_messaging_service.staging.rejection import Rejection
from src.marketing_messaging_service.staging.text_form import bare
from src.marketing_messaging_service.vocabulary.values import RefusedValueError

_decode_keys = msgspec.json.Decoder(dict[str, msgspec.Raw]).decode
_decode_array = msgspec.json.Decoder(list[msgspec.Raw]).decode


def opened(chunks: Iterator[Chunk], key: str) -> Iterator[Chunk]:
    """Yield chunks in which an array of events under a key at the top of a line is taken apart.

    Lines are numbered after that. What is beside the array is not read; an empty array is a blank line.
    """
    next_number = 1
    for chunk in chunks:
        if chunk.replaces_all:
            next_number = 1
        for some in _opened(chunk, key):
            yield replace(some, first_line_number=next_number)
            next_number += len(some.lines) + (some.fault is not None)


def _opened(chunk: Chunk, key: str) -> Iterator[Chunk]:
    """Yield a chunk taken apart, in pieces that are no longer than a chunk may be."""
    found: list[bytes] = []
    refused: dict[int, Rejection] = {}
    for place, line in enumerate(chunk.lines):
        if place in chunk.refused:
            refused[len(found)] = chunk.refused[place]
            found.append(line)
        else:
            found += events_on(line, key)
        if len(found) >= lines.CHUNK_LINES:
            yield Chunk(1, found, refused=refused)
            found, refused = [], {}
    yield replace(chunk, lines=found, refused=refused)


def events_on(line: bytes, key: str) -> Sequence[bytes]:
    """Return the events in the array under a line's top-level key; a line without one is returned as it is."""
    written = msgspec.json.encode(key)
    if written not in line:
        return (line,)
    text = bare(line)
    try:
        array = bytes(_decode_keys(text).get(key, b""))
        if not array.startswith(b"[") or (text.count(written) > 1 and _stands_twice(text, key)):
            return (line,)
        return [bytes(event) for event in _decode_array(array)] or (b"",)
    except (msgspec.MsgspecError, RecursionError, UnicodeDecodeError):
        return (line,)


def _stands_twice(line: bytes, key: str) -> bool:
    """Whether a top-level key appears more than once on a line, so that only the close look can say what is wrong."""
    try:
        document = json_object(line)
    except RefusedValueError:
        return True
    return isinstance(document, DuplicateKeys) and key in document.duplicated
