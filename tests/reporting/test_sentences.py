"""A run in one line, and what went wrong."""

from dataclasses import replace

import pytest

from src.marketing_messaging_service.decisions.results import DecisionResult, RuleOutcome
from src.marketing_messaging_service.errors import WHO_DOES_THE_REST
from src.marketing_messaging_service.loading.results import LoadResult
from src.marketing_messaging_service.models import RemarkKind, RunMode, RunState
from src.marketing_messaging_service.reporting import (
    decision_line,
    discovery_line,
    headline,
    load_line,
    manager_sentence,
    problem_sentence,
    report_html,
    report_markdown,
    summary_text,
)
from src.marketing_messaging_service.reporting.run_report import LeftFiles, LineCounts, Problem, ReplayReport
from src.marketing_messaging_service.reporting.sentences import problems_told
from src.marketing_messaging_service.staging.results import Discovery, Remark
from tests.reporting.runs import LOAD, NOTES, NOTHING, WAITING, WELCOME, run_report

UNREADABLE = Problem("b.jsonl", "cannot be read: Permission denied.")


def test_the_headline_shows_counts_that_add_up_and_the_outcome() -> None:
    assert headline(run_report()) == (
        "1 file: 10 lines = 5 inserted + 2 duplicate (1 conflict) + 2 rejected + 1 blank. "
        "5 events decided: 3 sends, 1 suppression, 1 alert."
    )


def test_the_headline_of_an_empty_hour_says_that_nothing_was_new() -> None:
    assert headline(run_report(**NOTHING)) == "Nothing new: 4 files in landing, all taken before."


def test_an_hour_without_new_files_still_tells_of_events_that_waited_to_be_decided() -> None:
    assert headline(run_report(loads=())) == "Nothing new. 5 events decided: 3 sends, 1 suppression, 1 alert."


def test_the_headline_of_a_preview_claims_nothing() -> None:
    assert headline(run_report(mode=RunMode.PREVIEW)) == (
        "Preview, nothing was kept. 1 file: 10 lines = 5 to insert + 2 duplicate (1 conflict) + 2 rejected + 1 blank. "
        "5 events would be decided: 3 sends, 1 suppression, 1 alert."
    )


def test_the_headline_of_a_backfill_tells_what_lay_outside_of_its_window() -> None:
    partly = replace(LOAD, lines=LineCounts(read=10, inserted=4, outside=6))
    said = headline(run_report(loads=(partly,), outside_file_count=3))
    assert "10 lines = 4 inserted + 0 duplicate + 0 rejected + 0 blank + 6 outside the window. 3 files hold " in said
    assert headline(run_report(**NOTHING, outside_file_count=3)) == (
        "Nothing new in the window. 4 files were taken before. 3 files hold nothing new in the window; their events "
        "outside it were left, and a backfill whose window covers them takes them."
    )
    assert headline(replace(run_report(**NOTHING, outside_file_count=1), known_file_count=0)) == (
        "Nothing new in the window. 1 file holds nothing new in the window; its events outside it were left, and a "
        "backfill whose window covers them takes them."
    )


def test_the_headline_of_a_run_that_only_loads_tells_how_many_events_it_holds() -> None:
    loaded = run_report(mode=RunMode.LOAD_ONLY, decided_count=None, rules=(), held_count=5)
    assert headline(loaded).endswith("1 blank. 5 events held for a backfill to decide.")
    assert "5 events would be held" in headline(replace(loaded, mode=RunMode.PREVIEW))


def test_the_headline_tells_how_many_messages_had_expired() -> None:
    rule = replace(WELCOME, suppressed=(("expired", 2), ("once_ever", 1)))
    assert headline(run_report(rules=(rule,), max_event_age_hours=72)).endswith(
        "3 sends, 3 suppressions (2 expired), 0 alerts. 2 messages were not sent, because their events are older than "
        "the limit of 72 h. Each is in suppressions, with the reason expired; a backfill with "
        "decide_again and a larger max_event_age_hours decides them again."
    )
    one = replace(WELCOME, suppressed=(("expired", 1),))
    assert headline(run_report(rules=(one,), mode=RunMode.PREVIEW, max_event_age_hours=72)).endswith(
        "1 message would not be sent, because its event is older than the limit of 72 h."
    )


def test_the_headline_tells_what_was_decided_again_and_by_which_rules() -> None:
    again = run_report(**{**NOTHING, "rules": (WELCOME,)}, again_rules=("a", "welcome_email"), again_count=4)
    assert headline(again) == (
        "Nothing new. 0 events decided, and 4 decisions made on events decided before (by a, welcome_email): 3 sends, "
        "1 suppression, 0 alerts."
    )
    assert "0 events would be decided, and 0 decisions would be made on events decided before (by a):" in headline(
        run_report(**NOTHING, mode=RunMode.PREVIEW, again_rules=("a",))
    )


def test_files_still_being_written_are_reported_and_are_no_failure() -> None:
    told = "2 files still being written, left for the next run."
    waiting = (WAITING, replace(WAITING, names="y.jsonl"))
    assert headline(run_report(left=waiting)).endswith(f"1 alert. {told}")
    assert headline(run_report(**NOTHING, left=waiting)).endswith(f"all taken before. {told}")
    assert problem_sentence(run_report(left=waiting)) == ""


@pytest.mark.parametrize(
    ("left", "told"),
    [
        ((NOTES,), "1 file not taken because of its name: notes.txt (text)."),
        (
            (NOTES, LeftFiles(RemarkKind.IGNORED, "a.csv, b.csv, c.csv and 7 more", "CSV", 10)),
            "11 files not taken because of their names: notes.txt (text); a.csv, b.csv, c.csv and 7 more (CSV).",
        ),
        (
            (NOTES,) * 5,
            "5 files not taken because of their names: notes.txt (text); notes.txt (text); notes.txt (text); "
            "and 2 more.",
        ),
        (
            (LeftFiles(RemarkKind.UNREADABLE, "x.jsonl", "the file is UTF-16"),),
            "1 file of which no line can be read: x.jsonl (the file is UTF-16).",
        ),
    ],
)
def test_what_lies_untaken_is_named_first_and_beside_it_nothing_is_called_nothing_new(
    left: tuple[LeftFiles, ...], told: str
) -> None:
    assert headline(run_report(**NOTHING, left=left)) == f"{told} 4 other files had been taken before."
    assert headline(run_report(**{**NOTHING, "known_file_count": 0}, left=left)) == told
    assert headline(run_report(left=left)).startswith(f"{told} 1 file: 10 lines = ")
    assert headline(run_report(loads=(), left=left)).startswith(f"{told} 5 events decided: ")


def test_what_is_passed_over_is_worth_no_word_in_the_headline() -> None:
    passed_over = LeftFiles(RemarkKind.PASSED_OVER, "_SUCCESS", "")
    assert headline(run_report(**NOTHING, left=(passed_over,))) == headline(run_report(**NOTHING))


def test_the_headline_does_not_call_files_taken_before_that_could_not_be_taken() -> None:
    assert headline(run_report(**NOTHING, problems=(UNREADABLE,))) == "Nothing was taken: 1 problem."


def test_the_headline_of_a_run_cut_off_says_so_first() -> None:
    assert headline(run_report(state=RunState.KILLED)).startswith("Killed before its end. 1 file: 10 lines = ")
    nothing = {**NOTHING, "decided_count": None, "known_file_count": None}
    assert headline(run_report(**nothing, state=RunState.STOPPED)) == "Stopped before its end. Nothing was taken."


def test_problems_are_reported_with_what_became_of_the_rest() -> None:
    assert problem_sentence(run_report(problems=(UNREADABLE,))) == (
        "1 problem. b.jsonl: cannot be read: Permission denied. Everything else was loaded and decided."
    )
    undecided = run_report(decided_count=None, rules=(), problems=(Problem("Deciding", "no rules"),))
    assert problem_sentence(undecided) == "1 problem. Deciding: no rules Everything else was loaded."
    preview = run_report(mode=RunMode.PREVIEW, problems=(UNREADABLE,))
    assert problem_sentence(preview).endswith(" Everything else would be loaded and decided.")


def test_what_became_of_the_rest_is_reported_only_where_there_is_a_rest() -> None:
    unread = Problem("a.jsonl", "12 of 12 lines could not be read.")
    report = run_report(loads=(LOAD,), decided_count=0, rules=(), problems=(unread,))
    assert problem_sentence(report) == "1 problem. a.jsonl: 12 of 12 lines could not be read."


def test_of_many_problems_the_sentence_says_the_first_and_how_many_more_there_are() -> None:
    problems = tuple(Problem(f"{number}.jsonl", "cannot be read.") for number in range(10_000))
    sentence = problem_sentence(run_report(problems=problems))
    assert sentence.startswith("10000 problems. 0.jsonl: cannot be read. 1.jsonl: cannot be read. 2.jsonl: cannot ")
    assert "The report names 9997 more." in sentence
    told = problems_told(run_report(problems=problems))
    assert len(told) == 26
    assert told[-1] == "and 9975 more problems; all of them are in run_remarks, under run 17"


def test_a_problem_of_several_lines_is_one_line_of_a_log_and_several_of_a_report() -> None:
    report = run_report(problems=(Problem("Deciding", "rule a: no such key\n  rule b: no such field\n"),))
    assert "Deciding: rule a: no such key rule b: no such field Everything" in problem_sentence(report)
    assert problems_told(report) == ("Deciding: rule a: no such key\nrule b: no such field",)
    assert "1 problem:\n  Deciding: rule a: no such key\n    rule b: no such field" in summary_text(report)
    assert "1. Deciding: rule a: no such key rule b: no such field\n" in report_markdown(report)
    assert "<li>Deciding: rule a: no such key\nrule b: no such field</li>" in report_html(report)


def test_a_problem_whose_explanation_begins_with_the_name_is_not_named_twice() -> None:
    report = run_report(problems=(Problem("b.jsonl", "b.jsonl changed while it was read."),))
    assert problem_sentence(report).startswith("1 problem. b.jsonl changed while it was read. ")


@pytest.mark.parametrize(
    ("state", "message", "told"),
    [
        (RunState.COMPLETED, "1 file: all well.", ""),
        (RunState.FAILED, "LANDING_PATH names x.", "LANDING_PATH names x."),
        (RunState.STOPPED, "Stopped on request.", "Stopped on request."),
        (RunState.KILLED, None, f"It ended without a word. {WHO_DOES_THE_REST}"),
    ],
)
def test_a_run_that_did_not_come_to_its_end_says_why(state: RunState, message: str | None, told: str) -> None:
    assert problem_sentence(run_report(state=state, message=message))[: len(told) or None] == told


def test_what_was_found_in_landing_is_reported_in_one_line() -> None:
    found = Discovery(new_files=(), known_count=0)
    assert discovery_line(found) == "0 new, 0 taken before."
    moving = Discovery((), 4, remarks=(Remark(RemarkKind.WAITING, "x.jsonl", ""),))
    assert discovery_line(moving) == "0 new, 4 taken before, 1 still being written."
    beside_spark = replace(found, remarks=(Remark(RemarkKind.PASSED_OVER, "_SUCCESS, _temporary", "", 2),))
    told = "0 new, 0 taken before, 2 passed over because their names begin with _ or a dot."
    assert discovery_line(beside_spark) == told


def test_deciding_is_reported_in_one_line_in_which_an_alert_is_no_send() -> None:
    outcomes = (
        RuleOutcome("welcome_email", "WELCOME_EMAIL", "email", send_count=3, suppression_count=1),
        RuleOutcome("high_risk_alert", "HIGH_RISK_ALERT", "internal", send_count=1, suppression_count=0),
    )
    assert decision_line(DecisionResult("0" * 64, 5, 0.2, outcomes)).startswith(
        "5 events decided in 0.2 s: 3 sends, 1 suppression, 1 alert"
    )


def test_a_load_is_reported_in_one_line() -> None:
    assert load_line(LoadResult("a.jsonl", 10, 5, 2, 1, 0, 2, 1, 0, 0.1, {}, {})).startswith(
        "Loaded a.jsonl in 0.1 s: 10 lines = 5 inserted + 2 duplicate (1 conflict) + 2 rejected + 1 blank"
    )


def test_events_in_the_future_are_reported_with_what_becomes_of_them() -> None:
    report = run_report(decided_count=3, ahead_count=2, max_event_ahead_hours=1)
    assert headline(report).endswith(
        "2 events are more than 1 h in the future of as_of and wait until their times have come; a clock must be wrong."
    )
    one = replace(report, ahead_count=1, decided_count=0, loads=(), mode=RunMode.PREVIEW)
    assert headline(one) == (
        "Preview, nothing was kept. Nothing new. 0 events would be decided: 3 sends, 1 suppression, 1 alert. 1 event "
        "is more than 1 h in the future of as_of and would wait until its time has come; a clock must be wrong."
    )


REPLAYED = {
    "flow_name": "replay",
    "source": "rejected lines",
    "loads": (),
    "decided_count": None,
    "known_file_count": None,
    "outside_file_count": None,
}


def test_a_replay_says_what_became_of_every_line() -> None:
    replayed = (
        ReplayReport("missing_field", "taken", 7),
        ReplayReport("missing_field", "wrong_type", 2),
        ReplayReport("broken_off", "kept_in_part", 1),
        ReplayReport("invalid_json", "no_source", 3),
        ReplayReport("invalid_json", "failed", 4),
        ReplayReport("invalid_json", "taken_before", 5),
    )
    assert headline(run_report(**REPLAYED, replayed=replayed)) == (
        "17 rejected lines read again: 7 taken, 2 still rejected, 1 kept in part only, whose files must be delivered "
        "again, 3 of files that no pattern of sources.yaml names, 4 that could not be read or loaded. 5 edited lines "
        "had been replayed before. Nothing was taken."
    )


@pytest.mark.parametrize("state", [RunState.KILLED, RunState.STOPPED, RunState.FAILED])
def test_a_replay_that_did_not_come_to_its_end_does_not_say_that_there_was_nothing_to_replay(state: RunState) -> None:
    report = run_report(**REPLAYED, state=state)
    assert "There are no" not in headline(report)
    assert "no rejected line" not in manager_sentence(report)


def test_a_killed_replay_says_what_it_took() -> None:
    report = run_report(**REPLAYED | {"loads": (LOAD,)}, state=RunState.KILLED)
    assert "5 events came of lines that had been rejected" in manager_sentence(report)
