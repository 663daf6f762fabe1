import gzip
import hashlib
import itertools
from collections.abc import Callable, Iterator

import pytest

from src.marketing_messaging_service.staging import packing
from src.marketing_messaging_service.staging.lookahead import Lookahead
from src.marketing_messaging_service.staging.packing import MOST_LAYERS, PACKINGS, unpacked
from src.marketing_messaging_service.staging.rejection import DamagedFileError
from src.marketing_messaging_service.staging.zstd_library import zstd
from src.marketing_messaging_service.vocabulary import ReasonCode

TEXT = b"".join(b"%d %s\n" % (number, hashlib.sha256(b"%d" % number).hexdigest().encode()) for number in range(300))

SKIPPED = b"\x50\x2a\x4d\x18" + (4).to_bytes(4, "little") + b"skip"
"""A zstd frame that holds nothing of the content."""

PACKERS: dict[str, Callable[[bytes], bytes]] = {"gzip": gzip.compress, "zstd": zstd.compress}


def pieces(content: bytes, size: int = 1 << 20) -> Iterator[bytes]:
    return (content[start : start + size] for start in range(0, len(content), size))


def read(content: bytes, size: int = 1 << 20) -> tuple[bytes, DamagedFileError | None]:
    """The content of a file that comes in pieces of so many bytes, and the damage it breaks off at."""
    text, _ = unpacked(Lookahead(pieces(content, size)))
    found = []
    try:
        for piece in text:
            assert piece
            found.append(piece)
    except DamagedFileError as error:
        return b"".join(found), error
    return b"".join(found), None


def test_every_packing_is_tried_here() -> None:
    assert {each.name for each in PACKINGS} == set(PACKERS)


@pytest.mark.parametrize("size", [1 << 20, 100, 3, 1])
@pytest.mark.parametrize("name", PACKERS)
class TestPacked:
    def test_it_is_recognised_and_unpacked(self, name: str, size: int) -> None:
        assert read(PACKERS[name](TEXT), size) == (TEXT, None)

    def test_parts_one_after_the_other_are_one_text_with_padding_between_or_behind(self, name: str, size: int) -> None:
        pack = PACKERS[name]

        assert read(pack(b"a\nb") + pack(b"") + pack(b"c\n"), size) == (b"a\nbc\n", None)
        assert read(pack(b"a") + b"\0" * 100 + pack(b"b") + b"\0" * 100, size) == (b"ab", None)

    def test_cut_off_anywhere_it_gives_what_came_before_and_one_damage(self, name: str, size: int) -> None:
        content = PACKERS[name](b"line\n" * 3)
        for length in range(4, len(content)):
            text, damage = read(content[:length], size)

            assert b"line\nline\nline\n".startswith(text)
            assert damage is not None
            assert str(damage) == f"The {name} file ends too early here; deliver the whole file again."
            assert damage.rejection.reason_code is ReasonCode[f"CORRUPT_{name.upper()}"]

    @pytest.mark.parametrize("garbage", [b"garbage", b"\n", b"\0\0garbage", b"\x1f\x8b\x08garbage"])
    def test_garbage_behind_it_is_damage_after_all_of_the_text(self, name: str, size: int, garbage: bytes) -> None:
        text, damage = read(PACKERS[name](TEXT) + garbage, size)

        assert text == TEXT
        assert damage is not None
        assert damage.rejection.reason_code is ReasonCode[f"CORRUPT_{name.upper()}"]

    def test_layers_in_any_order_are_unpacked_as_many_as_are_allowed(self, name: str, size: int) -> None:
        for inner in PACKERS.values():
            assert read(PACKERS[name](inner(TEXT)), size) == (TEXT, None)
        too_often = PACKERS[name](gzip.compress(zstd.compress(TEXT)))
        assert MOST_LAYERS == 2
        assert read(too_often, size) == (zstd.compress(TEXT), None)

    def test_damage_of_the_outer_layer_is_damage(self, name: str, size: int) -> None:
        noise = hashlib.shake_128(b"noise").hexdigest(20_000).encode()
        content = PACKERS[name](gzip.compress(noise))

        text, damage = read(content[: len(content) // 2], size)

        assert noise.startswith(text)
        assert damage is not None
        assert damage.rejection.reason_code is ReasonCode[f"CORRUPT_{name.upper()}"]


def test_what_is_not_packed_is_its_own_content() -> None:
    assert read(TEXT, 7) == (TEXT, None)
    assert read(b"") == (b"", None)


def test_a_frame_to_be_skipped_is_skipped_wherever_it_is() -> None:
    assert read(SKIPPED + zstd.compress(b"a") + SKIPPED + zstd.compress(b"b") + SKIPPED) == (b"ab", None)


def test_damage_within_a_zstd_file_costs_no_more_than_the_block_before_it() -> None:
    text = hashlib.shake_128(b"noise").digest(1 << 20)
    content = bytearray(zstd.compress(text, options={zstd.CompressionParameter.checksum_flag: 1}))
    content[-1] ^= 1

    found, damage = read(bytes(content))

    assert text.startswith(found)
    assert len(found) >= len(text) - packing.ZSTD_PIECE_BYTES
    assert damage is not None
    assert "is damaged from here on" in str(damage)


def with_large_window(text: bytes) -> bytes:
    packer = zstd.ZstdCompressor(options={zstd.CompressionParameter.window_log: 28})
    return packer.compress(text) + packer.flush()


def with_dictionary(text: bytes) -> bytes:
    samples = [b"sample %d of a dictionary" % number * 3 for number in range(100)]
    return zstd.compress(text, zstd_dict=zstd.train_dict(samples, 1_000))


@pytest.mark.parametrize(
    ("pack", "told"),
    [
        (with_large_window, "needs more than 128 MiB of memory to be unpacked; pack it without --long"),
        (with_dictionary, "was packed with a dictionary, which is not available here; pack it without one"),
    ],
)
def test_a_zstd_file_that_cannot_be_unpacked_here_says_how_to_pack_it(
    pack: Callable[[bytes], bytes], told: str
) -> None:
    _, damage = read(pack(TEXT))

    assert damage is not None
    assert told in str(damage)
    assert damage.rejection.reason_code is ReasonCode.UNKNOWN_PACKING


@pytest.mark.parametrize("name", PACKERS)
def test_text_that_packs_a_thousand_times_is_unpacked_piece_by_piece(name: str) -> None:
    text, _ = unpacked(Lookahead(pieces(PACKERS[name](PACKERS[name](bytes(64 << 20))))))

    sizes = [len(piece) for piece in text]

    assert sum(sizes) == 64 << 20
    assert max(sizes) <= packing.PIECE_BYTES


class TestLookahead:
    def test_what_was_looked_at_is_still_given(self) -> None:
        ahead = Lookahead(iter([b"ab", b"c", b"def"]))

        assert [ahead.beginning(size) for size in (1, 3, 4, 100)] == [b"a", b"abc", b"abcd", b"abcdef"]
        assert list(ahead) == [b"ab", b"c", b"def"]
        assert ahead.beginning(5) == b""

    def test_damage_that_lies_ahead_is_raised_when_it_is_come_to(self) -> None:
        def broken() -> Iterator[bytes]:
            yield b"ab"
            raise DamagedFileError(ReasonCode.CORRUPT_GZIP, "damaged")

        ahead = Lookahead(broken())

        assert ahead.beginning(100) == b"ab"
        assert next(ahead) == b"ab"
        for _ in range(2):
            with pytest.raises(DamagedFileError, match="damaged"):
                next(ahead)

    def test_no_more_is_read_than_was_asked_for(self) -> None:
        endless = itertools.repeat(b"x")

        assert Lookahead(endless).beginning(10) == b"x" * 10
