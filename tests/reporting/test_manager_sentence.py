"""What a manager reads first, in every case."""

from dataclasses import replace
from datetime import timedelta

from src.marketing_messaging_service.models import RunMode, RunState
from src.marketing_messaging_service.reporting import manager_sentence
from src.marketing_messaging_service.reporting.run_report import LineCounts, Problem
from tests.reporting.runs import ALERT, AS_OF, LOAD, NOTHING, WELCOME, run_report

NO_RULES = {"decided_count": 99, "rules": ()}


def loads(**counts: int) -> dict[str, object]:
    return {"loads": (replace(LOAD, lines=LineCounts(**counts)),)}


def test_an_ordinary_hour() -> None:
    welcome = replace(WELCOME, sent_count=25, suppressed=(("once_ever", 4),))
    alert = replace(ALERT, alerted_count=2)
    report = run_report(
        **loads(read=1213, inserted=1204, rejected=8, blank=1), decided_count=1204, rules=(welcome, alert)
    )
    assert manager_sentence(report) == (
        "Between 09:05 and 10:05 UTC, 1,204 events came in; 25 messages go out, 2 alerts go to our own people, 4 "
        "messages were not sent again because the users already got them, 8 lines could not be read."
    )


def test_one_of_each_is_reported_in_the_singular() -> None:
    welcome = replace(WELCOME, sent_count=1, suppressed=(("expired", 1), ("once_ever", 1)))
    report = run_report(**loads(read=2, inserted=1, rejected=1), decided_count=1, rules=(welcome, ALERT))
    assert manager_sentence(report) == (
        "Between 09:05 and 10:05 UTC, 1 event came in; 1 message goes out, 1 alert goes to our own people, 1 "
        "message was not sent again because the user already got it, 1 message was not sent because its event is too "
        "old, 1 line could not be read."
    )


def test_lines_with_the_message_id_of_another_event_are_reported() -> None:
    report = run_report(**loads(read=100, inserted=99, collision=1), max_rejected_percent=5.0, **NO_RULES)
    assert manager_sentence(report) == (
        "Between 09:05 and 10:05 UTC, 99 events came in; none of them earns a message, 1 line has the message_id of "
        "another event and was kept aside."
    )


def test_and_above_the_limit_what_they_mean() -> None:
    report = run_report(**loads(read=80, inserted=40, collision=40), max_rejected_percent=5.0, **NO_RULES)
    assert manager_sentence(report).endswith(
        "40 lines have the message_id of another event and were kept aside: two producers seem to number their events "
        "alike."
    )


def test_the_first_run_knows_no_hour_before() -> None:
    assert manager_sentence(run_report(**NOTHING, came_in_since=None)) == (
        "By 2026-11-23 10:05 UTC, nothing new came in."
    )


def test_a_run_after_a_night_without_one_names_the_days() -> None:
    report = run_report(**NOTHING, came_in_since=AS_OF - timedelta(hours=14))
    assert manager_sentence(report) == "Between 2026-11-22 20:00 and 2026-11-23 10:05 UTC, nothing new came in."


def test_events_that_earn_nothing() -> None:
    report = run_report(**loads(read=5, inserted=5), rules=(replace(WELCOME, sent_count=0, suppressed=()),))
    assert manager_sentence(report).endswith("5 events came in; none of them earns a message.")


def test_events_from_the_future_wait() -> None:
    nothing_sent = {"rules": (replace(WELCOME, sent_count=0, suppressed=()),)}
    report = run_report(**loads(read=5, inserted=5), **nothing_sent, decided_count=3, ahead_count=2)
    assert manager_sentence(report).endswith(
        "5 events came in; none of those that were decided earns a message, 2 events from the future wait for their "
        "time."
    )
    assert manager_sentence(replace(report, ahead_count=1, mode=RunMode.PREVIEW)).endswith(
        "1 event from the future would wait for its time."
    )
    only_these = run_report(**loads(read=1, inserted=1), decided_count=0, rules=(), ahead_count=1)
    assert manager_sentence(only_these).endswith("1 event came in; 1 event from the future waits for its time.")


def test_everything_rejected() -> None:
    nothing = {"decided_count": 0, "rules": ()}
    assert manager_sentence(run_report(**loads(read=121, rejected=120, blank=1), **nothing)) == (
        "Between 09:05 and 10:05 UTC, not one of the 120 lines could be read."
    )
    assert manager_sentence(run_report(**loads(read=1, rejected=1), **nothing)).endswith(
        "the only line that came could not be read."
    )


def test_nothing_but_duplicates() -> None:
    report = run_report(**loads(read=9, duplicate=8, rejected=1), decided_count=0, rules=())
    assert manager_sentence(report).endswith("nothing new came in; 1 line could not be read.")


def test_events_that_had_waited() -> None:
    report = run_report(**loads(read=5, inserted=5), decided_count=65)
    assert "5 events came in; 60 events that had waited were decided as well, 3 messages go out" in (
        manager_sentence(report)
    )


def test_nothing_but_events_that_had_waited() -> None:
    assert "nothing new came in; 8 events that had waited were decided, 3 messages go out" in (
        manager_sentence(run_report(loads=(), decided_count=8))
    )


def test_a_run_that_could_not_decide() -> None:
    report = run_report(decided_count=None, rules=(), problems=(Problem("Deciding", "no rules"),))
    assert manager_sentence(report).endswith(
        "5 events came in; what they earn could not be decided, and they wait for the next run, 2 lines could not be "
        "read. 1 problem needs attention."
    )


def test_a_run_in_which_no_file_could_be_taken() -> None:
    report = run_report(**NOTHING, problems=(Problem("b.jsonl", "cannot be read."), Problem("c.jsonl", "is a link.")))
    assert manager_sentence(report).endswith("nothing was taken in. 2 problems need attention.")


def test_a_run_cut_off() -> None:
    report = run_report(state=RunState.KILLED, **loads(read=5, inserted=5), decided_count=None, rules=())
    assert manager_sentence(report) == (
        "This run was killed before its end. Between 09:05 and 10:05 UTC, 5 events came in; what they earn could not "
        "be decided, and they wait for the next run."
    )


def test_a_backfill_that_only_loads() -> None:
    window = {"window_start_at": AS_OF - timedelta(days=2), "window_end_at": AS_OF}
    report = run_report(
        **loads(read=5, inserted=5), **window, mode=RunMode.LOAD_ONLY, held_count=5, decided_count=None, rules=()
    )
    assert manager_sentence(report) == (
        "For the time from 2026-11-21 10:00 to 2026-11-23 10:00 UTC, 5 events came in; they are kept undecided, "
        "because this run was asked only to load."
    )


def test_a_preview_claims_nothing() -> None:
    report = run_report(mode=RunMode.PREVIEW, decided_count=8)
    told = manager_sentence(report)
    assert told == (
        "This is a preview; nothing was kept. Between 09:05 and 10:05 UTC, 5 events would come in; 3 events "
        "that had waited would be decided as well, 3 messages would go out, 1 alert would go to our own people, 1 "
        "message would not be sent again because the user already got it, 2 lines could not be read."
    )
