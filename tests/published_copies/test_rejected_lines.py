"""Rejected lines as a file: an object is in it as it came, everything else as text."""

import json
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import pytest

from src.marketing_messaging_service.errors import ExportError
from src.marketing_messaging_service.loading.results import RejectedLine
from src.marketing_messaging_service.published_copies import export_rejected_lines
from src.marketing_messaging_service.staging import read_edited_lines

LINE = RejectedLine(7, "a.csv", 3, "invalid_row", None, "Odd.", datetime(2026, 3, 1, tzinfo=UTC), "a,b", "1,2,3")

RAW_LINES = [
    '{"a": 1.0,  "b": [1e5], "a": "\\u00e9"}',
    "{}",
    '{"cut": ',
    "[1]",
    '"text"',
    "\\xff {",
    "1,2\r\n3",
    '{"a": "\t"}',
    '{"é🙂": "\u2028"}',
    "{" * 2_000,
]


@pytest.mark.parametrize("raw_line", RAW_LINES)
def test_every_line_comes_back_as_it_was(tmp_path: Path, raw_line: str) -> None:
    path = tmp_path / "out.ndjson"
    assert export_rejected_lines(path, [replace(LINE, raw_line=raw_line)]) == 1
    assert read_edited_lines(path)[7].line.decode() == raw_line
    assert len(path.read_text(encoding="utf-8").split("\n")) == 2


def test_it_says_what_a_line_is_and_what_is_wrong_with_it(tmp_path: Path) -> None:
    path = tmp_path / "out.ndjson"
    export_rejected_lines(path, [LINE, replace(LINE, header_line=None, row_id=8, raw_line='{"user_id": "ada"}')])
    told = {"file": "a.csv", "line_number": 3, "reason_code": "invalid_row", "field_name": None, "explanation": "Odd."}
    told |= {"rejected_at": "2026-03-01 00:00:00 UTC"}
    assert [json.loads(line) for line in path.read_text().splitlines()] == [
        {"id": 7, **told, "header": "a,b", "line": "1,2,3"},
        {"id": 8, **told, "line": {"user_id": "ada"}},
    ]


def test_what_cannot_be_written_leaves_no_file(tmp_path: Path) -> None:
    def lines() -> "list[RejectedLine]":
        raise KeyboardInterrupt

    with pytest.raises(ExportError, match="cannot be written: No such file or directory"):
        export_rejected_lines(tmp_path / "gone" / "out.ndjson", [LINE])
    with pytest.raises(KeyboardInterrupt):
        export_rejected_lines(tmp_path / "out.ndjson", (line for _ in [1] for line in lines()))
    assert list(tmp_path.iterdir()) == []
