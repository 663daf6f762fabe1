"""What a backtest says of a past, and what it leaves alone."""

import csv
import json
import threading
from itertools import pairwise
from pathlib import Path

import pytest
from sqlalchemy import text

from src.marketing_messaging_service.backtesting import (
    Files,
    NamedRules,
    Question,
    backtest,
    difference_json,
    difference_markdown,
    write_files,
)
from src.marketing_messaging_service.backtesting.difference import Counts
from src.marketing_messaging_service.backtesting.words import explain_command
from src.marketing_messaging_service.errors import DatabaseError, ParameterError, ReportError
from src.marketing_messaging_service.infrastructure.database import write_transaction
from src.marketing_messaging_service.run_options import Window
from tests.backtesting.histories import at, compared, event, fingerprint, lived, rule, rules_file
from tests.pipeline import Pipeline

DAILY = {"rules": [rule()]}
WEEKLY = {"rules": [rule(suppression={"mode": "once_per_calendar_week"})]}

A_WEEK = [
    event("e1", "02T08:10"),
    event("e2", "02T09:10"),
    event("e3", "03T08:10"),
    event("e4", "05T08:10", "bob"),
    event("e5", "06T08:10", "bob"),
]


@pytest.fixture(scope="module")
def a_week(tmp_path_factory: pytest.TempPathFactory, migrated_template: Path) -> Path:
    """The database of a week that hourly runs decided, to be copied."""
    pipeline = Pipeline(tmp_path_factory.mktemp("week") / "run", migrated_template)
    lived(pipeline, A_WEEK, DAILY)
    pipeline.engine.dispose()
    return pipeline.database_path


@pytest.fixture
def pipeline(tmp_path: Path, a_week: Path) -> Pipeline:
    return Pipeline(tmp_path / "run", a_week)


def test_the_same_rules_change_nothing(pipeline):
    difference, changes = compared(pipeline.database_url, DAILY, DAILY)
    assert changes == []
    assert difference.sends == Counts(4, 4)
    assert difference.suppressions == Counts(1, 1)


def test_what_a_longer_once_takes_away_is_gone_and_says_why(pipeline):
    difference, changes = compared(pipeline.database_url, DAILY, WEEKLY)
    assert [(each.message_id, each.kind, each.before, each.after) for each in changes] == [
        ("e2", "other_reason", "suppressed:once_per_calendar_day", "suppressed:once_per_calendar_week"),
        ("e3", "gone", "send", "suppressed:once_per_calendar_week"),
        ("e5", "gone", "send", "suppressed:once_per_calendar_week"),
    ]
    assert difference.sends == Counts(4, 2)
    assert [(each.rule_name, each.new_count, each.gone_count, each.moved_count) for each in difference.rules] == [
        ("mail", 0, 2, 0)
    ]
    assert dict(difference.weeks) == {1: Counts(0, 2), 2: Counts(2, 0)}
    assert [(user.user_id, user.sends) for user in difference.users] == [("ada", Counts(2, 1)), ("bob", Counts(2, 1))]
    assert [(stop.rule_name, stop.by_name, stop.count) for stop in difference.stops_after] == [("mail", "mail", 3)]


def test_who_stops_whom_counts_the_window_alone_on_both_sides(pipeline):
    for window, count in (({}, 1), ({"since": at("03T00:00")}, 0)):
        difference, _ = compared(pipeline.database_url, None, DAILY, **window)
        assert [sum(stop.count for stop in side) for side in (difference.stops_before, difference.stops_after)] == [
            count,
            count,
        ]


def test_decisions_without_a_rule_have_a_line_of_their_own(pipeline):
    """These are in databases older than the column."""
    with write_transaction(pipeline.engine) as connection:
        for table in ("send_requests", "suppressions"):
            connection.execute(text(f"UPDATE {table} SET rule_name = NULL, ruleset_id = NULL WHERE user_id = 'ada'"))
    pipeline.engine.dispose()
    difference, _ = compared(pipeline.database_url, None, DAILY)
    assert [(each.rule_name, each.sends) for each in difference.rules] == [
        ("(rule not recorded)", Counts(2, 0)),
        ("mail", Counts(2, 4)),
    ]
    assert [stop.rule_name for stop in difference.stops_before] == ["(rule not recorded)"]


def test_a_message_of_the_same_rule_on_another_event_of_the_user_is_moved_in_time(pipeline):
    later = {"rules": [rule(conditions={"happened": {"event_type": "payment_failed", "within_hours": 2}})]}
    first_of_day = {"rules": [rule(conditions={"not": later["rules"][0]["conditions"]})]}
    difference, changes = compared(pipeline.database_url, first_of_day, later, until=at("03T00:00"))
    assert [(each.message_id, each.kind) for each in changes] == [("e1", "moved"), ("e2", "moved")]
    assert [(each.new_count, each.gone_count, each.moved_count) for each in difference.rules] == [(0, 0, 1)]


def test_another_wait_moves_a_message_and_both_times_are_reported(pipeline):
    waits = {"rules": [rule(wait={"hours": 2})]}
    _, changes = compared(pipeline.database_url, DAILY, waits, until=at("04T00:00"))
    assert {(each.message_id, each.kind, each.at_before, each.at_after) for each in changes} >= {
        ("e1", "moved", "2026-11-02 08:10:00.000000", "2026-11-02 10:10:00.000000")
    }


def test_what_was_sent_before_the_window_counts_for_both(pipeline):
    ever = {"rules": [rule(suppression={"mode": "once_ever"})]}
    difference, changes = compared(pipeline.database_url, DAILY, ever, since=at("03T00:00"))
    assert [each.message_id for each in changes] == ["e3", "e5"]
    assert difference.sends == Counts(3, 1)


@pytest.mark.slow
def test_what_waited_when_the_window_began_is_decided_by_both(tmp_path, migrated_template):
    pipeline = Pipeline(tmp_path / "waits", migrated_template)
    waits = {"rules": [rule(wait={"hours": 24})]}
    lived(pipeline, A_WEEK, waits)
    difference, changes = compared(pipeline.database_url, waits, {"rules": [rule("other")]}, since=at("03T00:00"))
    # Of the rule that is gone the wait lapses; e1 and e2 had begun to wait before the window.
    assert [each.message_id for each in changes if each.rule_name == "mail"] == ["e1", "e2", "e3", "e4"]
    assert difference.rules[0].sends == Counts(3, 0)


@pytest.mark.slow
def test_nothing_is_written_and_a_run_beside_it_continues(pipeline):
    before = fingerprint(pipeline.database_path)
    compared(pipeline.database_url, DAILY, WEEKLY)
    assert fingerprint(pipeline.database_path) == before
    question = Question(NamedRules("old", rules_file(DAILY)), NamedRules("new", rules_file(WEEKLY)))
    with backtest(pipeline.database_url, question):
        # While the backtest is at work, an hourly run takes the write lock, commits, and leaves no log behind.
        run = threading.Thread(target=lived, args=(pipeline, [event("late", "07T08:10")], DAILY))
        run.start()
        run.join(timeout=60)
        assert not run.is_alive()
        pipeline.engine.dispose()
    assert pipeline.rows("SELECT count(*) FROM send_requests") == [(5,)]
    assert not pipeline.database_path.with_name(f"{pipeline.database_path.name}-wal").exists()


@pytest.mark.slow
def test_a_block_is_seen_from_the_hour_on_in_which_it_comes(tmp_path, migrated_template):
    pipeline = Pipeline(tmp_path / "blocks", migrated_template)
    blocks = [{"name": "left", "from": {"event_type": "unsubscribed"}, "until": {"event_type": "resubscribed"}}]
    events = [
        event("e1", "02T08:10"),
        event("no", "02T10:20", event_type="unsubscribed"),
        event("e2", "03T08:10"),
        event("yes", "04T10:20", event_type="resubscribed"),
        event("e3", "05T08:10"),
    ]
    lived(pipeline, events, DAILY)
    _, changes = compared(pipeline.database_url, DAILY, {**DAILY, "blocks": blocks})
    assert [(each.message_id, each.after) for each in changes] == [("e2", "suppressed:blocked:left")]


@pytest.mark.slow
def test_a_block_while_a_trait_says_so_is_seen_from_the_hour_on_in_which_it_does(tmp_path, migrated_template):
    pipeline = Pipeline(tmp_path / "blocks", migrated_template)
    condition = {"field": "latest_traits.marketing_opt_in", "operator": "equals", "value": False}
    events = [
        event("e1", "02T08:10", user_traits={"marketing_opt_in": True}),
        event("e2", "03T08:10", user_traits={"marketing_opt_in": False}),
        event("e3", "04T08:10"),
        event("e4", "05T08:10", user_traits={"marketing_opt_in": True}),
    ]
    lived(pipeline, events, DAILY)
    _, changes = compared(pipeline.database_url, DAILY, {**DAILY, "blocks": [{"name": "out", "while": condition}]})
    assert [each.message_id for each in changes] == ["e2", "e3"]


@pytest.mark.slow
def test_what_is_decided_within_the_hour_expires_where_the_rule_allows_for_less(pipeline):
    _, changes = compared(pipeline.database_url, DAILY, {"rules": [rule(expires_after_hours=0.5)]})
    assert {(each.message_id, each.after) for each in changes} >= {("e1", "suppressed:expired")}
    _, changes = compared(pipeline.database_url, DAILY, {"rules": [rule(expires_after_hours=1)]})
    assert changes == []


def test_against_what_was_decided_a_clean_history_has_no_difference(pipeline):
    difference, changes = compared(pipeline.database_url, None, None)
    assert changes == []
    assert difference.late == ()
    assert difference.sends == Counts(4, 4)


def test_against_what_was_decided_a_late_event_is_named_with_what_it_changed(pipeline):
    pipeline.land([event("late", "03T07:50")])
    pipeline.do(pipeline.options(as_of=at("07T00:00")), DAILY)
    pipeline.engine.dispose()
    difference, changes = compared(pipeline.database_url, None, None)
    assert [(each.message_id, each.before, each.after) for each in changes] == [
        ("late", "suppressed:once_per_calendar_day", "send"),
        ("e3", "send", "suppressed:once_per_calendar_day"),
    ]
    assert difference.late is not None
    [late] = difference.late
    assert (late.event_type, late.late_count, late.changing_count, late.change_count) == ("payment_failed", 1, 1, 2)
    assert late.example == "late of ada at 2026-11-03 07:50, decided 88.2 h later"
    assert difference.unexplained_count == 0


@pytest.mark.slow
def test_against_what_was_decided_each_batch_has_its_own_rules_and_limits(tmp_path, migrated_template):
    pipeline = Pipeline(tmp_path / "versions", migrated_template)
    lived(pipeline, A_WEEK[:3], DAILY)
    lived(pipeline, A_WEEK[3:], WEEKLY)
    pipeline.land([event("old", "01T08:10", "cleo")])
    pipeline.do(pipeline.options(as_of=at("07T00:00"), max_event_age_hours=72), WEEKLY)
    pipeline.engine.dispose()
    _, changes = compared(pipeline.database_url, None, None)
    assert [(each.message_id, each.before, each.after) for each in changes] == [("old", "suppressed:expired", "send")]


@pytest.mark.slow
def test_against_what_was_decided_a_rule_that_decided_again_does_so_again(tmp_path, migrated_template):
    pipeline = Pipeline(tmp_path / "again", migrated_template)
    lived(pipeline, A_WEEK, {"rules": [rule("other")]})
    both = {"rules": [rule("other"), rule()]}
    window = Window(at("02T00:00"), at("07T00:00"))
    pipeline.do(pipeline.options(window, as_of=at("07T00:00"), decide_again=["mail"]), both)
    pipeline.engine.dispose()
    difference, changes = compared(pipeline.database_url, None, None)
    assert changes == []
    assert {(each.rule_name, each.sends) for each in difference.rules} == {
        ("other", Counts(4, 4)),
        ("mail", Counts(4, 4)),
    }


def test_a_window_without_an_event_is_an_error_that_says_where_they_are(pipeline):
    with pytest.raises(ParameterError, match="reach from 2026-11-02 08:10 to 2026-11-06 09:00 UTC"):
        compared(pipeline.database_url, DAILY, WEEKLY, since=at("20T00:00"))


def test_a_disk_without_room_is_reported_before_anything_is_copied(pipeline, monkeypatch):
    monkeypatch.setattr("shutil.disk_usage", lambda _: type("Usage", (), {"free": 1_000})())
    with pytest.raises(DatabaseError, match=r"works on a copy, which takes some .* MB in"):
        compared(pipeline.database_url, DAILY, WEEKLY)


@pytest.mark.slow
def test_the_report_and_every_change_are_files(pipeline, tmp_path):
    question = Question(NamedRules("old", rules_file(DAILY)), NamedRules("<new>", rules_file(WEEKLY)))
    with backtest(pipeline.database_url, question) as found:
        files = write_files(tmp_path / "reports", found, at("10T00:00"))
        form = difference_json(found.difference, found.changes())
        with pytest.raises(ReportError, match="REPORTS_PATH names"):
            write_files(files.report, found, at("10T00:00"))
    html = files.report.read_text(encoding="utf-8")
    assert "With &lt;new&gt; in place of old, 2 messages would have gone out" in html
    assert "python -m flows.explain --user ada --event e3 --rule mail" in html
    assert "Who stops whom" in html
    # A column of it can break the line.
    assert "suppressed: once_per_calendar_week" in html
    with files.changes.open(encoding="utf-8", newline="") as file:
        assert [row["message_id"] for row in csv.DictReader(file)] == ["e2", "e3", "e5"]
    assert json.loads(json.dumps(form))["sends"] == {"before": 4, "after": 2}
    assert form["suppressions"]["by_reason"] == {
        "once_per_calendar_day": {"before": 1, "after": 0},
        "once_per_calendar_week": {"before": 0, "after": 3},
    }
    assert form["changes"][1] == {
        "message_id": "e3",
        "rule_name": "mail",
        "before": "send",
        "after": "suppressed:once_per_calendar_week",
        "kind": "gone",
        "before_at": "2026-11-03T08:10:00+00:00",
        "after_at": "2026-11-03T08:10:00+00:00",
    }


@pytest.mark.slow
def test_the_page_of_a_run_names_each_picture_and_cuts_no_example_off(pipeline, tmp_path):
    difference, _ = compared(pipeline.database_url, DAILY, WEEKLY)
    files = Files(tmp_path / "report.html", tmp_path / "changes.csv")
    lines = [line for line in difference_markdown(difference, files).splitlines() if line]
    before_pictures = [above for above, line in pairwise(lines) if line.startswith("![")]
    assert before_pictures == ["### Messages per day", "### Messages a user gets in a week"]
    assert len([line for line in lines if line.startswith("### Messages a user gets")]) == 1
    (gone,) = (lines[place + 1] for place, line in enumerate(lines) if line == "### Examples: one message fewer")
    assert gone.startswith("- ada, payment_failed e3 at 2026-11-03 08:10, mail: send → suppressed: once")
    assert gone.endswith(": `python -m flows.explain --user ada --event e3 --rule mail`")


def test_what_is_wrong_with_the_new_rules_alone_is_reported(pipeline):
    odd = {"rules": [rule(trigger={"event_type": "payment_faild"})]}
    difference, _ = compared(pipeline.database_url, DAILY, odd)
    assert any("did you mean payment_failed?" in warning for warning in difference.new_warnings)


def test_a_message_of_a_rule_that_only_the_new_file_has_is_explained_without_naming_the_rule(pipeline):
    _, changes = compared(pipeline.database_url, DAILY, {"rules": [*DAILY["rules"], rule(name="other")]})
    commands = {explain_command(change) for change in changes if change.rule_name == "other"}
    assert commands
    assert not [command for command in commands if "--rule" in command]


def test_new_rules_that_drop_the_old_ones_are_warned_of_and_the_old_ones_are_not(pipeline):
    difference, _ = compared(pipeline.database_url, DAILY, {"rules": [rule(name="other")]})
    assert [warning for warning in difference.new_warnings if "gone or off" in warning] == [
        "The only rule that decided last is gone or off: mail. If that is not intended, put it back."
    ]
    assert difference.gone_warnings == ()


@pytest.mark.slow
def test_addresses_are_masked_in_what_people_read(tmp_path, migrated_template):
    pipeline = Pipeline(tmp_path / "mail", migrated_template)
    lived(pipeline, [event("e1", "02T08:10", "ada@example.com")], DAILY)
    pipeline.engine.dispose()
    question = Question(NamedRules("old", rules_file(DAILY)), NamedRules("new", rules_file({"rules": [rule("x")]})))
    with backtest(pipeline.database_url, question) as found:
        files = write_files(tmp_path / "reports", found, at("10T00:00"))
    assert "example.com" not in files.report.read_text(encoding="utf-8")


def test_events_are_decided_at_once_only_up_to_a_bound(pipeline, monkeypatch):
    monkeypatch.setattr("src.marketing_messaging_service.backtesting.schedule.EVENTS_AT_ONCE", 2)
    difference, changes = compared(pipeline.database_url, DAILY, WEEKLY)
    assert [each.message_id for each in changes] == ["e2", "e3", "e5"]
    assert difference.sends == Counts(4, 2)


def test_a_stop_that_is_asked_for_ends_it(pipeline):
    class StoppedError(Exception):
        pass

    def look() -> None:
        raise StoppedError

    question = Question(NamedRules("old", rules_file(DAILY)), NamedRules("new", rules_file(WEEKLY)))
    with pytest.raises(StoppedError), backtest(pipeline.database_url, question, look=look):
        pass


def test_an_older_database_is_refused_with_what_to_do(pipeline):
    with write_transaction(pipeline.engine) as connection:
        connection.exec_driver_sql("UPDATE alembic_version SET version_num = '0019'")
    with pytest.raises(DatabaseError, match="older"):
        compared(pipeline.database_url, DAILY, WEEKLY)
