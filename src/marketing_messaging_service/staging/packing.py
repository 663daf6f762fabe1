"""Recognises packed files by their first bytes, and unpacks them piece by piece, however well they pack."""

import contextlib
import zlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass

from src.marketing_messaging_service.staging.lookahead import Lookahead
from src.marketing_messaging_service.staging.rejection import DamagedFileError
from src.marketing_messaging_service.staging.zstd_library import zstd
from src.marketing_messaging_service.vocabulary import ReasonCode

MOST_LAYERS = 2
"""How many layers of packing a file may have; more are refused, because each can multiply the size."""

PIECE_BYTES = 1 << 20
"""The most that is unpacked at once."""

ZSTD_PIECE_BYTES = 128 << 10
"""The same for zstd, which withholds what it had unpacked when it meets damage: the size of one of its blocks."""

LARGEST_ZSTD_WINDOW = 27
"""As a power of two: a frame that needs more than 128 MiB of memory to be unpacked is refused, as by zstd itself."""

MAGIC_BYTES = 4


@dataclass(frozen=True, slots=True)
class Packing:
    """A way of packing files, and how to undo it."""

    name: str
    ending: str
    magics: frozenset[bytes]
    """What such a file begins with."""
    unpack: Callable[[Lookahead], Iterator[bytes]]
    """Yields the content in pieces. Raises DamagedFileError."""


def recognised(beginning: bytes) -> Packing | None:
    """Return how a file is packed by its first bytes, or None when it is not."""
    return next((packing for packing in PACKINGS if beginning.startswith(tuple(packing.magics))), None)


def unpacked(packed: Lookahead) -> tuple[Lookahead, tuple[Packing, ...]]:
    """Return the content of a file under at most MOST_LAYERS layers, and how it was packed, outermost first.

    A plain file is its own content.
    """
    layers: list[Packing] = []
    while len(layers) < MOST_LAYERS and (packing := recognised(packed.beginning(MAGIC_BYTES))):
        layers.append(packing)
        packed = Lookahead(packing.unpack(packed))
    return packed, tuple(layers)


def _unpack_gzip(packed: Lookahead) -> Iterator[bytes]:
    """Yield the text of a gzip file of one or more members."""
    data = next(packed, b"")
    while data:
        member = zlib.decompressobj(wbits=31)
        while not member.eof:
            before = member.copy()
            try:
                text = member.decompress(data, PIECE_BYTES)
            except zlib.error as error:
                if text := _text_before_damage(before, data):
                    yield text
                raise _damaged(ReasonCode.CORRUPT_GZIP, "gzip", str(error)) from None
            if text:
                yield text
            data = member.unconsumed_tail or (b"" if member.eof else next(packed, b""))
            if not data and not member.eof and not text:
                raise _broken_off(ReasonCode.CORRUPT_GZIP, "gzip")
        data = _after_padding(member.unused_data, packed)


def _text_before_damage(member: "zlib._Decompress", data: bytes) -> bytes:
    """Return the text that a call of `decompress` had worked out when it met the damage, and kept to itself."""
    pieces = []
    with contextlib.suppress(zlib.error):
        for position in range(len(data)):
            pieces.append(member.decompress(data[position : position + 1]))
    return b"".join(pieces)


def _unpack_zstd(packed: Lookahead) -> Iterator[bytes]:
    """Yield the text of a zstd file of one or more frames, of which some may be there to be skipped."""
    data = next(packed, b"")
    while data:
        frame = zstd.ZstdDecompressor(options={zstd.DecompressionParameter.window_log_max: LARGEST_ZSTD_WINDOW})
        while not frame.eof:
            if frame.needs_input and not data:
                data = next(packed, b"")
                if not data:
                    raise _broken_off(ReasonCode.CORRUPT_ZSTD, "zstd")
            try:
                text = frame.decompress(data, ZSTD_PIECE_BYTES)
            except zstd.ZstdError as error:
                raise _zstd_damage(str(error)) from None
            # The frame keeps what it has not come to.
            data = b""
            if text:
                yield text
        data = _after_padding(frame.unused_data, packed)


UNSUPPORTED_ZSTD = {
    "too much memory": "The zstd file needs more than 128 MiB of memory to be unpacked; pack it without --long.",
    "Dictionary": "The zstd file was packed with a dictionary, which is not available here; pack it without one.",
}
"""The library's messages about files that are not damaged, by a part of the sentence, and ours."""


def _zstd_damage(reason: str) -> DamagedFileError:
    for part, explanation in UNSUPPORTED_ZSTD.items():
        if part in reason:
            return DamagedFileError(ReasonCode.UNKNOWN_PACKING, explanation)
    return _damaged(ReasonCode.CORRUPT_ZSTD, "zstd", reason.rpartition(": ")[2])


def _after_padding(data: bytes, packed: Lookahead) -> bytes:
    """Return what follows the zero bytes that some writers put after a member, empty at the end."""
    while not (data := data.lstrip(b"\0")):
        data = next(packed, b"")
        if not data:
            break
    return data


def _damaged(reason_code: ReasonCode, name: str, reason: str) -> DamagedFileError:
    return DamagedFileError(
        reason_code, f"The {name} file is damaged from here on ({reason.removesuffix('.')}); deliver it again."
    )


def _broken_off(reason_code: ReasonCode, name: str) -> DamagedFileError:
    return DamagedFileError(reason_code, f"The {name} file ends too early here; deliver the whole file again.")


PACKINGS = (
    Packing("gzip", ".gz", frozenset({b"\x1f\x8b"}), _unpack_gzip),
    Packing(
        "zstd",
        ".zst",
        # A frame, or one of the frames to be skipped that some writers begin with.
        frozenset({b"\x28\xb5\x2f\xfd", *(bytes([first]) + b"\x2a\x4d\x18" for first in range(0x50, 0x60))}),
        _unpack_zstd,
    ),
)
"""The packings that are read. A further one is a record here, with its ending and its reason code."""
