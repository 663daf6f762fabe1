import gzip
import hashlib
import io

import pytest

from src.marketing_messaging_service.staging import lines, packing
from src.marketing_messaging_service.staging.encoding import BYTE_ORDER_MARK
from src.marketing_messaging_service.staging.formats import read_rows
from src.marketing_messaging_service.staging.lines import CHUNK_BYTES, Chunk, HashedReader
from src.marketing_messaging_service.staging.sources.file import SHIPPED_SOURCES
from src.marketing_messaging_service.vocabulary import ReasonCode

JSON_LINES = SHIPPED_SOURCES.sources[0]

Fault = tuple[int, ReasonCode, bytes]
"""Line number, reason code, and what there is of the line."""

TEN_LINES = b"".join(b"line %d\n" % number for number in range(1, 11))


def chunks(content: bytes, *, chunk_bytes: int = lines.CHUNK_BYTES) -> list[Chunk]:
    reader = HashedReader(io.BytesIO(content), lambda _: None)
    found = list(read_rows(reader, JSON_LINES, chunk_bytes))
    _assert_numbered_without_gaps(found)
    return found


def _assert_numbered_without_gaps(found: list[Chunk]) -> None:
    number = 1
    for chunk in found:
        assert chunk.first_line_number == number
        number += len(chunk.lines) + (chunk.fault is not None)


def read(content: bytes) -> tuple[list[bytes], list[Fault]]:
    """The lines and the faults of a file."""
    found = chunks(content)
    faults = [
        (chunk.first_line_number + len(chunk.lines), chunk.fault.reason_code, chunk.fault_bytes)
        for chunk in found
        if chunk.fault is not None
    ]
    return [line for chunk in found for line in chunk.lines], faults


def gzipped(text: bytes) -> bytes:
    return gzip.compress(text, mtime=0)


def flipped(content: bytes, *positions: int) -> bytes:
    changed = bytearray(content)
    for position in positions:
        changed[position] ^= 0xFF
    return bytes(changed)


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        pytest.param(b"", [], id="an empty file has no line"),
        pytest.param(b"\n", [b""], id="a lone newline is one blank line"),
        pytest.param(b"a\nb\n", [b"a", b"b"], id="a newline ends a line"),
        pytest.param(b"a\nb", [b"a", b"b"], id="a last line without a newline is a line"),
        pytest.param(b"a\n\n\nb\n", [b"a", b"", b"", b"b"], id="blank lines are lines"),
        pytest.param(b"a\r\nb\r\n", [b"a", b"b"], id="CRLF ends a line"),
        pytest.param(b"a\r\nb\r", [b"a", b"b"], id="a CR at the very end belongs to the line end"),
        pytest.param(b"a\r\r\n", [b"a\r"], id="only one CR belongs to the line end"),
        pytest.param(b"a\rb\n", [b"a\rb"], id="a CR alone ends no line"),
        pytest.param(
            b"a\x0bb\x0c\x1c\xc2\x85\xe2\x80\xa8c\n", [b"a\x0bb\x0c\x1c\xc2\x85\xe2\x80\xa8c"], id="only LF does"
        ),
        pytest.param(b"a\x00b\n\x00\n", [b"a\x00b", b"\x00"], id="NUL bytes are bytes of their line"),
        pytest.param(BYTE_ORDER_MARK + b"a\nb\n", [b"a", b"b"], id="a byte order mark is left out"),
        pytest.param(BYTE_ORDER_MARK, [], id="a byte order mark alone is no line"),
        pytest.param(BYTE_ORDER_MARK + b"\n", [b""], id="a byte order mark before a newline is a blank line"),
        pytest.param(BYTE_ORDER_MARK * 2 + b"a\n", [BYTE_ORDER_MARK + b"a"], id="only the first mark is left out"),
        pytest.param(b"a\n" + BYTE_ORDER_MARK + b"b", [b"a", BYTE_ORDER_MARK + b"b"], id="and only at the start"),
        pytest.param(BYTE_ORDER_MARK[:2], [BYTE_ORDER_MARK[:2]], id="half a mark is text"),
    ],
)
@pytest.mark.parametrize("compressed", [False, True], ids=["plain", "gzip"])
@pytest.mark.parametrize("read_bytes", [1 << 20, 2, 3])
def test_text_is_cut_into_lines(
    monkeypatch: pytest.MonkeyPatch, content: bytes, expected: list[bytes], compressed: bool, read_bytes: int
) -> None:
    monkeypatch.setattr(lines, "READ_BYTES", read_bytes)

    assert read(gzipped(content) if compressed else content) == (expected, [])


def test_a_chunk_ends_once_it_holds_enough_bytes(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lines, "READ_BYTES", 7)

    found = chunks(TEN_LINES, chunk_bytes=12)

    assert [len(chunk.lines) for chunk in found] == [2, 2, 2, 2, 2]


def test_a_chunk_ends_once_it_holds_enough_lines_however_short_they_are(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lines, "CHUNK_LINES", 1_000)

    found = chunks(b"\n" * 3_500)

    assert [len(chunk.lines) for chunk in found] == [1_000, 1_000, 1_000, 500]


class TestALineThatIsTooLong:
    @pytest.fixture(autouse=True)
    def _small_limits(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(lines, "READ_BYTES", 8)
        monkeypatch.setattr(lines, "MAX_LINE_BYTES", 20)
        monkeypatch.setattr(lines, "KEPT_BYTES_OF_LONG_LINE", 5)

    def test_the_longest_line_is_taken(self) -> None:
        assert read(b"x" * 20 + b"\n") == ([b"x" * 20], [])

    @pytest.mark.parametrize("length", [21, 24, 25, 100])
    @pytest.mark.parametrize("compressed", [False, True], ids=["plain", "gzip"])
    def test_a_longer_one_is_a_fault_with_its_beginning_kept(self, length: int, compressed: bool) -> None:
        content = b"a\n" + b"x" * length + b"\nb\n"

        found = read(gzipped(content) if compressed else content)

        assert found == ([b"a", b"b"], [(2, ReasonCode.LINE_TOO_LONG, b"xxxxx")])

    @pytest.mark.parametrize("length", [21, 100])
    def test_a_last_line_without_a_newline_can_be_too_long(self, length: int) -> None:
        assert read(b"a\n" + b"x" * length) == ([b"a"], [(2, ReasonCode.LINE_TOO_LONG, b"xxxxx")])

    def test_several_in_a_row_are_one_fault_each(self) -> None:
        long = b"x" * 30 + b"\n"

        found = read(long + long + b"\n" + long)

        assert found == ([b""], [(number, ReasonCode.LINE_TOO_LONG, b"xxxxx") for number in (1, 2, 4)])

    def test_its_whole_length_is_reported(self) -> None:
        [chunk] = chunks(b"x" * 100)

        assert chunk.fault is not None
        assert (
            chunk.fault.explanation
            == "The line has 100 bytes; at most 20 are taken, and the first 5 are kept here, which is too little for a "
            "replay."
        )

    def test_it_keeps_its_beginning_where_the_file_breaks_off_inside_it(self) -> None:
        noise = hashlib.shake_128(b"noise").hexdigest(200).encode()

        _, [(number, reason_code, kept)] = read(gzipped(b"xxxxx" + noise)[:-50])

        assert (number, reason_code, kept) == (1, ReasonCode.CORRUPT_GZIP, b"xxxxx")


class TestGzip:
    def test_nothing_compressed_is_an_empty_file(self) -> None:
        assert read(gzipped(b"")) == ([], [])

    def test_members_one_after_the_other_are_one_text(self) -> None:
        assert read(gzipped(b"a\nb") + gzipped(b"") + gzipped(b"c\n")) == ([b"a", b"bc"], [])

    @pytest.mark.parametrize("padding", [1, 7, 8, 100])
    @pytest.mark.parametrize("read_bytes", [1 << 20, 4])
    def test_zeros_after_a_member_are_padding(
        self, monkeypatch: pytest.MonkeyPatch, padding: int, read_bytes: int
    ) -> None:
        monkeypatch.setattr(lines, "READ_BYTES", read_bytes)

        assert read(gzipped(b"a\n") + b"\0" * padding) == ([b"a"], [])
        assert read(gzipped(b"a\n") + b"\0" * padding + gzipped(b"b\n")) == ([b"a", b"b"], [])

    @pytest.mark.parametrize("read_bytes", [1 << 20, 100, 3])
    def test_text_that_packs_well_is_unpacked_piece_by_piece(
        self, monkeypatch: pytest.MonkeyPatch, read_bytes: int
    ) -> None:
        monkeypatch.setattr(lines, "READ_BYTES", read_bytes)
        monkeypatch.setattr(packing, "PIECE_BYTES", read_bytes)
        text = b"\n".join([b"x" * 999] * 50)

        assert read(gzipped(text)) == (text.split(b"\n"), [])

    @pytest.mark.parametrize("read_bytes", [1 << 20, 10, 2])
    def test_cut_off_anywhere_it_gives_whole_lines_and_then_one_fault(
        self, monkeypatch: pytest.MonkeyPatch, read_bytes: int
    ) -> None:
        monkeypatch.setattr(lines, "READ_BYTES", read_bytes)
        content = gzipped(TEN_LINES)
        for length in range(2, len(content)):
            found, [(number, reason_code, rest)] = read(content[:length])

            assert TEN_LINES.startswith(b"".join(line + b"\n" for line in found) + rest)
            assert (number, reason_code) == (len(found) + 1, ReasonCode.CORRUPT_GZIP)

    def test_cut_off_in_its_checksum_it_gives_every_line_and_then_one_fault(self) -> None:
        found = read(gzipped(b"a\nb\n")[:-3])

        assert found == ([b"a", b"b"], [(3, ReasonCode.CORRUPT_GZIP, b"")])

    def test_a_single_magic_number_breaks_off_at_once(self) -> None:
        assert read(b"\x1f\x8b") == ([], [(1, ReasonCode.CORRUPT_GZIP, b"")])

    @pytest.mark.parametrize("read_bytes", [1 << 20, 5])
    @pytest.mark.parametrize("position", [-1, -5], ids=["length", "checksum"])
    def test_a_wrong_trailer_is_a_fault_after_every_line(
        self, monkeypatch: pytest.MonkeyPatch, position: int, read_bytes: int
    ) -> None:
        monkeypatch.setattr(lines, "READ_BYTES", read_bytes)

        found = read(flipped(gzipped(b"a\nb\nc"), position))

        assert found == ([b"a", b"b"], [(3, ReasonCode.CORRUPT_GZIP, b"c")])

    @pytest.mark.parametrize("garbage", [b"garbage", b"\x1f", b"\x1f\x8b", b"\0\0garbage", b"\n"])
    def test_garbage_after_a_member_is_a_fault_after_its_lines(self, garbage: bytes) -> None:
        assert read(gzipped(b"a\nb\n") + garbage) == ([b"a", b"b"], [(3, ReasonCode.CORRUPT_GZIP, b"")])

    def test_a_damaged_second_member_leaves_the_first_one_whole(self) -> None:
        second = flipped(gzipped(b"b\n"), 3)

        assert read(gzipped(b"a\n") + second) == ([b"a"], [(2, ReasonCode.CORRUPT_GZIP, b"")])

    @pytest.mark.parametrize("read_bytes", [1 << 20, 1_000, 10])
    def test_damage_in_the_middle_gives_what_came_before_it(
        self, monkeypatch: pytest.MonkeyPatch, read_bytes: int
    ) -> None:
        monkeypatch.setattr(lines, "READ_BYTES", read_bytes)
        text = b"".join(
            b"%d %s\n" % (number, hashlib.sha256(b"%d" % number).hexdigest().encode()) for number in range(200)
        )
        content = gzipped(text)
        middle = len(content) // 2

        found, faults = read(flipped(content, *range(middle, middle + 40)))

        assert found[:90] == text.split(b"\n")[:90]
        assert [(number, reason_code) for number, reason_code, _ in faults] == [
            (len(found) + 1, ReasonCode.CORRUPT_GZIP)
        ]

    def test_the_fault_says_what_to_do(self) -> None:
        [chunk] = chunks(gzipped(b"a\n")[:-1])

        assert chunk.fault is not None
        assert chunk.fault.explanation == "The gzip file ends too early here; deliver the whole file again."


def test_the_hash_is_that_of_the_whole_file_wherever_reading_stopped() -> None:
    content = gzipped(b"a\n") + b"garbage"
    told: list[int] = []
    reader = HashedReader(io.BytesIO(content), told.append)

    list(read_rows(reader, JSON_LINES, CHUNK_BYTES))

    assert reader.content_hash() == hashlib.sha256(content).hexdigest()
    assert sum(told) == len(content)
