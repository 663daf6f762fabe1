"""CSV: each row is an event, or a rejected row under the number that a spreadsheet has for it."""

import csv
import gzip
import io
import json
from pathlib import Path

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from src.marketing_messaging_service.staging import lines
from src.marketing_messaging_service.staging.formats import csv_text
from src.marketing_messaging_service.staging.sources.file import parse_sources
from tests.effort import examples
from tests.staging.helpers import Staged, stage

HEADER = "message_id,user_id,event_type,event_timestamp,properties.amount,user_traits.marketing_opt_in"
ANA = "m1,ana,signup,2026-11-03T10:00:00Z,12.50,TRUE"


def staged(folder: Path, *rows: str) -> Staged:
    return stage(folder, ("\n".join([HEADER, *rows]) + "\n").encode(), "events.csv")


def test_a_row_is_an_event_whose_values_are_what_their_fields_hold(tmp_path: Path) -> None:
    [event] = staged(tmp_path, ANA).events

    assert (event["line_number"], event["message_id"], event["user_id"]) == (2, "m1", "ana")
    assert (event["amount"], event["marketing_opt_in"]) == (12.5, True)


def test_the_header_is_row_1_and_counts_as_blank(tmp_path: Path) -> None:
    found = staged(tmp_path, ANA, "", ",,,,,", "m2,,signup,2026-11-03T10:00:00Z,,")

    assert (found.read_count, found.blank_count) == (5, 3)
    assert found.reasons == [(5, "missing_field")]


def test_a_rejected_row_is_kept_as_the_json_line_that_says_the_same(tmp_path: Path) -> None:
    [row] = staged(tmp_path, "m1,ana,signup,yesterday,7,").rejected

    assert json.loads(row["raw_line"]) == {
        "message_id": "m1",
        "user_id": "ana",
        "event_type": "signup",
        "event_timestamp": "yesterday",
        "properties": {"amount": "7"},
    }


@pytest.mark.parametrize("end", ["\n", "\r\n", "\r"])
@pytest.mark.parametrize("mark", [b"", b"\xef\xbb\xbf"])
def test_line_ends_and_a_byte_order_mark_are_as_spreadsheets_write_them(tmp_path: Path, end: str, mark: bytes) -> None:
    content = mark + end.join([HEADER, ANA, ANA.replace("m1", "m2")]).encode()

    assert [row["message_id"] for row in stage(tmp_path, content, "events.csv").events] == ["m1", "m2"]


@pytest.mark.parametrize("line", ["sep=;\r\n", "\ufeffsep=;\n", '"sep=;"\n', "SEP=;\n"])
def test_a_line_that_tells_excel_the_delimiter_is_no_row(tmp_path: Path, line: str) -> None:
    content = line + f"{HEADER}\n{ANA}".replace(",", ";")

    found = stage(tmp_path, content.encode(), "events.csv")

    assert [(row["line_number"], row["message_id"]) for row in found.events] == [(2, "m1")]


def test_a_line_for_excel_does_not_overrule_the_mapping(tmp_path: Path) -> None:
    sources = parse_sources(
        "sources: [{files: '*.csv', format: csv, mapping: commas}]\nmappings: {commas: {cells: {delimiter: ','}}}",
        "s.yaml",
    )

    assert stage(tmp_path, f"sep=;\n{HEADER}\n{ANA}".encode(), "events.csv", sources=sources).user_ids == ["ana"]


@pytest.mark.parametrize(
    ("header", "told"),
    [
        ("u1,signup,2026-11-03T10:00:00Z", "put a row with the column names first"),
        ("User_Id,Event-Type,x", "write user_id and event_type for User_Id and Event-Type"),
        ("uid,x", "write user_id for uid"),
    ],
)
def test_a_file_without_a_column_that_every_event_needs_is_refused_as_a_whole(
    tmp_path: Path, header: str, told: str
) -> None:
    found = stage(tmp_path, f"{header}\n{header}\n{header}\n".encode(), "events.csv")

    assert (found.reasons, found.events) == ([(1, "invalid_header")], [])
    explanation = found.rejected[0]["explanation"]
    assert explanation.startswith(f"No column is called user_id, event_type or event_timestamp: {told}, or say")
    assert "u1" not in explanation


def test_a_column_in_other_letters_is_named_for_each_row_that_lacks_it(tmp_path: Path) -> None:
    content = f"{HEADER}\n{ANA}".replace("user_id", "UserID")

    [row] = stage(tmp_path, content.encode(), "events.csv").rejected

    assert row["explanation"].startswith("user_id is required and is absent; UserID is there: write it as user_id")


def test_a_quoted_cell_holds_delimiters_quotes_and_line_ends_and_an_empty_one_is_absent(tmp_path: Path) -> None:
    [event] = staged(tmp_path, 'm1,"a,""na""\r\nb",signup,2026-11-03T10:00:00Z,"",').events

    assert (event["user_id"], event["amount"], event["marketing_opt_in"]) == ('a,"na"\r\nb', None, None)


@pytest.mark.parametrize("row", ["m1,ana,signup", f"{ANA},more", f'"m"1{ANA[2:]}'])
def test_a_row_that_is_cut_wrongly_is_rejected_and_an_event_once_it_is_quoted(tmp_path: Path, row: str) -> None:
    found = staged(tmp_path, row, ANA.replace("m1", "m2"))

    assert found.reasons == [(2, "invalid_row")]
    assert found.rejected[0]["raw_line"] == row
    assert [event["message_id"] for event in found.events] == ["m2"]
    assert staged(tmp_path, ANA).reasons == []


def test_a_quote_that_is_not_closed_takes_nothing_after_it(tmp_path: Path) -> None:
    found = staged(tmp_path, ANA, 'm2,"bob,signup,2026-11-03T10:00:00Z,,', ANA.replace("m1", "m3"))

    assert [event["message_id"] for event in found.events] == ["m1"]
    assert found.reasons == [(3, "broken_off")]


def test_a_row_that_is_too_long_ends_the_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(csv_text, "MAX_LINE_BYTES", 1_000)

    found = staged(tmp_path, ANA, f'm2,"{"x" * 2_000}",signup,2026-11-03T10:00:00Z,,')

    assert found.reasons == [(3, "line_too_long")]


def test_bytes_that_are_no_text_cost_their_row_alone(tmp_path: Path) -> None:
    content = f"{HEADER}\n{ANA.replace('ana', 'caf?')}\n{ANA.replace('m1', 'm2')}\n".encode().replace(b"?", b"\xe9")

    found = stage(tmp_path, content, "events.csv")

    assert found.reasons == [(2, "invalid_utf8")]
    assert found.rejected[0]["raw_bytes"] == content.splitlines()[1]
    assert len(found.events) == 1


@pytest.mark.parametrize(
    "header", ["user_id,user_id,x", "user_id,,x", "user_id,properties.,x", "user_id,properties,properties.amount"]
)
def test_a_header_whose_columns_cannot_be_distinguished_refuses_the_file(tmp_path: Path, header: str) -> None:
    found = stage(tmp_path, f"{header}\nana,b,c\n".encode(), "events.csv")

    assert (found.reasons, found.events) == ([(1, "invalid_header")], [])
    assert staged(tmp_path, ANA).user_ids == ["ana"]


@pytest.mark.parametrize("content", [b"", b"\xef\xbb\xbf", HEADER.encode()])
def test_a_file_without_a_row_has_no_events(tmp_path: Path, content: bytes) -> None:
    found = stage(tmp_path, content, "events.csv")

    assert (found.events, found.rejected) == ([], [])


def test_a_mapping_says_which_column_is_what_and_what_separates_cells(tmp_path: Path) -> None:
    sources = parse_sources(
        "sources:\n  - {files: '*.csv', format: csv, mapping: shop}\n"
        "mappings:\n  shop:\n    cells: {delimiter: ';'}\n    user_id: customer\n    event_type: what\n"
        "    event_timestamp: when\n"
        "    timestamp_form: {format: '%d.%m.%Y %H:%M', timezone: Europe/Paris}\n"
        "    fields: {properties.amount: total, user_traits.marketing_opt_in: news}\n",
        "sources.yaml",
    )
    content = b"customer;what;when;total;news\nana;signup;03.11.2026 11:00;3.5;false\n"

    [event] = stage(tmp_path, content, "shop.csv", sources=sources).events

    assert (event["user_id"], event["amount"], event["marketing_opt_in"]) == ("ana", 3.5, False)
    assert event["event_timestamp"].isoformat() == "2026-11-03T10:00:00+00:00"


@pytest.mark.parametrize("sign", [",", ";", "\t", "|"])
def test_what_separates_cells_is_seen_in_a_header_without_a_comma(tmp_path: Path, sign: str) -> None:
    content = "\n".join([HEADER, ANA]).replace(",", sign).encode()

    [event] = stage(tmp_path, content, "events.csv").events

    assert (event["user_id"], event["amount"], event["marketing_opt_in"]) == ("ana", 12.5, True)


def test_a_header_with_a_comma_is_cut_there_whatever_else_is_in_it(tmp_path: Path) -> None:
    content = f"{HEADER},a;b\n{ANA},c;d\n".encode()

    assert stage(tmp_path, content, "events.csv").unknown_keys == {"a;b": 1}


GERMAN = parse_sources(
    "sources:\n  - {files: '*.csv', format: csv, mapping: german}\n"
    "mappings:\n  german: {cells: {decimal: ',', true_words: [ja, Wahr], false_words: nein}}\n",
    "sources.yaml",
)


@pytest.mark.parametrize(
    ("amount", "opt_in", "expected"),
    [
        ("12,50", "JA", (12.5, True)),
        ("-3", "nein", (-3.0, False)),
        ("7", "WAHR", (7.0, True)),
        ("1.234,5", "", "invalid_number"),
        ("12.5", "", "invalid_number"),
        ("1", "true", "wrong_type"),
    ],
)
def test_a_mapping_says_how_numbers_and_truths_are_written(
    tmp_path: Path, amount: str, opt_in: str, expected: object
) -> None:
    content = "\n".join([HEADER, ANA]).replace(",", ";").replace("12.50", amount).replace("TRUE", opt_in).encode()

    found = stage(tmp_path, content, "events.csv", sources=GERMAN)

    said = [(event["amount"], event["marketing_opt_in"]) for event in found.events]
    assert [*said, *(code for _, code in found.reasons)] == [expected]


def test_the_id_made_of_the_content_is_no_other_one_once_a_column_has_a_field(tmp_path: Path) -> None:
    content = b"user_id,event_type,event_timestamp,total\nana,signup,2026-11-03T10:00:00Z,3\n"
    mapped = parse_sources(
        "sources:\n  - {files: '*.csv', format: csv, mapping: shop}\n"
        "mappings:\n  shop: {fields: {properties.amount: total}}\n",
        "sources.yaml",
    )

    [before] = stage(tmp_path, content, "events.csv").events
    [after] = stage(tmp_path, content, "events.csv", sources=mapped).events

    assert (before["amount"], after["amount"]) == (None, 3.0)
    assert before["message_id"] == after["message_id"]


def test_it_is_unpacked_and_utf_16_is_refused(tmp_path: Path) -> None:
    content = f"{HEADER}\n{ANA}\n"

    assert stage(tmp_path, gzip.compress(content.encode()), "events.csv").user_ids == ["ana"]
    assert stage(tmp_path, content.encode("utf-16"), "events.csv").reasons == [(1, "utf_16")]


_CELLS = st.text(st.characters(codec="utf-8", exclude_categories=("Cc", "Cs"), include_characters="\r\n\t"), max_size=6)


@settings(max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture])
@example(rows=[["\ufeff", "", ""]], cut=1)
@given(rows=st.lists(st.lists(_CELLS, min_size=3, max_size=3), max_size=8), cut=st.integers(1, 64))
def test_any_text_comes_back_as_a_cell_however_the_file_is_cut_into_pieces(
    tmp_path: Path, rows: list[list[str]], cut: int
) -> None:
    names = ("user_id", "event_type", "x")
    buffer = io.StringIO(newline="")
    csv.writer(buffer).writerows([names, *rows])

    with pytest.MonkeyPatch.context() as patches:
        patches.setattr(lines, "READ_BYTES", cut)
        found = stage(tmp_path, buffer.getvalue().encode(), "events.csv")

    # No row has a time, so that each is rejected, or blank.
    kept = [json.loads(row["raw_line"]) for row in found.rejected]
    assert kept == [{name: cell for name, cell in zip(names, row, strict=True) if cell} for row in rows if any(row)]


@settings(max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(tail=st.binary(max_size=200))
def test_no_bytes_are_too_odd_for_the_counts_to_add_up(tmp_path: Path, tail: bytes) -> None:
    stage(tmp_path, HEADER.encode() + b"\n" + tail, "events.csv")
    stage(tmp_path, tail, "events.csv")


_PIECES = st.sampled_from(
    (
        *("a", "b c", '"', '""', '"a"', '"a,b"', '"two\nlines"', '"say ""hi"""', ",", ",", ",", "\n", "\n", "\r\n"),
        *("\r", ";", "", " ", "\0", "\x0b", "\x1c", "\u2028", "\x85", "é", "🙂", "\t", "'", "\\", '\\"', "#"),
    )
)


@examples(2_000)
@given(st.lists(_PIECES, max_size=25).map("".join), st.integers(2, 4))
def test_rows_that_are_read_at_once_are_those_that_the_csv_module_reads(text: str, width: int) -> None:
    at_once = csv_text._read_at_once(f"{text}\n".encode(), ",", width)

    if at_once is not None:
        rows = csv_text._read_quickly(f"{text}\n".encode(), ",", width)
        assert rows is not None
        assert [column.to_pylist() for column in at_once.columns] == [column.to_pylist() for column in rows.columns]
        assert (at_once.count, list(at_once.empty)) == (rows.count, list(rows.empty))


def test_quoted_rows_are_read_at_once() -> None:
    text = b'"a","say ""hi"", she said"\r\n"","two\nlines"\r\nplain,\r\n'

    found = csv_text._read_at_once(text, ",", 2)

    assert found is not None
    assert [column.to_pylist() for column in found.columns] == [
        ["a", None, "plain"],
        ['say "hi", she said', "two\nlines", None],
    ]
