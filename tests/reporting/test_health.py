"""Too many rejected lines: which files make a run fail, what is said of them, and in which order files are shown."""

from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import text

from src.marketing_messaging_service.infrastructure.database import read_transaction, write_transaction
from src.marketing_messaging_service.models import RunMode
from src.marketing_messaging_service.reporting import read_rejection_problems, read_run_report
from src.marketing_messaging_service.reporting.health import (
    MOST_FILES,
    failing_loads,
    loads_with_examples,
    problem_files_first,
    too_many_collisions,
    too_many_rejected,
)
from src.marketing_messaging_service.reporting.run_report import LineCounts, LoadReport, RejectedExample
from src.marketing_messaging_service.reporting.run_tables import examples_table, files_table
from tests.pipeline import Pipeline
from tests.reporting.runs import add_run, run_pipeline, run_report

FIRST = RejectedExample("a.jsonl", 4, "user_id", "user_id is required and is absent.", "{}")


def load(number: int, read: int, rejected: int = 0, **more: int) -> LoadReport:
    inserted = read - rejected - sum(more.get(name, 0) for name in ("blank", "duplicate", "collision"))
    lines = LineCounts(read=read, inserted=inserted, rejected=rejected, **more)
    return LoadReport(number, f"{number}.jsonl", lines, 0.1)


@pytest.mark.parametrize(
    ("lines", "is_failing"),
    [
        (load(1, 100, 5), False),
        (load(1, 100, 6), False),
        (load(1, 100, 10), True),
        (load(1, 1000, 50), False),
        (load(1, 1, 1), True),
        (load(1, 3, 2, blank=1), True),
        (load(1, 2, 0, blank=2), False),
        (load(1, 100, collision=6), False),
        (load(1, 100, collision=10), True),
        (load(1, 4, collision=3, blank=1), True),
        (load(1, 100, 9, collision=9), False),
    ],
)
def test_a_file_counts_alone_from_ten_rejected_or_colliding_lines_on_or_when_there_is_no_other(
    lines: LoadReport, is_failing: bool
) -> None:
    assert (failing_loads([lines], 5) == [1]) is is_failing


def test_a_file_over_the_limit_is_reported_with_its_first_line_and_what_to_do() -> None:
    (problem,) = too_many_rejected([load(1, 100, 12), load(2, 100)], 5, {1: FIRST})
    assert problem.subject == "1.jsonl"
    assert problem.explanation == (
        "12 of 100 lines could not be read (12.0 %), which is more than the 5 % that max_rejected_percent allows. The "
        "first is line 4: user_id is required and is absent. The other 88 lines were taken. Correct the rejected "
        "lines, which are in rejected_rows: write them into a file (`python -m flows.replay --export FILE`), edit it, "
        "and take it (`--from FILE`); or deliver them in another file. If sources.yaml was wrong, correct it and run "
        "`python -m flows.replay`."
    )


def test_a_file_refused_as_a_whole_is_reported_without_a_replay_that_it_cannot_have() -> None:
    refused = RejectedExample(
        "1.jsonl", 1, None, "The file is UTF-16; save it as UTF-8, and deliver it again.", "", True
    )
    (problem,) = too_many_rejected([load(1, 1, 1)], 5, {1: refused})
    assert problem.explanation.endswith(
        "The first is line 1: The file is UTF-16; save it as UTF-8, and deliver it again."
    )


def test_whether_a_line_is_kept_in_part_is_read_with_it(pipeline: Pipeline) -> None:
    pipeline.land_bytes('{"user_id": "ada"}\n'.encode("utf-16"))
    run_id = run_pipeline(pipeline, RULES, max_rejected_percent=5.0)
    ((_, refused),) = problems_of(pipeline, run_id)
    assert refused.endswith("save it as UTF-8, and deliver it again.")


def test_of_a_file_of_which_nothing_was_taken_nothing_is_said_to_be_taken() -> None:
    (problem,) = too_many_rejected([load(1, 13, 12, blank=1)], 5, {1: FIRST})
    assert "taken" not in problem.explanation
    assert "kept" not in problem.explanation


def test_a_preview_claims_nothing_and_asks_for_nothing() -> None:
    (problem,) = too_many_rejected([load(1, 100, 12)], 5, {1: FIRST}, is_preview=True)
    assert problem.explanation.endswith("The first is line 4: user_id is required and is absent.")


def test_many_files_with_a_few_such_lines_each_are_one_problem_that_names_the_first_of_them() -> None:
    (problem,) = too_many_rejected([load(1, 20), load(2, 20, 3), load(3, 20, 3)], 5, {2: FIRST})
    assert problem.subject == "Rejected lines"
    assert problem.explanation.startswith("6 of 60 lines could not be read (10.0 %)")
    assert "The first is line 4 of 2.jsonl: user_id is required and is absent." in problem.explanation


def test_lines_that_collide_are_reported_with_the_other_file_and_what_to_do() -> None:
    example = RejectedExample("1.jsonl", 1, "message_id", "The message_id is that of another event.", "{}")
    loads = [load(1, 40, collision=40), load(2, 40)]
    (problem,) = too_many_collisions(loads, 5, {1: example}, {1: "2.jsonl"})
    assert problem.subject == "1.jsonl"
    assert problem.explanation == (
        "40 of 40 lines have the message_id of another event (100.0 %), which is more than the 5 % that "
        "max_rejected_percent allows: two producers seem to number their events alike. Most of the other events came "
        "in 2.jsonl. The first is line 1: The message_id is that of another event. Let one producer begin its "
        "message_ids with its name, or leave them out, and deliver its lines (they are in rejected_rows) in another "
        "file; or replay them with a message_id_prefix in sources.yaml."
    )
    assert too_many_rejected(loads, 5, {}) == []


def test_of_lines_that_collide_with_others_of_their_file_that_is_said() -> None:
    (problem,) = too_many_collisions([load(1, 9, collision=1)], 5, {}, {1: "1.jsonl"})
    assert problem.subject == "Colliding lines"
    assert "Most of the other events came in the same file." in problem.explanation


def test_rejected_lines_and_colliding_ones_are_two_problems(pipeline: Pipeline) -> None:
    event = '{"message_id": "%d", "user_id": "%s", "event_type": "x", "event_timestamp": "2026-11-23T09:00:00Z"}\n'
    pipeline.land_bytes("".join(event % (number, "ada") for number in range(20)).encode())
    pipeline.land_bytes(("{\n" * 11 + "".join(event % (number, "bo") for number in range(20))).encode())
    run_id = run_pipeline(pipeline, RULES, max_rejected_percent=5.0)
    (_, rejected), (subject, colliding) = problems_of(pipeline, run_id)
    assert "The first is line 1: Not JSON" in rejected
    assert subject == "0001.jsonl"
    assert colliding.startswith("20 of 31 lines have the message_id of another event (64.5 %)")
    assert "Most of the other events came in 0000.jsonl. The first is line 12: Another event already has" in colliding


def test_files_over_the_limit_come_first_then_those_with_other_lines_in_trouble() -> None:
    loads = [
        load(1, 10),
        load(2, 100, 1),
        load(3, 100, 100),
        load(4, 10),
        load(5, 10, 0, duplicate=1, conflict=1),
        load(6, 1, 1),
        load(7, 100, collision=1),
    ]
    assert [each.load_id for each in problem_files_first(loads, 5)] == [3, 6, 2, 5, 7, 1, 4]
    assert loads_with_examples(loads, 5) == [3, 6, 2, 7]


def test_of_ten_thousand_files_the_tables_show_the_problem_files_and_how_many_more_there_are() -> None:
    loads = (*(load(number, 10) for number in range(1, 10_000)), load(10_000, 10, 10))
    table = files_table(run_report(loads=loads, max_rejected_percent=5.0))
    assert (table.rows[0][0], len(table.rows), table.remark) == ("10000.jsonl", 25, "and 9975 more")
    assert table.total[:2] == ("total of 10,000 files", 100_000)
    assert len(loads_with_examples([load(number, 10, 10) for number in range(10_000)], 5)) == MOST_FILES


@pytest.fixture
def pipeline(tmp_path: Path, migrated_template: Path) -> Pipeline:
    return Pipeline(tmp_path, migrated_template)


RULES: dict[str, Any] = {"rules": []}
LACKING = b'{"user_id": "ada"}\n'
GOOD = b'{"user_id": "ada", "event_type": "x", "event_timestamp": "2026-11-23T09:00:00Z", "n": %d}\n'


def problems_of(pipeline: Pipeline, run_id: int) -> list[tuple[str, str]]:
    with read_transaction(pipeline.engine) as connection:
        return [(each.subject, each.explanation) for each in read_rejection_problems(connection, run_id)]


def test_every_file_with_rejected_lines_has_an_example_and_the_failing_one_comes_first(pipeline: Pipeline) -> None:
    for number in range(5):
        pipeline.land_bytes(LACKING + b"".join(GOOD % (100 * number + line) for line in range(30)))
    pipeline.land_bytes(b"3\n3\n" + LACKING)
    run_id = run_pipeline(pipeline, RULES, max_rejected_percent=20.0)
    with read_transaction(pipeline.engine) as connection:
        report = read_run_report(connection, run_id)
    shown = [(row[1], row[0], row[2]) for row in examples_table(report).rows]
    assert shown[:3] == [
        ("0005.jsonl", "missing_field", 3),
        ("0005.jsonl", "not_an_object", 1),
        ("0005.jsonl", "not_an_object", 2),
    ]
    assert {path for path, _, _ in shown} == {f"000{number}.jsonl" for number in range(6)}
    ((subject, explanation),) = problems_of(pipeline, run_id)
    assert subject == "0005.jsonl"
    assert "The first is line 1: " in explanation


def test_a_retry_stays_red_for_the_lines_that_its_first_attempt_rejected(pipeline: Pipeline) -> None:
    pipeline.land_bytes(LACKING)
    first = run_pipeline(pipeline, RULES, flow_run_id="f", max_rejected_percent=5.0)
    with write_transaction(pipeline.engine) as connection:
        retry = add_run(connection, flow_run_id="f", max_rejected_percent=5.0)
        other = add_run(connection, flow_run_id="g", max_rejected_percent=5.0)
        by_hand = add_run(connection, max_rejected_percent=5.0)
    ((subject, explanation),) = problems_of(pipeline, retry)
    assert subject == "0000.jsonl"
    assert explanation.startswith(
        "An earlier attempt of this run took it, and a retry reads no line again. 1 of 1 line could not be read"
    )
    assert not problems_of(pipeline, first)[0][1].startswith("An earlier attempt")
    assert (problems_of(pipeline, other), problems_of(pipeline, by_hand)) == ([], [])


def test_an_address_in_what_is_wrong_is_masked(pipeline: Pipeline) -> None:
    pipeline.land_bytes(LACKING)
    run_id = run_pipeline(pipeline, RULES, max_rejected_percent=5.0, mode=RunMode.LOAD_AND_DECIDE)
    with write_transaction(pipeline.engine) as connection:
        connection.execute(text("UPDATE rejected_rows SET explanation = 'it says ada@example.com here.'"))
    assert "it says ***@*** here." in problems_of(pipeline, run_id)[0][1]
