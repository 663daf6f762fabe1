"""What a person reads after a self-check."""

from dataclasses import replace

from src.marketing_messaging_service.reporting import check_headline, check_markdown, check_text, repair_text
from src.marketing_messaging_service.schema_drift.results import RepairedObject
from src.marketing_messaging_service.self_check.results import CheckReport, Finding
from src.marketing_messaging_service.version import VERSION

SOUND = Finding("sound_file", "SQLite finds no damage", 0, ())
BROKEN = Finding("one_decision", "No rule decided twice", 7, ("events.id 1: 2 by <r|s>", "events.id 2", "events.id 3"))
UNCHECKED = Finding("like_its_event", "Every decision has the user", 0, (), "no such table: events")


COPYING = 'sqlite3 messaging.db ".backup copy.db"'


def report(*findings: Finding) -> CheckReport:
    return CheckReport("messaging.db", COPYING, "0003", {"loads": 2, "events": 10}, findings)


def test_a_sound_database_is_one_line_and_a_table() -> None:
    assert check_text(report(SOUND)) == (
        f"Self-check of messaging.db: version {VERSION}, schema 0003, loads 2, events 10\n\n"
        "Everything holds: 1 promise.\n\n"
        "What must hold, and what was found\n"
        "  invariant   found  what must hold\n"
        "  sound_file  holds  SQLite finds no damage"
    )


def test_the_headline_names_what_is_broken_and_what_could_not_be_checked() -> None:
    assert check_headline(report(SOUND, BROKEN, UNCHECKED)) == (
        "BROKEN: 2 of 3 promises: one_decision, like_its_event."
    )


def test_a_breach_is_reported_with_its_examples_and_how_many_there_are() -> None:
    text = check_text(report(BROKEN))
    assert "  one_decision  BROKEN 7  No rule decided twice\n" in text
    assert (
        "one_decision: No rule decided twice\n  events.id 1: 2 by <r|s>\n  events.id 2\n  events.id 3\n  and 4 more\n"
    ) in text
    assert f"before anybody repairs it: {COPYING}" in text


def test_what_could_not_be_checked_says_why() -> None:
    text = check_text(report(UNCHECKED))
    assert "  like_its_event  NOT CHECKED  Every decision has the user\n" in text
    assert "  not checked to the end: no such table: events\n" in text


def test_the_markdown_tells_breaches_first_and_lets_no_value_break_the_table() -> None:
    markdown = check_markdown(report(BROKEN))
    assert markdown.startswith(
        f"`messaging.db`: version {VERSION}, schema 0003, loads 2, events 10.\n\n### one_decision: "
    )
    assert "- events.id 1: 2 by \\<r\\|s\\>\n" in markdown
    assert "| one_decision | BROKEN 7 | No rule decided twice |" in markdown


def test_what_to_do_stands_with_the_breach_it_is_for() -> None:
    advised = replace(BROKEN, advice="Put a copy back.")
    assert "  and 4 more\n  What to do: Put a copy back.\n" in check_text(report(advised))
    assert "- What to do: Put a copy back.\n" in check_markdown(report(advised))
    assert "What to do" not in check_text(report(replace(SOUND, advice="Nothing.")))


def test_a_repair_says_what_it_made_what_stood_there_and_what_it_could_not_make() -> None:
    view = RepairedObject("view", "event_dates", replaced_sql="CREATE VIEW event_dates AS\nSELECT '\x1b[2J'")
    index = RepairedObject("index", "uq_events_message_id", "rows stand against it (UNIQUE constraint failed)")
    assert repair_text([view, index]) == (
        "Rebuilt: the view event_dates.\n"
        "It replaces:\n"
        "  CREATE VIEW event_dates AS\n"
        "  SELECT '\\x1b[2J'\n"
        "NOT REBUILT: the index uq_events_message_id: rows stand against it (UNIQUE constraint failed)"
    )
    assert repair_text([]) == "Every view and index is as it should be; none was rebuilt."


def test_values_out_of_the_database_cannot_act_on_a_terminal() -> None:
    nasty = Finding("like_its_event", "s", 1, ("send_requests.id 1: \x1b[2J" + "x" * 1000,))
    text = check_text(report(nasty))
    assert "\x1b" not in text
    assert max(map(len, text.splitlines())) < 250


def test_a_database_of_which_no_table_can_be_counted_says_so() -> None:
    assert "schema 0003, no table can be counted" in check_text(
        CheckReport("messaging.db", COPYING, "0003", {}, (UNCHECKED,))
    )
