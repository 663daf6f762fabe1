"""Files whose lines are in a producer's own words, from their bytes to typed rows."""

import gzip
import json
from pathlib import Path
from typing import Any

import pytest

from src.marketing_messaging_service.earlier_runs import KnownFiles
from src.marketing_messaging_service.models import RemarkKind
from src.marketing_messaging_service.staging import lines
from src.marketing_messaging_service.staging.landing import discover
from src.marketing_messaging_service.staging.sources.file import SourcesFile, parse_sources
from src.marketing_messaging_service.staging.stage import stage_file
from tests.staging.helpers import Staged, landed, line, stage

INSTANT = "2026-11-02T22:20:41Z"


def sources(mapping: str = "", name: str = "shop", files: str = "*.jsonl") -> SourcesFile:
    mappings = f"mappings:\n  shop: {mapping}\n" if mapping else ""
    return parse_sources(f"sources:\n  - {{files: '{files}', mapping: {name}}}\n{mappings}", "sources.yaml")


def staged(folder: Path, documents: list[Any], mapping: str = "", name: str = "shop") -> Staged:
    content = "".join(json.dumps(document) + "\n" for document in documents).encode()
    return stage(folder, content, sources=sources(mapping, name))


def track(**values: Any) -> dict[str, Any]:
    return {
        "type": "track",
        "event": "signup_completed",
        "userId": "ana",
        "timestamp": INSTANT,
        "messageId": "m-1",
        **values,
    }


def test_an_archive_of_segment_is_read_by_the_mapping_that_comes_with_the_project(tmp_path: Path) -> None:
    found = staged(
        tmp_path,
        [
            track(properties={"amount": 3}, context={"traits": {"country": "FR"}, "ip": "::1"}),
            track(type="identify", event=None, messageId="m-2", traits={"marketing_opt_in": True}),
            track(type="page", event=None, userId=None, anonymousId="anon-1"),
        ],
        name="segment",
    )

    assert [(row["event_type"], row["message_id"]) for row in found.events] == [
        ("signup_completed", "m-1"),
        ("identify", "m-2"),
    ]
    assert (found.events[0]["amount"], found.events[0]["country"]) == (3.0, "FR")
    assert found.events[1]["marketing_opt_in"] is True
    assert found.reasons == [(3, "anonymous_user")]


def test_an_anonymous_line_is_an_event_once_it_has_the_id_of_its_user(tmp_path: Path) -> None:
    anonymous = track(userId=None, anonymousId="anon-1")

    assert staged(tmp_path, [anonymous], name="segment").reasons == [(1, "anonymous_user")]
    assert staged(tmp_path, [{**anonymous, "userId": "ana"}], name="segment").user_ids == ["ana"]


def test_anonymous_lines_are_counted_and_kept_nowhere_where_the_mapping_drops_them(tmp_path: Path) -> None:
    mapping = "{extends: segment, anonymous_user: drop}"

    found = staged(tmp_path, [track(), track(userId=None, anonymousId="anon-1"), track(userId=None)], mapping)

    assert (found.user_ids, found.dropped_count) == (["ana"], 1)
    assert found.reasons == [(3, "missing_field")]


def test_what_is_wrong_is_said_in_the_words_of_the_producer_too(tmp_path: Path) -> None:
    found = staged(tmp_path, [track(messageId="m-1", context={"traits": {"country": "Deutschland"}})], name="segment")

    [row] = found.rejected
    assert row["field_name"] == "user_traits.country"
    assert "(traits.country or context.traits.country in this mapping)" in row["explanation"]


def test_an_invalid_value_of_an_optional_field_costs_the_event_nothing_else(tmp_path: Path) -> None:
    documents = [
        {"user_id": f"u{n}", "event_type": "signup", "event_timestamp": INSTANT, "user_traits": {"country": country}}
        for n, country in enumerate(["NO", "Deutschland", 7])
    ]

    found = staged(tmp_path, documents, "{fields: {user_traits.country: {on_invalid: null}}}")

    assert [row["country"] for row in found.events] == ["NO", None, None]
    assert found.rejected == []
    [_, long, number] = [row["left_out"] for row in found.events]
    assert found.events[0]["left_out"] is None
    assert [each["field_path"] for each in (*long, *number)] == ["user_traits.country"] * 2
    assert "at most 8" in long[0]["explanation"]


def test_a_type_that_the_mapping_drops_is_counted_and_kept_nowhere(tmp_path: Path) -> None:
    documents = [
        {"user_id": "u", "event_type": each, "event_timestamp": INSTANT} for each in ("beat", "signup", "beat")
    ]

    found = staged(tmp_path, documents, "{event_types: {drop: beat}}")

    assert (found.read_count, found.dropped_count, found.user_ids, found.rejected) == (3, 2, ["u"], [])


def test_a_batch_as_a_client_posts_it_is_an_event_a_line(tmp_path: Path) -> None:
    batch = {"batch": [track(), track(messageId="m-2"), {"type": "track"}], "sentAt": INSTANT}

    found = staged(tmp_path, [batch, track(messageId="m-3"), {"batch": []}], name="segment")

    assert [(row["line_number"], row["message_id"]) for row in found.events] == [(1, "m-1"), (2, "m-2"), (4, "m-3")]
    assert found.reasons == [(3, "missing_field")]
    assert found.blank_count == 1
    assert json.loads(found.rejected[0]["raw_line"]) == {"type": "track"}


def test_a_key_that_stands_twice_is_refused_where_the_mapping_looks_at_it_and_nowhere_else(tmp_path: Path) -> None:
    one = json.dumps(track())[:-1]
    content = f'{one}, "userId": "eve"}}\n{one}, "version": 1, "version": 2}}\n'.encode()

    found = stage(tmp_path, content, sources=sources(name="segment"))

    assert found.reasons == [(1, "duplicate_key")]
    assert len(found.events) == 1


def test_the_id_made_of_the_content_is_that_of_the_line_as_it_came(tmp_path: Path) -> None:
    document = {"user_id": "u", "event_type": "signup", "event_timestamp": INSTANT}
    (tmp_path / "native").mkdir()
    (tmp_path / "renamed").mkdir()

    [native] = staged(tmp_path / "native", [document], "{}").events
    [renamed] = staged(tmp_path / "renamed", [document], "{event_types: {rename: {signup: registered}}}").events

    assert renamed["event_type"] == "registered"
    assert renamed["message_id"] == native["message_id"]


def test_a_mapped_file_of_many_chunks_comes_out_as_one_of_a_single_chunk(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    content = "".join(json.dumps({"batch": [track(messageId=f"m-{n}"), {}]}) + "\n\n" for n in range(20)).encode()
    whole = stage(tmp_path, content, sources=sources(name="segment"))
    monkeypatch.setattr(lines, "CHUNK_LINES", 7)

    assert stage(tmp_path, content, chunk_bytes=200, sources=sources(name="segment")) == whole
    assert len(whole.events) == len(whole.rejected) == whole.blank_count == 20


def test_a_line_can_be_read_again_by_its_number(tmp_path: Path) -> None:
    content = json.dumps({"batch": [track(), track(messageId="m-2")]}).encode()
    by_segment = sources(name="segment")
    file = stage_file(landed(tmp_path, content, sources=by_segment), sources=by_segment)

    [found] = list(file.raw_lines([2]))

    assert json.loads(found.text)["messageId"] == "m-2"
    file.close()


class TestPatterns:
    def test_name_what_is_taken_and_how(self, tmp_path: Path) -> None:
        by_folder = parse_sources(
            "sources:\n  - {files: 'segment-logs/**', mapping: segment}\n  - {files: '*.jsonl'}\n", "sources.yaml"
        )
        (tmp_path / "segment-logs" / "abc").mkdir(parents=True)
        (tmp_path / "segment-logs" / "abc" / "17.0f3a.gz").write_bytes(gzip.compress(json.dumps(track()).encode()))
        (tmp_path / "a.jsonl").write_bytes(line())

        found = discover(tmp_path, KnownFiles(), sources=by_folder).new_files

        assert {file.display_path: file.source_number for file in found} == {
            "segment-logs/abc/17.0f3a.gz": 0,
            "a.jsonl": 1,
        }

    def test_that_name_no_file_leave_it_where_it_is_and_say_what_it_seems_to_be(self, tmp_path: Path) -> None:
        (tmp_path / "a.ndjson").write_bytes(line())

        discovery = discover(tmp_path, KnownFiles(), sources=sources("{}"))

        assert discovery.new_files == ()
        [remark] = discovery.remarks
        assert (remark.kind, remark.subject) == (RemarkKind.IGNORED, "a.ndjson")
        assert remark.explanation.startswith("JSON lines")
