"""A file of edited lines is read back, or refused with the line that is wrong."""

from pathlib import Path

import pytest

from src.marketing_messaging_service.errors import ParameterError
from src.marketing_messaging_service.run_options import EditedLine
from src.marketing_messaging_service.staging import read_edited_lines


def read(tmp_path: Path, content: bytes) -> dict[int, EditedLine]:
    path = tmp_path / "edited.ndjson"
    path.write_bytes(content)
    return dict(read_edited_lines(path))


def test_an_object_is_read_as_it_stands_and_a_text_as_what_it_says(tmp_path: Path) -> None:
    found = read(
        tmp_path,
        b'\xef\xbb\xbf{"id": 3, "line": {"a": 1.0,  "a": 2}, "reason_code": "x"}\r\n\n{"line": "a,b\\n", "id": 7}',
    )
    assert found == {3: EditedLine(b'{"a": 1.0,  "a": 2}', 1), 7: EditedLine(b"a,b\n", 3)}


@pytest.mark.parametrize(
    ("content", "sentence"),
    [
        (b'{"id": 1, "line": {}}\nodd\n', "line 2: it is not a JSON object such as"),
        (b"[1]\n", "line 1: it is not a JSON object such as"),
        (b'{"line": {}}\n', "line 1: its id is not a whole number"),
        (b'{"id": "1", "line": {}}\n', "line 1: its id is not a whole number"),
        (b'{"id": 1}\n', "line 1: it has no line"),
        (b'{"id": 1, "line": null}\n', "line 1: its line is neither an object nor a text"),
        (b'{"id": 1, "line": " "}\n', "line 1: its line is empty; remove it from the file"),
        (b'{"id": 1, "line": {}}\n{"id": 1, "line": {}}\n', "line 2: the id 1 was already in line 1"),
        (b'{"id": 1, "line": "\\ud800"}\n', "line 1: it is not a JSON object such as"),
        (b"\n", "holds no line; name the file that was exported and edited"),
    ],
)
def test_what_is_wrong_is_reported_with_its_line(tmp_path: Path, content: bytes, sentence: str) -> None:
    with pytest.raises(ParameterError) as raised:
        read(tmp_path, content)
    assert f"{tmp_path / 'edited.ndjson'}" in str(raised.value)
    assert sentence in str(raised.value)


@pytest.mark.parametrize(("name", "reason"), [("gone", "No such file or directory"), (".", "")])
def test_what_cannot_be_read_is_reported(tmp_path: Path, name: str, reason: str) -> None:
    with pytest.raises(ParameterError, match=f"cannot be read as edited lines: {reason}"):
        read_edited_lines(tmp_path / name)


def test_a_line_that_is_too_long_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("src.marketing_messaging_service.staging.edited.MAX_LINE_BYTES", 10)
    with pytest.raises(ParameterError, match="its line has 12 bytes, and at most 10 are taken"):
        read(tmp_path, b'{"id": 1, "line": {"a":"bcde"}}')
