"""What a person reads after a run."""

from datetime import UTC, datetime

from src.marketing_messaging_service.reporting import (
    decision_line,
    discovery_line,
    headline,
    load_line,
    problem_sentence,
    summary_markdown,
    summary_text,
)
from src.marketing_messaging_service.results import (
    DecisionResult,
    Discovery,
    FileProblem,
    LoadResult,
    RuleOutcome,
    RunReport,
)

LOAD = LoadResult(
    display_path="a.jsonl",
    read_count=10,
    inserted_count=5,
    duplicate_count=2,
    conflict_count=1,
    rejected_count=2,
    blank_count=1,
    rejected_by_reason={"naive_timestamp": 2},
    unknown_keys={"properties.coupon": 3},
)
DECISION = DecisionResult(
    ruleset_hash="cf56cea0d42f" + "0" * 52,
    event_count=5,
    outcomes=(
        RuleOutcome("welcome_email", "WELCOME_EMAIL", "email", send_count=3, suppression_count=1),
        RuleOutcome("high_risk_alert", "HIGH_RISK_ALERT", "internal", send_count=1, suppression_count=0),
    ),
)
NOTHING_FOUND = Discovery(new_files=(), known_count=0, ignored_names=(), problems=())


def report(
    loads: tuple[LoadResult, ...] = (LOAD,),
    decision: DecisionResult | None = DECISION,
    discovery: Discovery = NOTHING_FOUND,
    problems: tuple[FileProblem, ...] = (),
) -> RunReport:
    return RunReport(
        as_of=datetime(2026, 11, 23, 10, tzinfo=UTC),
        database="sqlite:///./messaging.db",
        discovery=discovery,
        loads=loads,
        decision=decision,
        problems=problems,
    )


def test_the_headline_shows_counts_that_add_up_and_the_outcome() -> None:
    assert headline(report()) == (
        "1 file: 10 lines = 5 inserted + 2 duplicate (1 conflict) + 2 rejected + 1 blank. "
        "5 events decided: 3 sends, 1 suppression, 1 alert."
    )


def test_the_headline_of_an_empty_hour_says_that_nothing_was_new() -> None:
    nothing = DecisionResult("0" * 64, 0, ())
    known = Discovery(new_files=(), known_count=4, ignored_names=(), problems=())
    assert headline(report((), nothing, known)) == "Nothing new: 4 files in landing, all taken before."


def test_an_hour_without_new_files_still_tells_of_events_that_waited_to_be_decided() -> None:
    assert headline(report(loads=())).endswith("5 events decided: 3 sends, 1 suppression, 1 alert.")


def test_files_still_being_written_are_told_everywhere_and_are_no_failure() -> None:
    moving = Discovery(new_files=(), known_count=4, ignored_names=(), problems=(), waiting_names=("x.jsonl", "y.jsonl"))
    told = "2 files still being written, left for the next run."
    assert headline(report(discovery=moving)).endswith(f"1 alert. {told}")
    assert headline(report((), DecisionResult("0" * 64, 0, ()), moving)).endswith(f"all taken before. {told}")
    assert "Files still being written, left for the next run\n  file\n  x.jsonl\n" in summary_text(
        report(discovery=moving)
    )
    assert "problem" not in summary_text(report(discovery=moving))


def test_what_was_found_in_landing_is_told_in_one_line() -> None:
    assert discovery_line(NOTHING_FOUND) == "0 new, 0 taken before."
    moving = Discovery(new_files=(), known_count=4, ignored_names=(), problems=(), waiting_names=("x.jsonl",))
    assert discovery_line(moving) == "0 new, 4 taken before, 1 still being written."


def test_an_alert_is_not_counted_as_a_send() -> None:
    assert decision_line(DECISION) == "5 events decided: 3 sends, 1 suppression, 1 alert."


def test_a_load_is_told_in_one_line() -> None:
    assert load_line(LOAD) == (
        "Loaded a.jsonl: 10 lines = 5 inserted + 2 duplicate (1 conflict) + 2 rejected + 1 blank."
    )


def test_the_summary_tells_rules_files_reasons_unknown_keys_and_ignored_files() -> None:
    ignored = Discovery(new_files=(), known_count=0, ignored_names=("notes.txt",), problems=())
    text = summary_text(report(discovery=ignored))
    for row in (
        "  welcome_email    WELCOME_EMAIL    email        3           1",
        "  a.jsonl     10         5          2         1         2      1",
        "  naive_timestamp      2",
        "  properties.coupon      3",
        "  notes.txt",
    ):
        assert row in text.splitlines()


def test_problems_stand_in_the_summary_with_what_became_of_the_rest() -> None:
    problems = (FileProblem("b.jsonl", "cannot be read: Permission denied."),)
    assert problem_sentence(report(problems=problems)) == (
        "1 problem. Everything else was loaded and decided.\nb.jsonl: cannot be read: Permission denied."
    )
    assert summary_text(report(problems=problems)).endswith("b.jsonl: cannot be read: Permission denied.")
    assert "- b.jsonl: cannot be read: Permission denied." in summary_markdown(report(problems=problems))


def test_a_problem_whose_explanation_begins_with_the_name_is_not_named_twice() -> None:
    problems = (FileProblem("b.jsonl", "b.jsonl changed while it was read."),)
    assert problem_sentence(report(problems=problems)).endswith("\nb.jsonl changed while it was read.")
    assert "- b.jsonl changed while it was read." in summary_markdown(report(problems=problems)).splitlines()


def test_the_headline_does_not_call_files_taken_before_that_could_not_be_taken() -> None:
    problems = (FileProblem("b.jsonl", "cannot be read: Permission denied."),)
    assert headline(report((), DecisionResult("0" * 64, 0, ()), problems=problems)) == "Nothing was taken: 1 problem."


def test_without_a_decision_the_summary_does_not_claim_one() -> None:
    text = summary_text(report(decision=None, problems=(FileProblem("Deciding", "no rules"),)))
    assert "decided" not in text.replace("Deciding", "")
    assert "Everything else was loaded." in text


def test_names_from_raw_data_cannot_act_on_the_terminal_or_break_a_table() -> None:
    hostile = LoadResult("x\x1b[31m|.jsonl", 1, 0, 0, 0, 0, 1, {}, {"a\nb|<script>": 1})
    assert "\x1b" not in summary_text(report((hostile,)))
    assert "a\\nb|<script>" in summary_text(report((hostile,)))
    markdown = summary_markdown(report((hostile,)))
    assert "a\\nb\\|&lt;script>" in markdown
    assert "\x1b" not in markdown


def test_a_long_table_says_how_many_rows_it_leaves_out() -> None:
    loads = tuple(LoadResult(f"{n:03}.jsonl", 1, 1, 0, 0, 0, 0, {}, {}) for n in range(30))
    assert "  (and 5 more)" in summary_text(report(loads)).splitlines()
