"""Rejected lines that are read again: taken once, by today's mapping, with a ledger that adds up."""

import json
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from src.marketing_messaging_service.decisions import AUDIT
from src.marketing_messaging_service.errors import LostRowsError, ParameterError
from src.marketing_messaging_service.infrastructure.database import preview_engine, url_of, utc_now
from src.marketing_messaging_service.loading import choose_rejected_lines, known_files, load_file
from src.marketing_messaging_service.loading.results import LoadResult, NotLoaded
from src.marketing_messaging_service.models import RunMode
from src.marketing_messaging_service.run_options import EditedLine, ReplayChoice
from src.marketing_messaging_service.self_check import INVARIANTS, check_database
from src.marketing_messaging_service.staging import SourcesFile, discover, stage_file
from src.marketing_messaging_service.staging.sources.file import parse_sources
from src.marketing_messaging_service.vocabulary import ReasonCode
from tests.effort import examples
from tests.pipeline import AS_OF, Pipeline, quick_folder
from tests.self_check.databases import EVER, OPT_IN, event, rule

RULES = {"rules": [rule("welcome", "signup", OPT_IN, suppression=EVER)]}
YES = {"user_traits": {"marketing_opt_in": True}}


def sources(mapping: str, files: str = "*.jsonl", format_name: str = "ndjson", extends: str = "native") -> SourcesFile:
    """The sources of files that a mapping reads, such as `user_id: uid`."""
    text = (
        f'sources:\n  - {{files: ["{files}"], format: {format_name}, mapping: ours}}\n'
        f"mappings:\n  ours: {{extends: {extends}, {mapping}}}\n"
    )
    return parse_sources(text, "sources.yaml")


UID = sources("user_id: uid")
"""For producers that say uid."""


def uid_event(name: str, **keys: Any) -> dict[str, Any]:
    """A signup of a user of that name, in the words of that producer."""
    told = event(name, name, "signup", "10:00", **YES, **keys)
    return {"uid" if key == "user_id" else key: value for key, value in told.items()}


@pytest.fixture
def pipeline(tmp_path: Path, migrated_template: Path) -> Pipeline:
    """A pipeline that nothing has come to."""
    return Pipeline(tmp_path / "run", migrated_template)


def broken(pipeline: Pipeline) -> list[str]:
    """The promises that a database does not keep."""
    pipeline.engine.dispose()
    return [each.invariant for each in check_database(url_of(pipeline.database_path), (*INVARIANTS, *AUDIT)).broken]


def hour(pipeline: Pipeline, *files: list[dict[str, Any]] | bytes) -> None:
    """Do an hourly run after some files have landed."""
    for file in files:
        if isinstance(file, bytes):
            pipeline.land_bytes(file)
        else:
            pipeline.land(file)
    pipeline.do(pipeline.options(), RULES)


def edit(pipeline: Pipeline, **lines: Any) -> list[Any]:
    """Replay edited lines, named row1, row2 and so on."""
    edited = {
        int(name.removeprefix("row")): EditedLine(line if isinstance(line, bytes) else json.dumps(line).encode(), place)
        for place, (name, line) in enumerate(lines.items(), start=1)
    }
    return pipeline.replay(RULES, ReplayChoice(edited=edited, edited_path="edited.ndjson"))


def users(pipeline: Pipeline) -> list[Any]:
    """The users of the events, in the order in which these came."""
    return [user_id for _, user_id in sorted(pipeline.rows("SELECT id, user_id FROM events"))]


def marks(pipeline: Pipeline) -> list[Any]:
    """Which load has replayed each rejected line."""
    return pipeline.rows("SELECT id, replayed_load_id FROM rejected_rows ORDER BY id")


def counts(pipeline: Pipeline) -> list[Any]:
    """What became of the lines that the last replay read."""
    return pipeline.rows(
        "SELECT reason_code, outcome, line_count FROM replay_counts WHERE run_id = (SELECT max(id) FROM runs)"
    )


def test_what_a_new_mapping_can_read_is_loaded_decided_and_marked_and_stays(pipeline: Pipeline) -> None:
    hour(pipeline, [uid_event("ada"), event("m2", "bob", "signup", "10:00", **YES), {"no": "event"}])
    (result,) = pipeline.replay(RULES, sources=UID)
    assert isinstance(result, LoadResult)
    assert (result.read_count, result.inserted_count, result.rejected_count) == (1, 1, 0)
    assert users(pipeline) == ["bob", "ada"]
    assert pipeline.rows("SELECT user_id FROM send_requests") == [("ada",), ("bob",)]
    assert marks(pipeline) == [(1, 2), (2, None)]
    assert counts(pipeline) == [
        ("missing_field", "missing_field", 1),
        ("missing_field", "taken", 1),
    ]
    assert broken(pipeline) == []


def test_a_second_replay_loads_nothing_and_leaves_no_load(pipeline: Pipeline) -> None:
    hour(pipeline, [uid_event("ada"), {"no": "event"}])
    pipeline.replay(RULES, sources=UID)
    before = pipeline.everything(), pipeline.rows("SELECT id, source_file_id FROM loads"), marks(pipeline)
    assert pipeline.replay(RULES, sources=UID) == [NotLoaded.STILL_REJECTED]
    assert (pipeline.everything(), pipeline.rows("SELECT id, source_file_id FROM loads"), marks(pipeline)) == before
    assert broken(pipeline) == []


def test_a_line_that_was_delivered_mended_meanwhile_is_a_duplicate_and_done(pipeline: Pipeline) -> None:
    hour(pipeline, [uid_event("ada")], [event("ada", "ada", "signup", "10:00", **YES)])
    (result,) = pipeline.replay(RULES, sources=UID)
    assert isinstance(result, LoadResult)
    assert (result.inserted_count, result.duplicate_count) == (0, 1)
    assert marks(pipeline) == [(1, 3)]
    assert broken(pipeline) == []


def test_a_line_of_which_only_a_part_is_kept_is_not_read_again(pipeline: Pipeline) -> None:
    whole = json.dumps(event("m1", "ada", "signup", "10:00"))
    hour(pipeline, f"[{whole},\n{whole[:-1]}".encode())
    assert pipeline.rows("SELECT reason_code FROM rejected_rows") == [("broken_off",)]
    assert pipeline.replay(RULES) == []
    assert counts(pipeline) == [("broken_off", "kept_in_part", 1)]
    assert broken(pipeline) == []


def test_a_line_with_the_message_id_of_another_event_is_taken_when_its_mapping_gives_it_another(
    pipeline: Pipeline,
) -> None:
    hour(pipeline, [event("1", "ada", "signup", "10:00"), event("1", "bob", "signup", "10:00")])
    assert pipeline.replay(RULES) == [NotLoaded.STILL_REJECTED]
    assert counts(pipeline) == [("message_id_collision", "message_id_collision", 1)]
    pipeline.replay(RULES, sources=sources("message_id_prefix: 'b-'"))
    assert pipeline.rows("SELECT message_id, user_id FROM events") == [("1", "ada"), ("b-1", "bob")]
    assert broken(pipeline) == []


def test_a_line_that_collides_only_now_is_kept_once_more_for_that_reason_and_waits(pipeline: Pipeline) -> None:
    hour(pipeline, [event("x", "bob", "signup", "10:00"), uid_event("ada") | {"message_id": "x"}])
    pipeline.replay(RULES, sources=UID)
    assert pipeline.rows("SELECT id, reason_code, event_id, replayed_load_id FROM rejected_rows") == [
        (1, "missing_field", None, 2),
        (2, "message_id_collision", 1, None),
    ]
    assert pipeline.replay(RULES, sources=UID) == [NotLoaded.STILL_REJECTED]
    assert broken(pipeline) == []
    edit(pipeline, row2=event("y", "ada", "signup", "10:00"))
    assert users(pipeline) == ["bob", "ada"]
    assert broken(pipeline) == []


def test_two_rejected_lines_with_one_message_id_are_one_event_and_a_collision(pipeline: Pipeline) -> None:
    hour(pipeline, [uid_event("ada") | {"message_id": "x"}, uid_event("bob") | {"message_id": "x"}])
    (result,) = pipeline.replay(RULES, sources=UID)
    assert isinstance(result, LoadResult)
    assert (result.inserted_count, result.collision_count) == (1, 1)
    assert marks(pipeline) == [(1, 2), (2, 2), (3, None)]
    assert broken(pipeline) == []


def test_a_line_that_holds_several_events_is_taken_with_all_of_them_or_not_at_all(pipeline: Pipeline) -> None:
    good, bad = uid_event("ada"), {"uid": "bob"}
    hour(pipeline, [event("m", "eve", "signup", "10:00"), {"batch": [good, uid_event("cy")]}, {"batch": [good, bad]}])
    pipeline.replay(RULES, sources=sources("user_id: uid, batch: batch"))
    assert users(pipeline) == ["eve", "ada", "cy"]
    assert marks(pipeline) == [(1, 2), (2, None)]
    assert broken(pipeline) == []


def test_what_a_mapping_leaves_out_by_now_is_done(pipeline: Pipeline) -> None:
    hour(pipeline, [uid_event("ada")])
    (result,) = pipeline.replay(RULES, sources=sources("event_types: {drop: [signup]}"))
    assert isinstance(result, LoadResult)
    assert (result.read_count, result.dropped_count) == (1, 1)
    assert marks(pipeline) == [(1, 2)]
    assert broken(pipeline) == []


def test_an_anonymous_user_is_taken_once_the_mapping_says_so(pipeline: Pipeline) -> None:
    segment = sources("anonymous_user: reject", extends="segment")
    line = {"anonymousId": "anon", "event": "signup", "timestamp": "2026-03-01T10:00:00Z", "messageId": "m1"}
    pipeline.land([line])
    pipeline.do(pipeline.options(), RULES, segment)
    assert pipeline.rows("SELECT reason_code FROM rejected_rows") == [("anonymous_user",)]
    assert pipeline.replay(RULES, sources=segment) == [NotLoaded.STILL_REJECTED]
    pipeline.replay(RULES, sources=sources("anonymous_user: take", extends="segment"))
    assert users(pipeline) == ["anon"]


HEADER = "user_id,event_type,event_timestamp,message_id,user_traits.marketing_opt_in\n"


class TestARowOfACsv:
    @pytest.fixture
    def table(self, pipeline: Pipeline) -> Pipeline:
        rows = "ada,signup,2026-03-01T10:00:00Z,m1,true,extra\nbob,signup,2026-03-01T10:00:00Z,m2,perhaps\n"
        (pipeline.landing / "a.csv").write_text(HEADER + rows)
        pipeline.do(pipeline.options(), RULES)
        return pipeline

    def test_is_kept_with_the_header_where_it_is_no_row_of_it(self, table: Pipeline) -> None:
        assert table.rows("SELECT id, reason_code, header_line FROM rejected_rows") == [
            (1, "invalid_row", HEADER.strip()),
            (2, "wrong_type", None),
        ]

    def test_is_edited_as_a_row_or_as_an_object(self, table: Pipeline) -> None:
        edit(
            table,
            row1=b"ada,signup,2026-03-01T10:00:00Z,m1,true",
            row2=event("m2", "bob", "signup", "10:00", user_traits={"marketing_opt_in": "true"}),
        )
        assert table.rows("SELECT user_id, marketing_opt_in FROM events JOIN user_traits ON event_id = events.id") == [
            ("ada", 1),
            ("bob", 1),
        ]
        assert broken(table) == []

    def test_is_edited_as_an_object_also_where_it_was_no_row(self, table: Pipeline) -> None:
        edit(table, row1=event("m1", "ada", "signup", "10:00"))
        assert users(table) == ["ada"]

    def test_is_edited_as_two_rows(self, table: Pipeline) -> None:
        edit(table, row1=b"ada,signup,2026-03-01T10:00:00Z,m1,true\neve,signup,2026-03-01T10:00:00Z,m3,true")
        assert users(table) == ["ada", "eve"]
        assert broken(table) == []

    def test_needs_no_replay_once_the_delimiter_is_right_where_it_cut_no_column(self, pipeline: Pipeline) -> None:
        (pipeline.landing / "a.csv").write_text(
            "user_id;event_type;event_timestamp;message_id\nada;signup;2026-03-01T10:00:00Z;m,1\n"
        )
        pipeline.do(pipeline.options(), RULES, sources("cells: {delimiter: ','}", "*.csv", "csv"))
        assert pipeline.rows("SELECT reason_code FROM rejected_rows") == [("invalid_header",)]
        pipeline.do(pipeline.options(), RULES, sources("cells: {delimiter: ';'}", "*.csv", "csv"))
        assert pipeline.rows("SELECT message_id, user_id FROM events") == [("m,1", "ada")]


class TestAnEditedLine:
    def test_is_taken_in_place_of_what_was_rejected_which_stays(self, pipeline: Pipeline) -> None:
        hour(pipeline, b"no json\n" + json.dumps(event("m1", "eve", "signup", "10:00")).encode())
        edit(pipeline, row1=event("m2", "ada", "signup", "10:00", **YES))
        assert users(pipeline) == ["eve", "ada"]
        assert pipeline.rows("SELECT raw_line, replayed_load_id FROM rejected_rows") == [("no json", 2)]
        assert broken(pipeline) == []

    def test_may_stand_over_several_lines(self, pipeline: Pipeline) -> None:
        hour(pipeline, b"no json\n")
        edit(pipeline, row1=json.dumps(event("m2", "ada", "signup", "10:00"), indent=1).encode())
        assert users(pipeline) == ["ada"]

    def test_that_was_left_as_exported_is_read_by_its_exact_bytes(self, pipeline: Pipeline) -> None:
        line = json.dumps(event("m1", "ada", "signup", "10:00", properties={"coupon": "?"})).encode()
        hour(pipeline, line.replace(b"?", b"\xff"))
        ((shown,),) = pipeline.rows("SELECT raw_line FROM rejected_rows")
        assert "\\xff" in str(shown)
        assert edit(pipeline, row1=str(shown).encode()) == [NotLoaded.STILL_REJECTED]
        edit(pipeline, row1=str(shown).replace("\\xff", "é").encode())
        assert users(pipeline) == ["ada"]

    def test_that_was_replayed_before_is_passed_over_and_counted(self, pipeline: Pipeline) -> None:
        hour(pipeline, b"no json\n")
        edit(pipeline, row1=event("m1", "ada", "signup", "10:00"))
        assert edit(pipeline, row1=event("m2", "bob", "signup", "10:00")) == []
        assert users(pipeline) == ["ada"]
        assert counts(pipeline) == [("invalid_json", "taken_before", 1)]

    def test_of_an_id_that_is_not_there_is_an_error_that_names_its_line(self, pipeline: Pipeline) -> None:
        with pytest.raises(ParameterError, match=r"edited.ndjson, line 1: there is no rejected line with the id 7 "):
            edit(pipeline, row7={})

    def test_of_a_line_that_is_kept_in_part_is_an_error_that_says_so(self, pipeline: Pipeline) -> None:
        hour(pipeline, b'[{"a": 1}')
        with pytest.raises(ParameterError, match=r"line 1: the rejected line \d is kept only in part \(broken_off\)"):
            edit(pipeline, row1={}, row2={})


class TestTheChoice:
    @pytest.fixture
    def rejecting(self, pipeline: Pipeline) -> Pipeline:
        hour(pipeline, [uid_event("ada"), {"user_id": 1}])
        hour(pipeline, [uid_event("bob")])
        return pipeline

    @pytest.mark.parametrize(
        ("choice", "expected"),
        [
            (ReplayChoice(), ["ada", "bob"]),
            (ReplayChoice(path="0000.jsonl"), ["ada"]),
            (ReplayChoice(path="*1.jsonl"), ["bob"]),
            (ReplayChoice(path="*.csv"), []),
            (ReplayChoice(reason_code=ReasonCode.MISSING_FIELD), ["ada", "bob"]),
            (ReplayChoice(reason_code=ReasonCode.WRONG_TYPE), []),
            (ReplayChoice(since=utc_now() + timedelta(days=1)), []),
            (ReplayChoice(since=utc_now() - timedelta(days=1), path="0001.jsonl"), ["bob"]),
        ],
        ids=str,
    )
    def test_is_by_reason_file_and_time(self, rejecting: Pipeline, choice: ReplayChoice, expected: list[str]) -> None:
        rejecting.replay(RULES, choice, UID)
        assert users(rejecting) == expected
        assert broken(rejecting) == []

    def test_says_what_it_is(self) -> None:
        choice = ReplayChoice(ReasonCode.WRONG_TYPE, "a.jsonl", AS_OF)
        assert str(choice) == "rejected lines of the reason wrong_type, of a.jsonl, since 2026-11-23 10:00 UTC"


def test_a_preview_takes_what_a_replay_takes(pipeline: Pipeline) -> None:
    hour(pipeline, [uid_event("ada"), {"no": "event"}])
    order = replace(pipeline.options(mode=RunMode.PREVIEW), flow_name="replay", replay=ReplayChoice())
    (result,) = pipeline.do(order, RULES, UID)
    assert isinstance(result, LoadResult)
    assert result.inserted_count == 1


def test_on_each_kind_of_database_a_preview_keeps_nothing_and_a_replay_is_done_once(
    tmp_path: Path, migrated_template: Path, url_of_each: str
) -> None:
    pipeline = Pipeline(tmp_path / "run", migrated_template, url_of_each)
    hour(pipeline, [uid_event("ada"), event("m", "eve", "signup", "10:00"), {"no": "event"}])
    own_engine = pipeline.engine
    with preview_engine(url_of_each) as pipeline.engine:
        pipeline.replay(RULES, sources=UID)
        assert users(pipeline) == ["eve", "ada"]
        assert counts(pipeline) == [("missing_field", "missing_field", 1), ("missing_field", "taken", 1)]
    pipeline.engine = own_engine
    assert marks(pipeline) == [(1, None), (2, None)]
    pipeline.replay(RULES, sources=UID)
    assert pipeline.replay(RULES, sources=UID) == [NotLoaded.STILL_REJECTED]
    edit(pipeline, row2=event("n", "bob", "signup", "10:00"))
    assert users(pipeline) == ["eve", "ada", "bob"]
    pipeline.engine.dispose()
    assert check_database(url_of_each, (*INVARIANTS, *AUDIT)).broken == ()


def test_many_lines_are_read_some_at_once(pipeline: Pipeline, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("src.marketing_messaging_service.loading.rejected_lines.LINES_AT_ONCE", 20)
    names = [f"u{number}" for number in range(95)]
    hour(pipeline, [uid_event(name) for name in names])
    pipeline.replay(RULES, sources=UID)
    assert users(pipeline) == names
    assert broken(pipeline) == []


def test_many_files_are_taken_together_each_by_a_load_of_its_own(pipeline: Pipeline) -> None:
    hour(pipeline, *([uid_event(f"u{number}"), {}] for number in range(5)))
    pipeline.replay(RULES, ReplayChoice(), UID)
    assert pipeline.rows(
        "SELECT f.path, f.replayed_file_id, l.read_count FROM loads l JOIN source_files f ON f.id = l.source_file_id "
        "WHERE l.id > 5"
    ) == [(f"{number:04d}.jsonl", number + 1, 1) for number in range(5)]
    assert broken(pipeline) == []


class TestTheFileOfTheLines:
    def test_is_known_as_no_delivered_one(self, pipeline: Pipeline) -> None:
        hour(pipeline, [uid_event("ada"), event("m", "eve", "signup", "10:00")])
        pipeline.replay(RULES, sources=UID)
        (known,) = known_files(pipeline.engine).files
        assert known.path == "0000.jsonl"
        assert discover(pipeline.landing, known_files(pipeline.engine)).known_count == 1

    def test_that_gave_nothing_is_no_longer_reported_as_unreadable_when_all_of_it_was_replayed(
        self, pipeline: Pipeline
    ) -> None:
        hour(pipeline, [uid_event("ada"), {"no": "event"}])
        pipeline.replay(RULES, sources=UID)
        assert discover(pipeline.landing, known_files(pipeline.engine)).known_count == 0
        edit(pipeline, row2=event("m", "eve", "signup", "10:00"))
        assert discover(pipeline.landing, known_files(pipeline.engine)).known_count == 1

    def test_that_gave_nothing_may_simply_be_delivered_again(self, pipeline: Pipeline) -> None:
        hour(pipeline, [uid_event("ada")])
        path = pipeline.land([event("ada", "ada", "signup", "10:00", **YES)])
        pipeline.do(pipeline.options(), RULES)
        assert users(pipeline) == ["ada"]
        assert path.is_file()


def test_lines_that_somebody_replayed_meanwhile_are_taken_by_nobody_again(pipeline: Pipeline) -> None:
    hour(pipeline, [uid_event("ada")])
    (file,) = choose_rejected_lines(pipeline.engine, ReplayChoice()).files
    staged = stage_file(replace(file, source_number=0), sources=UID)
    pipeline.replay(RULES, sources=UID)
    assert load_file(pipeline.engine, staged, as_of=AS_OF) is NotLoaded.TAKEN
    other = replace(staged, file=replace(staged.file, content_hash="0" * 64))
    with pytest.raises(LostRowsError):
        load_file(pipeline.engine, other, as_of=AS_OF)
    staged.close()
    assert users(pipeline) == ["ada"]


@st.composite
def mended_files(draw: st.DrawFn) -> tuple[list[dict[str, Any]], set[int]]:
    """A file of events, and the places of those that were written in another producer's words."""
    names = draw(st.lists(st.sampled_from("abcdef"), min_size=1, max_size=12))
    told = [
        event(f"m{draw(st.integers(0, 8))}", name, draw(st.sampled_from(["signup", "link"])), "10:00", **YES)
        for name in names
    ]
    return told, draw(st.sets(st.integers(0, len(told) - 1)))


@examples(60)
@given(file=mended_files())
def test_a_mended_file_and_its_replayed_lines_come_to_the_same_events_and_a_second_replay_to_nothing(
    migrated_template: Path, file: tuple[list[dict[str, Any]], set[int]]
) -> None:
    told, odd = file
    in_their_words = [
        {"uid" if place in odd and key == "user_id" else key: value for key, value in each.items()}
        for place, each in enumerate(told)
    ]
    with quick_folder() as folder:
        replayed = Pipeline(folder / "replayed", migrated_template)
        hour(replayed, in_their_words)
        replayed.replay(RULES, sources=UID)
        delivered = Pipeline(folder / "delivered", migrated_template)
        hour(delivered, in_their_words, [each for place, each in enumerate(told) if place in odd])
        assert replayed.events() == delivered.events()
        assert replayed.send_requests() == delivered.send_requests()
        once = replayed.everything(), marks(replayed), replayed.rows("SELECT id FROM loads")
        assert set(replayed.replay(RULES, sources=UID)) <= {NotLoaded.STILL_REJECTED}
        assert (replayed.everything(), marks(replayed), replayed.rows("SELECT id FROM loads")) == once
        assert broken(replayed) == []
        delivered.engine.dispose()
