"""The check can fail: each invariant is broken by hand, and it, and nothing else, is reported."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pytest

from src.marketing_messaging_service.self_check.structure import STRUCTURE_INVARIANTS, timestamp_columns
from tests.decisions import test_audit_refusals
from tests.self_check.databases import EVERYTHING, broken, drop_constraint, execute, rows

pytestmark = pytest.mark.slow


@dataclass(frozen=True)
class Breach:
    """A way to break one invariant, and what is first reported about it."""

    invariant: str
    how: str
    example: str
    statements: tuple[str, ...] = ()
    dropped: tuple[str, str] | None = None
    """A table and its constraint that would not let the statements pass."""
    deed: Callable[[Path], None] = lambda _: None
    also: tuple[str, ...] = ()
    """What else cannot hold then."""

    @property
    def reported(self) -> set[str]:
        """The invariants that it breaks: the schema is another one too when something of it had to be dropped."""
        drops = self.dropped is not None or any(statement.startswith("DROP ") for statement in self.statements)
        return {self.invariant, *self.also, *(["schema_as_made"] if drops else [])}


def empty_index(path: Path) -> None:
    """Lose the entries of an index."""
    ((page,),) = rows(path, "SELECT rootpage FROM sqlite_master WHERE name = 'ix_suppressions_user_id'")
    ((page_size,),) = rows(path, "PRAGMA page_size")
    with path.open("r+b") as file:
        file.seek((page - 1) * page_size)
        # The header of an index page without entries.
        file.write(bytes((10, 0, 0, 0, 0, page_size >> 8, page_size & 255, 0)))


SEND = (
    "user_id, event_id, template_name, channel, reason, decided_at, rule_name, ruleset_id, event_timestamp, dedupe_key"
)
SUPPRESSION = (
    "user_id, event_id, template_name, suppression_reason, decided_at, rule_name, ruleset_id, event_timestamp, "
    "blocked_by_send_request_id"
)


def send_instead(suppression_id: int, dedupe_key: str) -> tuple[str, ...]:
    """Statements that make a send of a suppression."""
    return (
        f"INSERT INTO send_requests ({SEND}) SELECT user_id, event_id, template_name, 'email', 'rule:' || rule_name, "
        f"decided_at, rule_name, ruleset_id, event_timestamp, '{dedupe_key}' FROM suppressions "
        f"WHERE id = {suppression_id}",
        f"DELETE FROM suppressions WHERE id = {suppression_id}",
    )


def suppress_too(event_id: int, send_id: int, ruleset_id: str = "ruleset_id") -> str:
    """A statement that suppresses, on some event, the message of a send because of that send."""
    return (
        f"INSERT INTO suppressions ({SUPPRESSION}) SELECT s.user_id, e.id, template_name, 'once_ever', decided_at, "
        f"rule_name, {ruleset_id}, e.event_timestamp, s.id FROM send_requests s, events e "
        f"WHERE s.id = {send_id} AND e.id = {event_id}"
    )


NOT_THEN = "'2026-03-01 10:00:00.000000'"
"""A time at which no run did anything."""

BREACHES = [
    Breach(
        "sound_file",
        "an index without its rows",
        "row 1 missing from index ix_suppressions_user_id",
        deed=empty_index,
    ),
    Breach(
        "references_lead_somewhere",
        "properties without their event",
        "event_properties.rowid 2 points at no row of events",
        ("INSERT INTO event_properties (event_id, amount) VALUES (99, 1)",),
    ),
    Breach(
        "references_lead_somewhere",
        "traits without their event, in a table that lost its foreign key",
        "user_traits.rowid 12 points at no row of events",
        ("INSERT INTO user_traits (event_id, country) VALUES (99, 'NO')",),
        dropped=("user_traits", "fk_user_traits_event_id_events"),
    ),
    Breach(
        "references_lead_somewhere",
        "an event of a load that is not there",
        "events.rowid 8 points at no row of loads",
        (
            "UPDATE events SET load_id = 99 WHERE id = 8",
            "UPDATE loads SET inserted_count = 8, blank_count = 1 WHERE id = 1",
            "UPDATE batches SET event_count = 13 WHERE id = 1",
        ),
    ),
    Breach(
        "references_lead_somewhere",
        "a suppression blocked by a send that is not there",
        "suppressions.rowid 1 points at no row of send_requests",
        ("UPDATE suppressions SET blocked_by_send_request_id = 99 WHERE id = 1",),
    ),
    Breach(
        "references_lead_somewhere",
        "a row of somebody's own table",
        "notes.rowid 1 points at no row of events",
        (
            "CREATE TABLE notes (id INTEGER PRIMARY KEY, event_id INTEGER REFERENCES events (id))",
            "INSERT INTO notes VALUES (1, 99)",
        ),
    ),
    Breach(
        "wal_mode",
        "a copy put in the file's place",
        "the mode is delete: the next run brings the file into wal; a published copy is not meant to be",
        ("PRAGMA journal_mode=DELETE",),
    ),
    Breach(
        "schema_as_made",
        "a view that is gone",
        "the view event_dates is missing",
        ("DROP VIEW event_dates",),
    ),
    Breach(
        "dictionary_as_made",
        "a sentence that the code does not say",
        "events.user_id",
        ("UPDATE data_dictionary SET sentence = 'Who.' WHERE table_name = 'events' AND column_name = 'user_id'",),
    ),
    Breach(
        "no_empty_children",
        "properties without a value",
        "event_properties.id 2 of events.id 8",
        ("INSERT INTO event_properties (event_id) VALUES (8)",),
    ),
    Breach(
        "no_empty_children",
        "traits without a value",
        "user_traits.id 12 of events.id 8",
        ("INSERT INTO user_traits (event_id) VALUES (8)",),
    ),
    Breach(
        "one_time_format",
        "a time in another format",
        "loads.rowid 2: as_of is 2026-11-23T10:00:00Z",
        ("UPDATE loads SET as_of = '2026-11-23T10:00:00Z' WHERE id = 2",),
    ),
    Breach(
        "one_event_a_message_id",
        "two events under one message_id",
        "events.message_id m7 stands 2 times",
        ("DROP INDEX uq_events_message_id", "UPDATE events SET message_id = 'm7' WHERE id = 8"),
    ),
    Breach(
        "one_file_a_content",
        "one content under two names",
        "source_files.content_hash ",
        ("UPDATE source_files SET content_hash = (SELECT content_hash FROM source_files WHERE id = 2) WHERE id = 1",),
        dropped=("source_files", "uq_source_files_content_hash"),
    ),
    Breach(
        "known_event_types",
        "a type of events that is not known",
        "events of the type link: not in event_types",
        ("DELETE FROM event_types WHERE event_type = 'link'",),
    ),
    Breach(
        "one_load_a_file",
        "a file without a load",
        "source_files.id 9 (lost.jsonl): loads 0",
        (
            "INSERT INTO source_files (id, content_hash, path, size_bytes, modified_at, file_signature, taken_at, "
            "refused_code) "
            "SELECT 9, hex(zeroblob(32)), 'lost.jsonl', 1, modified_at, 'signature', taken_at, 'not_text' "
            "FROM source_files WHERE id = 1",
        ),
    ),
    Breach(
        "one_load_a_file",
        "a file taken to the end twice",
        "source_files.id 4 (0003.jsonl): loads of the whole file 2",
        (
            "DROP INDEX uq_loads_whole_file",
            "INSERT INTO loads (id, source_file_id, as_of, state, read_count, inserted_count, duplicate_count, "
            "conflict_count, rejected_count, blank_count, loaded_at) "
            "SELECT 9, source_file_id, as_of, state, 0, 0, 0, 0, 0, 0, loaded_at FROM loads WHERE id = 4",
        ),
    ),
    Breach(
        "one_load_a_file",
        "a part of a file, taken by a run without a window",
        "loads.id 1: lines outside of a window, of a run without one",
        ("UPDATE loads SET read_count = 12, outside_count = 2 WHERE id = 1",),
    ),
    Breach(
        "counts_add_up",
        "a line unaccounted for",
        "loads.id 1: read 11 of which accounted for 10; duplicate 0, conflict 0",
        ("UPDATE loads SET read_count = 11 WHERE id = 1",),
    ),
    Breach(
        "counts_add_up",
        "a conflict that is no duplicate",
        "loads.id 2: read 5 of which accounted for 5; duplicate 0, conflict 1",
        ("UPDATE loads SET read_count = 5, duplicate_count = 0 WHERE id = 2",),
    ),
    Breach(
        "counts_add_up",
        "fewer lines than none",
        "loads.id 1: read 9",
        ("UPDATE loads SET read_count = 9, blank_count = -1 WHERE id = 1",),
        also=("lines_of_the_load",),
    ),
    Breach(
        "inserted_count",
        "an event lost",
        "loads.id 1: inserted_count 9, rows 8",
        ("DELETE FROM events WHERE id = 8",),
    ),
    Breach(
        "inserted_count",
        "all events of a load lost",
        "loads.id 4: inserted_count 2, rows 0",
        ("DELETE FROM user_traits WHERE event_id IN (17, 18)", "DELETE FROM events WHERE id IN (17, 18)"),
        also=("event_of_the_load",),
    ),
    Breach(
        "rejected_count",
        "a rejected row lost",
        "loads.id 1: rejected_count 1, rows 0",
        ("DELETE FROM rejected_rows",),
    ),
    Breach(
        "collision_count",
        "a collision that no load counted",
        "loads.id 1: collision_count 0, rows 1",
        (
            "UPDATE rejected_rows SET reason_code = 'message_id_collision'",
            "UPDATE loads SET rejected_count = 0, duplicate_count = duplicate_count + 1 WHERE id = 1",
        ),
    ),
    Breach(
        "collision_count",
        "an event named without its reason",
        "rejected_rows.id 1: event_id 3, ",
        ("UPDATE rejected_rows SET event_id = 3",),
    ),
    Breach(
        "conflict_count",
        "a conflict too many",
        "loads.id 2: conflict_count 1, rows 2",
        ("INSERT INTO conflicts VALUES (2, 3, 10, 'country')",),
    ),
    Breach(
        "left_out_values",
        "a value left out of an event of another load",
        "left_out_values of line 3 of loads.id 2: events.id 1",
        ("INSERT INTO left_out_values VALUES (2, 3, 'user_traits.country', 1, 'x')",),
    ),
    Breach(
        "event_id_range",
        "an event after the last one of its load",
        "events.id 9 of loads.id 1",
        ("UPDATE loads SET last_event_id = 8 WHERE id = 1",),
    ),
    Breach(
        "event_id_range",
        "a load with events and no range",
        "events.id 17 of loads.id 4",
        ("UPDATE loads SET first_event_id = NULL, last_event_id = NULL WHERE id = 4",),
    ),
    Breach(
        "load_state",
        "decided at no time",
        "loads.id 3: decided, decided_at NULL, ruleset_id 2",
        ("UPDATE loads SET decided_at = NULL WHERE id = 3",),
    ),
    Breach(
        "load_state",
        "decided by no ruleset",
        "loads.id 3: decided, decided_at 2026-11-23 10:00:00.000000, ruleset_id NULL",
        ("UPDATE loads SET ruleset_id = NULL WHERE id = 3",),
    ),
    Breach(
        "load_state",
        "waiting with a ruleset",
        "loads.id 4: loaded, decided_at NULL, ruleset_id 1",
        ("UPDATE loads SET ruleset_id = 1 WHERE id = 4",),
    ),
    Breach(
        "load_state",
        "a state that there is not",
        "loads.id 4: done, decided_at NULL, ruleset_id NULL",
        ("UPDATE loads SET state = 'done' WHERE id = 4",),
    ),
    Breach(
        "held_events",
        "an event that was loaded only and is not held",
        "events.id 20 of loads.id 5, held",
        (
            "DELETE FROM held_events WHERE event_id = 20",
            "INSERT INTO events SELECT 98, 'x', event_type, event_timestamp, created_at, 'm98', load_id FROM events "
            "WHERE id = 20",
            "INSERT INTO held_events (event_id) VALUES (98)",
            "UPDATE loads SET inserted_count = 3, read_count = 3, last_event_id = 98 WHERE id = 5",
        ),
    ),
    Breach(
        "held_events",
        "an event that is held and was not loaded only",
        "events.id 18 of loads.id 4, loaded",
        ("INSERT INTO held_events (event_id) VALUES (18)",),
    ),
    Breach(
        "held_events",
        "a load that waits for nothing",
        "loads.id 5: held",
        (
            "UPDATE events SET event_type = 'nothing_of_note' WHERE id = 20",
            "UPDATE held_events SET run_id = 2, batch_id = 3 WHERE event_id = 20",
            "UPDATE batches SET event_count = 2, held_count = 2 WHERE id = 3",
            "UPDATE runs SET decided_count = 2 WHERE id = 2",
        ),
    ),
    Breach(
        "held_events",
        "a load that is decided while an event of it waits",
        "loads.id 5: decided",
        ("UPDATE loads SET state = 'decided', decided_at = as_of WHERE id = 5",),
    ),
    Breach(
        "batch_of_the_run",
        "a batch of another moment than its run's",
        "batches.id 3: unlike runs.id 2",
        ("UPDATE batches SET as_of = '2026-11-23 11:00:00.000000' WHERE id = 3",),
    ),
    Breach(
        "batch_of_the_run",
        "a run that decided and has no batch",
        "runs.id 1: ruleset_id 1 and no batch",
        (
            "UPDATE runs SET mode = 'load and decide', ruleset_id = 1, decided_count = 0, decide_seconds = 0 "
            "WHERE id = 1",
        ),
        also=("held_events", "load_state"),
    ),
    Breach(
        "named_batch",
        "a load that is decided by no batch",
        "loads.id 3: batch_id NULL, ruleset_id 2",
        ("UPDATE loads SET batch_id = NULL WHERE id = 3", "UPDATE batches SET event_count = 0 WHERE id = 2"),
    ),
    Breach(
        "named_batch",
        "a load that waits and names a batch",
        "loads.id 4: batch_id 2, ruleset_id NULL",
        ("UPDATE loads SET batch_id = 2 WHERE id = 4", "UPDATE batches SET event_count = 3 WHERE id = 2"),
        also=("matches_are_decided",),
    ),
    Breach(
        "named_batch",
        "a held event that waits and names a batch",
        "held_events.event_id 20: batch_id 3",
        (
            "UPDATE held_events SET batch_id = 3 WHERE event_id = 20",
            "UPDATE batches SET event_count = 2, held_count = 2 WHERE id = 3",
            "UPDATE runs SET decided_count = 2 WHERE id = 2",
        ),
    ),
    Breach(
        "named_batch",
        "a decision of another moment than its batch",
        "suppressions.id 5: runs.id 2, decided_at 2026-11-23 10:00:00.000001",
        ("UPDATE suppressions SET decided_at = '2026-11-23 10:00:00.000001' WHERE id = 5",),
    ),
    Breach(
        "batch_counts",
        "an event too many",
        "batches.id 1: event_count 16, held_count 0, ahead_count 0; of loads 14, held 0, ahead 0",
        ("UPDATE batches SET event_count = 16 WHERE id = 1",),
    ),
    Breach(
        "batch_counts",
        "an event that waits for its time and is counted as decided",
        "batches.id 2: event_count 1, held_count 0, ahead_count 1; of loads 1, held 0, ahead 1",
        (
            "INSERT INTO held_events (event_id, due_at) SELECT id, event_timestamp FROM events WHERE id = 16",
            "DELETE FROM send_requests WHERE id = 13",
            "UPDATE batches SET ahead_count = 1 WHERE id = 2",
        ),
    ),
    Breach(
        "held_events",
        "an event that waits for another time than its own",
        "events.id 20 of loads.id 5, held",
        ("UPDATE held_events SET due_at = '2026-03-02 00:00:00.000000' WHERE event_id = 20",),
    ),
    Breach(
        "future_waits",
        "decided although its run had not reached it",
        "events.id 16 at 2026-03-01 20:00:00.000000: decided although too far in the future",
        ("UPDATE batches SET latest_event_at = '2026-03-01 19:00:00.000000' WHERE id = 2",),
    ),
    Breach(
        "future_comes",
        "an event that waits although an hourly run has reached it",
        "held_events.event_id 16: due at 2026-03-01 20:00:00.000000 and not decided",
        (
            "INSERT INTO held_events (event_id, due_at) SELECT id, event_timestamp FROM events WHERE id = 16",
            "DELETE FROM send_requests WHERE id = 13",
            "UPDATE batches SET event_count = 0, ahead_count = 1 WHERE id = 2",
            "INSERT INTO runs (id, flow_name, mode, as_of, max_event_ahead_hours, latest_event_at, source, started_at, "
            "max_rejected_percent, ended_at, state, ruleset_id, decided_count, decide_seconds) "
            "VALUES (9, 'hourly', 'load and decide', '2026-03-02 00:00:00.000000', 1, '2026-03-02 01:00:00.000000', "
            "'', '2026-03-02 00:00:00.000000', 5, '2026-03-02 00:00:00.000000', 'completed', 1, 0, 0.5)",
            "INSERT INTO batches (id, run_id, as_of, latest_event_at, ruleset_id, event_count, held_count, "
            "decide_seconds) "
            "VALUES (9, 9, '2026-03-02 00:00:00.000000', '2026-03-02 01:00:00.000000', 1, 0, 0, 0.5)",
        ),
    ),
    Breach(
        "expired_is_old",
        "expired although young enough",
        "suppressions.id 5 on events.id 19 at 2026-03-01 22:00:00.000000",
        (
            "UPDATE runs SET oldest_event_at = '2026-03-01 22:00:00.000000', max_event_age_hours = 6396 WHERE id = 2",
            "UPDATE batches SET oldest_event_at = '2026-03-01 22:00:00.000000' WHERE run_id = 2",
        ),
    ),
    Breach(
        "expired_is_old",
        "sent although too old",
        "send_requests.id 13 on events.id 16 at 2026-03-01 20:00:00.000000",
        ("UPDATE loads SET run_id = 2 WHERE id = 3",),
    ),
    Breach(
        "expired_is_old",
        "expired and blocked by a send",
        "suppressions.id 5 on events.id 19",
        ("UPDATE suppressions SET blocked_by_send_request_id = 1 WHERE id = 5",),
    ),
    Breach(
        "run_of_the_decision",
        "a decision by another ruleset than its run's",
        "send_requests.id 13 on events.id 16: runs.id 2, ruleset_id 2",
        ("UPDATE send_requests SET run_id = 2 WHERE id = 13",),
    ),
    Breach(
        "waiting_is_undecided",
        "a decision on an event that is held",
        "suppressions.id 8 on events.id 20 of loads.id 5",
        ("UPDATE events SET user_id = 'zoe' WHERE id = 20", suppress_too(20, send_id=13, ruleset_id="NULL")),
    ),
    Breach(
        "waiting_is_undecided",
        "a decision on an event that waits",
        "suppressions.id 8 on events.id 17 of loads.id 4",
        (suppress_too(event_id=17, send_id=13, ruleset_id="NULL"),),
    ),
    Breach(
        "ruleset_of_the_load",
        "a send by another ruleset than its load's",
        "send_requests.id 1 on events.id 1: rule welcome, ruleset_id 2",
        ("UPDATE send_requests SET ruleset_id = 2 WHERE id = 1",),
    ),
    Breach(
        "ruleset_of_the_load",
        "a suppression by no ruleset",
        "suppressions.id 1 on events.id 4: rule funds, ruleset_id NULL",
        ("UPDATE suppressions SET ruleset_id = NULL WHERE id = 1",),
    ),
    Breach(
        "ruleset_of_the_load",
        "a decision by no rule",
        "send_requests.id 16 on events.id 8: rule NULL, ruleset_id 1",
        (
            f"INSERT INTO send_requests ({SEND}) SELECT user_id, e.id, 'T', 'email', 'by hand', decided_at, NULL, 1, "
            "event_timestamp, 'by hand' FROM events e JOIN loads l ON l.id = e.load_id WHERE e.id = 8",
        ),
    ),
    Breach(
        "ruleset_of_the_load",
        "a decision on an event that no load brought",
        "send_requests.id 16 on events.id 99: rule welcome, ruleset_id 2",
        (
            "INSERT INTO events (id, user_id, event_type, event_timestamp, created_at, message_id) "
            "SELECT 99, 'new', event_type, event_timestamp, created_at, 'm99' FROM events WHERE id = 16",
            "INSERT INTO user_traits (event_id, marketing_opt_in) VALUES (99, 1)",
            f"INSERT INTO send_requests ({SEND}) SELECT 'new', 99, template_name, channel, reason, decided_at, "
            "rule_name, ruleset_id, event_timestamp, dedupe_key FROM send_requests WHERE id = 13",
        ),
    ),
    Breach(
        "like_its_event",
        "a send to another user",
        "send_requests.id 7 on events.id 6: bob at 2026-03-01 15:00:00.000000",
        ("UPDATE send_requests SET user_id = 'bob' WHERE id = 7",),
    ),
    Breach(
        "like_its_event",
        "a suppression at another time",
        "suppressions.id 1 on events.id 4: ada at 2026-03-01 13:00:00.000001",
        ("UPDATE suppressions SET event_timestamp = '2026-03-01 13:00:00.000001' WHERE id = 1",),
    ),
    Breach(
        "one_decision",
        "sent and suppressed",
        "events.id 1: 2 by welcome",
        (suppress_too(event_id=1, send_id=1),),
    ),
    Breach(
        "one_decision",
        "suppressed twice",
        "events.id 10: 2 by welcome",
        (suppress_too(event_id=10, send_id=1),),
        dropped=("suppressions", "uq_suppressions_event_id_rule_name"),
    ),
    Breach(
        "one_send_a_key",
        "two sends that may happen once ever",
        "send_requests.id 1, 16: ada, WELCOME, ever",
        send_instead(suppression_id=2, dedupe_key="ever"),
        dropped=("send_requests", "uq_send_requests_template_name_dedupe_key_user_id"),
    ),
    Breach(
        "once_is_once",
        "sent once on a day that had seen the template",
        "send_requests.id 16 on events.id 13 after send_requests.id 9",
        send_instead(suppression_id=3, dedupe_key="day:2026-03-01"),
    ),
    Breach(
        "once_is_once",
        "sent once ever after another rule had sent the template",
        "send_requests.id 16 on events.id 15 after send_requests.id 12",
        send_instead(suppression_id=4, dedupe_key="ever"),
    ),
    Breach(
        "blocked_by_a_send",
        "blocked by nothing",
        "suppressions.id 1 on events.id 4: once_per_calendar_day by send_requests.id NULL",
        ("UPDATE suppressions SET blocked_by_send_request_id = NULL WHERE id = 1",),
    ),
    Breach(
        "blocked_by_a_send",
        "blocked by an alert",
        "suppressions.id 1 on events.id 4: once_per_calendar_day by send_requests.id 4",
        ("UPDATE suppressions SET blocked_by_send_request_id = 4 WHERE id = 1",),
    ),
    Breach(
        "blocked_by_a_send",
        "blocked by a send to another user",
        "suppressions.id 1 on events.id 4: once_per_calendar_day by send_requests.id 9",
        ("UPDATE suppressions SET blocked_by_send_request_id = 9 WHERE id = 1",),
    ),
    Breach(
        "blocked_by_a_send",
        "blocked by another template",
        "suppressions.id 2 on events.id 10: once_ever by send_requests.id 2",
        ("UPDATE suppressions SET blocked_by_send_request_id = 2 WHERE id = 2",),
    ),
    Breach(
        "blocked_by_a_send",
        "blocked by a send of another day",
        "suppressions.id 3 on events.id 13: once_per_calendar_day by send_requests.id 9",
        (
            "UPDATE events SET event_timestamp = '2026-02-28 23:59:59.999999' WHERE id = 9",
            "UPDATE send_requests SET event_timestamp = '2026-02-28 23:59:59.999999' WHERE id = 9",
        ),
    ),
    Breach(
        "usable_rulesets",
        "a text that is not what decided",
        "rulesets.id 2: its text does not match its hash",
        ("UPDATE rulesets SET yaml_text = yaml_text || ' ' WHERE id = 2",),
    ),
    Breach(
        "rules_as_recorded",
        "a rule that is said to have been on",
        "ruleset_rules of rulesets.id 1, off: is_enabled",
        ("UPDATE ruleset_rules SET is_enabled = 1 WHERE rule_name = 'off'",),
    ),
    Breach(
        "rules_as_recorded",
        "a rule that its file has not",
        "ruleset_rules of rulesets.id 2, extra: ruleset_id, rule_name, rule_position, description",
        (
            "INSERT INTO ruleset_rules SELECT 2, 'extra', 9, description, 0, trigger_event_type, template_name, "
            "channel, suppression_mode, condition_text, exclusive_group, NULL, NULL FROM ruleset_rules "
            "WHERE rule_name = 'off' AND ruleset_id = 1",
        ),
    ),
    *(
        Breach(
            "file_as_signed", how, f"source_files.id 2: {example}", (f"UPDATE source_files SET {change} WHERE id = 2",)
        )
        for how, example, change in (
            ("of another size", "size_bytes 7, ", "size_bytes = 7"),
            ("changed at another time", "size_bytes ", "modified_at = '2026-03-01 10:00:00.000000'"),
            ("taken at another time", "taken_at 2026-03-01 10:00:00.000000, loads.id 2", f"taken_at = {NOT_THEN}"),
            (
                "of a content that has no such hash",
                "size_bytes ",
                "content_hash = replace(content_hash, '0', 'g') || 'g'",
            ),
            ("without a path", "size_bytes ", "path = ''"),
        )
    ),
    Breach(
        "event_of_the_load",
        "an event written at another time",
        "events.id 8 of loads.id 1: created_at 2026-03-01 10:00:00.000000",
        (f"UPDATE events SET created_at = {NOT_THEN} WHERE id = 8",),
    ),
    Breach(
        "event_of_the_load",
        "a load that ends later than its events",
        "loads.id 4: last_event_id 19 is no event of it",
        ("UPDATE loads SET last_event_id = 19 WHERE id = 4",),
    ),
    Breach(
        "event_of_the_load",
        "a load that begins and has no event",
        "loads.id 5: first_event_id 18 is no event of it",
        ("UPDATE loads SET first_event_id = 18 WHERE id = 5",),
    ),
    Breach(
        "lines_of_the_load",
        "a rejected line that the file has not",
        "rejected_rows of loads.id 1: line 11 of 10",
        ("UPDATE rejected_rows SET line_number = 11",),
    ),
    Breach(
        "lines_of_the_load",
        "a conflict before the first line",
        "conflicts of loads.id 2: line 0 of 6",
        ("UPDATE conflicts SET line_number = 0",),
    ),
    Breach(
        "lines_of_the_load",
        "a line that was rejected and is a conflict",
        "rejected_rows of loads.id 2: line 2 conflicts",
        (
            "INSERT INTO rejected_rows "
            "SELECT 2, 2, 2, raw_line, NULL, reason_code, NULL, explanation, NULL, NULL, NULL FROM rejected_rows",
            "UPDATE loads SET read_count = 7, rejected_count = 1 WHERE id = 2",
        ),
    ),
    *(
        Breach(
            "lines_of_the_load",
            how,
            f"conflicts of loads.id 2: line 2: {value}",
            (f"UPDATE conflicts SET differing_fields = '{value}'",),
        )
        for how, value in (("a conflict in nothing", ""), ("a conflict in what is no column", "country, colour"))
    ),
    Breach(
        "lines_of_the_load",
        "a reason that there is not",
        "rejected_rows.id 1: reason_code no_reason",
        ("UPDATE rejected_rows SET reason_code = 'no_reason'",),
    ),
    Breach(
        "unknown_keys",
        "in more lines than there are",
        "unknown_keys of loads.id 1: properties.coupon, 11 of 10 lines",
        ("UPDATE unknown_keys SET occurrence_count = 11",),
    ),
    Breach(
        "unknown_keys",
        "in no line",
        "unknown_keys of loads.id 1: properties.coupon, 0 of 10 lines",
        ("UPDATE unknown_keys SET occurrence_count = 0",),
    ),
    Breach(
        "unknown_keys",
        "of a later load of its file",
        "unknown_keys of loads.id 7: properties.coupon, 1 of 1 lines",
        (
            "INSERT INTO loads (id, source_file_id, run_id, as_of, state, read_count, inserted_count, duplicate_count, "
            "conflict_count, rejected_count, blank_count, outside_count, loaded_at, decided_at, ruleset_id, batch_id) "
            "SELECT 7, source_file_id, 2, as_of, 'decided', 1, 0, 0, 0, 0, 0, 1, loaded_at, decided_at, ruleset_id, "
            "batch_id FROM loads WHERE id = 1",
            "INSERT INTO unknown_keys VALUES (7, 'properties.coupon', 1)",
        ),
    ),
    Breach(
        "reason_of_the_rule",
        "a send for a rule that it does not name",
        "send_requests.id 1: rule:other",
        ("UPDATE send_requests SET reason = 'rule:other' WHERE id = 1",),
    ),
    *(
        Breach("decided_in_time", f"a row of {table} at another time", example, (f"UPDATE {change}",))
        for table, example, change in (
            (
                "sends",
                "send_requests.id 1 of loads.id 1: decided_at",
                f"send_requests SET decided_at = {NOT_THEN} WHERE id = 1",
            ),
            ("refusals", "suppressions.id 1 of loads.id 1", f"suppressions SET decided_at = {NOT_THEN} WHERE id = 1"),
            ("rulesets", "rulesets.id 2: first_used_at", f"rulesets SET first_used_at = {NOT_THEN} WHERE id = 2"),
        )
    ),
    Breach(
        "checks_hold",
        "a mode that there is not",
        "runs.id 2: ck_runs_mode",
        ("UPDATE runs SET mode = 'twice' WHERE id = 2",),
    ),
    *(
        Breach("run_end", how, f"runs.id {run}: {example}", statements)
        for how, run, example, statements in (
            (
                "that ended and is at work",
                2,
                "running, ended_at 20",
                ("UPDATE runs SET state = 'running' WHERE id = 2",),
            ),
            ("that has not ended", 1, "completed, ended_at NULL", ("UPDATE runs SET ended_at = NULL WHERE id = 1",)),
            (
                "at work and followed by another",
                1,
                "running",
                ("UPDATE runs SET state = 'running', ended_at = NULL WHERE id = 1",),
            ),
            (
                "that was killed and speaks",
                2,
                "killed",
                ("UPDATE runs SET state = 'killed', ended_at = NULL, message = 'x' WHERE id = 2",),
            ),
            (
                "that left a problem and did not fail",
                2,
                "completed",
                ("INSERT INTO run_remarks VALUES (2, 1, 'problem', 'a', 'b', 1)",),
            ),
        )
    ),
    *(
        Breach(
            "replayed_lines",
            how,
            "rejected_rows.id 1: ",
            (f"UPDATE rejected_rows SET {change} WHERE id = 1",),
            also=also,
        )
        for how, change, also in (
            ("a line that a load of a delivered file took", "replayed_load_id = 3", ()),
            ("a line that was taken before it came", "replayed_load_id = 1", ()),
            ("a line of which too little is kept", "replayed_load_id = 3, reason_code = 'line_too_long'", ()),
        )
    ),
    Breach(
        "replaying_loads",
        "a load of rejected lines that took none",
        "loads.id 3: 1 lines of 0 rejected ones",
        ("UPDATE source_files SET replayed_file_id = 1 WHERE id = 3",),
    ),
    Breach(
        "replaying_loads",
        "a replay that took a delivered file",
        "loads.id 5 of a replay: no file of rejected lines",
        ("UPDATE runs SET flow_name = 'replay' WHERE id = 1",),
        also=("run_order",),
    ),
    *(
        Breach(
            "replay_counts", how, f"replay_counts of runs.id 1, {example}", (f"INSERT INTO replay_counts VALUES {row}",)
        )
        for how, example, row in (
            ("lines that no load has taken", "invalid_json, taken: 2, rows 0", "(1, 'invalid_json', 'taken', 2)"),
            ("lines of a reason that there is not", "odd, no_source", "(1, 'odd', 'no_source', 2)"),
            ("lines that came to what there is not", "invalid_json, odd", "(1, 'invalid_json', 'odd', 2)"),
            ("lines that an hourly run read again", "invalid_json, no_source", "(1, 'invalid_json', 'no_source', 2)"),
        )
    ),
    *(
        Breach("run_order", how, f"runs.id 2: {example}", (f"UPDATE runs SET {change} WHERE id = 2",))
        for how, example, change in (
            ("an hourly one with a window", "hourly, 2026", "flow_name = 'hourly'"),
            ("a backfill without one", "backfill, NULL to NULL", "window_start_at = NULL, window_end_at = NULL"),
            ("half a window", "backfill, 2026-03-01 22:00:00.000000 to NULL", "window_end_at = NULL"),
            ("a window turned round", "backfill, 2026-03-02 22", "window_start_at = '2026-03-02 22:00:00.000000'"),
            ("of a flow that there is not", "weekly", "flow_name = 'weekly'"),
            (
                "hours that make another limit",
                "oldest_event_at 2026-11-20 10:00:00.000000, 71 h from",
                "max_event_age_hours = 71",
            ),
            (
                "a limit without hours",
                "oldest_event_at 2026-11-20 10:00:00.000000 without hours",
                "max_event_age_hours = NULL",
            ),
        )
    ),
    *(
        Breach("run_counts", how, "runs.id 1: load only, decided_count ", (f"UPDATE runs SET {change} WHERE id = 1",))
        for how, change in (
            ("that loads only and has decided", "decided_count = 0, decide_seconds = 0"),
            ("that took time for nothing", "decide_seconds = 1"),
            ("that decided by no ruleset", "mode = 'load only', decided_count = 3, decide_seconds = 1"),
            ("that counted half of the files", "known_file_count = 1"),
            ("that counted fewer than none", "known_file_count = -1, outside_file_count = 0"),
        )
    ),
    Breach(
        "remarks_in_order",
        "one that is missing",
        "run_remarks of runs.id 2: 1, the last at place 2",
        ("INSERT INTO run_remarks VALUES (2, 2, 'waiting', 'a', '', 1)",),
    ),
    Breach(
        "load_of_the_run",
        "a load at another logical time",
        "loads.id 5 of runs.id 1: as_of 2026-03-01 10:00:00.000000",
        (f"UPDATE loads SET as_of = {NOT_THEN} WHERE id = 5",),
    ),
    Breach(
        "load_of_the_run",
        "a load of another Prefect run",
        "loads.id 5 of runs.id 1: as_of 2026-11-23 10:00:00.000000, flow_run_id other",
        ("UPDATE loads SET flow_run_id = 'other' WHERE id = 5",),
    ),
    Breach(
        "matches_are_decided",
        "a send lost",
        "events.id 7: no decision by hello",
        ("DELETE FROM send_requests WHERE id = 8",),
    ),
    Breach(
        "matches_are_decided",
        "a suppression lost",
        "events.id 13: no decision by funds",
        ("DELETE FROM suppressions WHERE id = 3",),
    ),
    Breach(
        "decisions_have_grounds",
        "a message that the rule does not send",
        "send_requests.id 8: hello on events.id 7",
        ("UPDATE send_requests SET template_name = 'OTHER' WHERE id = 8",),
    ),
    Breach(
        "decided_again",
        "a decision by a batch that was not to decide again",
        "send_requests.id 15 on events.id 21: batches.id 6 and not 5",
        ("UPDATE runs SET window_start_at = '2026-03-01 21:55:00.000000' WHERE id = 5",),
    ),
    Breach(
        "decided_again",
        "a decision by an earlier batch than its event's",
        "suppressions.id 7 on events.id 22: batches.id 3 and not 5",
        ("UPDATE suppressions SET run_id = 2 WHERE id = 7",),
    ),
    Breach(
        "again_rules",
        "a rule that was off",
        "batch_rules of batches.id 6: off",
        ("INSERT INTO batch_rules VALUES (6, 'off')",),
    ),
    Breach(
        "again_rules",
        "a rule of a run without a window",
        "batch_rules of batches.id 1: funds",
        ("INSERT INTO batch_rules VALUES (1, 'funds')",),
    ),
    Breach(
        "batch_shards",
        "a shard of a batch that has none",
        "batches.id 1: shard_count 1, shards 1",
        ("INSERT INTO batch_shards VALUES (1, 1, 1, '2026-03-01 20:00:00.000000', 0.1, 0, 0)",),
    ),
    Breach(
        "batch_shards",
        "a shard that is missing",
        "batches.id 1: shard_count 2, shards 1",
        (
            "UPDATE batches SET shard_count = 2 WHERE id = 1",
            "INSERT INTO batch_shards VALUES (1, 1, 1, '2026-03-01 20:00:00.000000', 0.1, 0, 0)",
        ),
    ),
    Breach(
        "batch_shards",
        "a batch that is left in part, of one transaction",
        "batches.id 1: shard_count 1, shards 0",
        ("UPDATE batches SET is_complete = false WHERE id = 1",),
    ),
    Breach(
        "batch_shards",
        "a complete batch with a shard that is not decided",
        "batch_shards of batches.id 1: shard 2",
        (
            "UPDATE batches SET shard_count = 2 WHERE id = 1",
            "INSERT INTO batch_shards VALUES (1, 1, 1, '2026-03-01 20:00:00.000000', 0.1, 0, 0)",
            "INSERT INTO batch_shards VALUES (1, 2, 1, NULL, NULL, NULL, NULL)",
        ),
    ),
    Breach(
        "again_count",
        "a decision too many",
        "batches.id 6: again_count 3, decisions 2",
        ("UPDATE batches SET again_count = 3 WHERE id = 6",),
    ),
    Breach(
        "again_count",
        "a decision that nobody asked for",
        "batches.id 5: again_count 1, decisions 0",
        ("UPDATE batches SET again_count = 1 WHERE id = 5",),
    ),
    *(
        Breach(
            "former_suppressions",
            how,
            f"former_suppressions.id 6 on events.id {event_id}, {facts}",
            (f"UPDATE former_suppressions SET {change} WHERE id = 6",),
            also=also,
        )
        for how, change, event_id, facts, also in (
            ("one that had not expired", "suppression_reason = 'once_ever'", 21, "once_ever, batches.id 6", ()),
            ("one replaced before it stood", "batch_id = 3", 21, "expired, batches.id 3", ()),
            (
                "one of a rule that did not decide again",
                "rule_name = 'funds'",
                21,
                "expired, batches.id 6",
                ("decisions_have_grounds",),
            ),
            (
                "one on an event that is not decided again",
                "event_id = 22",
                22,
                "expired, batches.id 6",
                ("like_its_event",),
            ),
        )
    ),
    Breach(
        "former_suppressions",
        "a suppression with the id of a former one",
        "suppressions.id 6: the id of a former one",
        ("UPDATE suppressions SET id = 6 WHERE id = 7",),
    ),
    Breach(
        "like_its_event",
        "a former one of another user",
        "former_suppressions.id 6 on events.id 21: ada at 2026-03-01 21:50:00.000000",
        ("UPDATE former_suppressions SET user_id = 'ada' WHERE id = 6",),
    ),
    Breach(
        "run_of_the_decision",
        "a former one by another ruleset than its run's",
        "former_suppressions.id 6 on events.id 21: runs.id 4, ruleset_id 2",
        ("UPDATE former_suppressions SET ruleset_id = 2 WHERE id = 6",),
    ),
    Breach(
        "named_batch",
        "a former one of another moment than its batch",
        "former_suppressions.id 6: runs.id 4, decided_at 2026-11-23 10:00:00.000001",
        ("UPDATE former_suppressions SET decided_at = '2026-11-23 10:00:00.000001' WHERE id = 6",),
    ),
    Breach(
        "decisions_have_grounds",
        "a former one for a message that the rule does not send",
        "former_suppressions.id 6: welcome on events.id 21",
        ("UPDATE former_suppressions SET template_name = 'OTHER' WHERE id = 6",),
    ),
    Breach(
        "matches_are_decided",
        "an event that a rule had to decide again",
        "events.id 14: late did not decide again in batches.id 6",
        ("DELETE FROM send_requests WHERE id = 14", "UPDATE batches SET again_count = 1 WHERE id = 6"),
    ),
    Breach(
        "matches_are_decided",
        "one that expired and that its rule had to decide again",
        "events.id 21: welcome did not decide again in batches.id 6",
        (
            "DELETE FROM send_requests WHERE id = 15",
            "INSERT INTO suppressions (id, user_id, event_id, template_name, suppression_reason, decided_at, "
            "rule_name, ruleset_id, run_id, event_timestamp) SELECT id, user_id, event_id, template_name, "
            "suppression_reason, decided_at, rule_name, ruleset_id, run_id, event_timestamp FROM former_suppressions",
            "DELETE FROM former_suppressions",
            "UPDATE batches SET again_count = 1 WHERE id = 6",
        ),
    ),
    Breach(
        "group_stays",
        "a decision again beside one of its group",
        "send_requests.id 14 on events.id 14: beside later of the group back",
        (
            f"INSERT INTO send_requests ({SEND}) SELECT user_id, event_id, 'LATER', channel, 'rule:later', decided_at, "
            "'later', ruleset_id, event_timestamp, 'event:14:later' FROM send_requests WHERE id = 14",
        ),
        also=("decisions_have_grounds", "ruleset_of_the_load"),
    ),
    Breach(
        "begun_waits",
        "a match that waits for a time before its event",
        "waiting_matches of events.id 4, r, batches.id 6: until 2000-01-01 00:00:00.000000",
        ("INSERT INTO waiting_matches VALUES (4, 'r', '2000-01-01 00:00:00.000000', 0, 6)",),
    ),
    Breach(
        "ended_waits",
        "a wait that ended before its time",
        "ended_waits of events.id 4, r: lapsed in batches.id 6",
        ("INSERT INTO ended_waits VALUES (4, 'r', '2999-01-01 00:00:00.000000', 0, 6, 6, 'lapsed')",),
    ),
    Breach(
        "ended_waits",
        "a wait that ended with a decision that is not there",
        "ended_waits of events.id 4, r: decided in batches.id 6",
        ("INSERT INTO ended_waits VALUES (4, 'r', '2026-03-01 14:00:00.000000', 0, 6, 6, 'decided')",),
    ),
    Breach(
        "ended_waits",
        "a decision that had not waited",
        "send_requests.id 1: decided by 2026-03-01 10:00:00.000000, and had not waited",
        ("UPDATE send_requests SET decision_time = event_timestamp WHERE id = 1",),
    ),
    Breach(
        "due_waits",
        "a match that a later batch has passed over",
        "waiting_matches of events.id 4, r: until 2026-03-01 14:00:00.000000",
        ("INSERT INTO waiting_matches VALUES (4, 'r', '2026-03-01 14:00:00.000000', 0, 1)",),
    ),
]


def ids(breach: Breach) -> str:
    return f"{breach.invariant}: {breach.how}"


@pytest.mark.parametrize("breach", BREACHES, ids=ids)
def test_a_breach_is_reported_with_its_place_and_nothing_else_is(sound: Path, breach: Breach) -> None:
    if breach.dropped is not None:
        drop_constraint(sound, *breach.dropped)
    breach.deed(sound)
    execute(sound, *breach.statements)
    found = broken(sound)
    assert set(found) == breach.reported
    assert breach.example in found[breach.invariant].examples[0]
    assert found[breach.invariant].problem == ""


def test_a_send_that_follows_another_is_reported_whatever_day_its_key_names(sound: Path) -> None:
    execute(sound, *send_instead(suppression_id=3, dedupe_key="day:2026-03-02"))
    assert "send_requests.id 16 on events.id 13 after send_requests.id 9" in broken(sound)["once_is_once"].examples[0]


def test_a_former_suppression_of_an_event_that_was_young_enough_is_reported(sound: Path) -> None:
    execute(
        sound,
        "UPDATE runs SET oldest_event_at = '2026-03-01 21:00:00.000000', max_event_age_hours = 6397 WHERE id = 4",
        "UPDATE batches SET oldest_event_at = '2026-03-01 21:00:00.000000' WHERE run_id = 4",
    )
    found = broken(sound)
    assert set(found) == {"expired_is_old"}
    assert "former_suppressions.id 6 on events.id 21 at 2026-03-01 21:50:00.000000" in found["expired_is_old"].examples


@pytest.mark.parametrize("name", [invariant.name for invariant in EVERYTHING])
def test_no_invariant_is_without_a_breach(name: str) -> None:
    assert name in {breach.invariant for breach in BREACHES} | {name for name, _ in test_audit_refusals.BREACHES}


WAIT = "SELECT min(events.id), 'r', min(event_timestamp), 0, (SELECT min(id) FROM batches)"
WAITED = {
    "waiting_matches.decide_at": [f"INSERT INTO waiting_matches {WAIT} FROM events"],
    "ended_waits.decide_at": [f"INSERT INTO ended_waits {WAIT}, 1, 'lapsed' FROM events"],
    "batch_shards.decided_at": ["INSERT INTO batch_shards SELECT id, 1, 1, decided_at, 1, 0, 0 FROM batches LIMIT 1"],
    "send_requests.decision_time": ["UPDATE send_requests SET decision_time = event_timestamp WHERE id = 1"],
    "suppressions.decision_time": ["UPDATE suppressions SET decision_time = event_timestamp WHERE id = 1"],
}
"""How each column comes to hold a time that no rule of the sound database makes."""


@pytest.mark.parametrize("column", timestamp_columns(), ids=str)
def test_every_column_that_holds_a_time_is_looked_at(sound: Path, column: object) -> None:
    table, name = str(column).split(".")
    execute(sound, *WAITED.get(str(column), ()))
    execute(
        sound,
        f"UPDATE {table} SET {name} = replace({name}, ' ', 'T') "
        f"WHERE rowid = (SELECT min(rowid) FROM {table} WHERE {name} IS NOT NULL)",
    )
    assert f": {name} is 20" in broken(sound, STRUCTURE_INVARIANTS)["one_time_format"].examples[0]


@pytest.mark.parametrize(
    "value",
    [
        "'2026-03-01T10:00:00.000000'",
        "'2026-03-01 10:00:00'",
        "'2026-03-01 10:00:00.000'",
        "'2026-03-01 10:00:00.000000+00:00'",
        "'2026-02-30 10:00:00.000000'",
        "'2026-03-01 24:00:00.000000'",
        "'2026-13-01 10:00:00.000000'",
        "' 2026-03-01 10:00:00.000000'",
        "''",
        "20260301",
        "CAST('2026-03-01 10:00:00.000000' AS BLOB)",
        "CAST(x'ff' AS TEXT)",
    ],
)
def test_nothing_but_the_one_format_passes_as_a_time(sound: Path, value: str) -> None:
    execute(sound, f"UPDATE source_files SET taken_at = {value} WHERE id = 1")
    assert set(broken(sound, STRUCTURE_INVARIANTS)) == {"one_time_format"}


def test_many_breaches_are_counted_and_few_of_them_listed(sound: Path) -> None:
    execute(sound, "UPDATE source_files SET taken_at = 'then'", "UPDATE loads SET loaded_at = 'then'")
    found = broken(sound)["one_time_format"]
    assert found.breach_count == 12
    assert len(found.examples) == 3


def test_a_table_that_is_gone_is_reported_where_it_is_missed_and_holds_up_no_other_invariant(sound: Path) -> None:
    execute(sound, "DROP TABLE conflicts")
    found = broken(sound)
    assert found["conflict_count"].problem == "no such table: conflicts"
    assert set(found) == {"conflict_count", "lines_of_the_load", "references_lead_somewhere", "schema_as_made"}


def test_text_that_is_no_utf8_is_reported_without_an_error(sound: Path) -> None:
    execute(sound, "UPDATE send_requests SET user_id = CAST(x'61ff' AS TEXT) WHERE id = 7")
    assert "a\ufffd at 2026" in broken(sound)["like_its_event"].examples[0]
