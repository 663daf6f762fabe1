"""What the recorded rules say about the stored decisions: every breach that is certain, and no other."""

import hashlib
import json
import re
import sqlite3
from contextlib import closing
from typing import Any, ClassVar

import pytest

from src.marketing_messaging_service.decisions import AUDIT, decide_pending, read_rules
from src.marketing_messaging_service.decisions import audit as audit_module
from src.marketing_messaging_service.decisions.rules_file import text_hash
from src.marketing_messaging_service.infrastructure.database import read_transaction, url_of
from src.marketing_messaging_service.self_check import check_database
from tests.decisions.helpers import event, prior, rule
from tests.pipeline import AS_OF, Pipeline


def audit(pipeline: Pipeline) -> dict[str, tuple[str, ...]]:
    """What the audit finds broken, and the examples."""
    return {found.invariant: found.examples for found in check_database(url_of(pipeline.database_path), AUDIT).broken}


def by_hand(pipeline: Pipeline, sql: str, *parameters: Any) -> None:
    """Change what no run would."""
    with closing(sqlite3.connect(pipeline.database_path)) as connection, connection:
        connection.execute(sql, parameters)


IN_NORWAY = {"field": "user_traits.country", "operator": "equals", "value": "NO"}
SIGNED_UP_BEFORE = rule("nudge", prior("signup"), on="link", template="NUDGE", mode="once_ever")
LINK = event("link", "link", at="2026-03-01T12:00:00Z")
SIGNUP = event("signup", "signup", at="2026-03-01T11:00:00Z")


class TestAMatchWithoutADecision:
    @pytest.mark.parametrize("table", ["send_requests", "suppressions"])
    def test_is_missed_whether_it_was_sent_or_suppressed(self, pipeline, table):
        once = {"rules": [rule("r", mode="once_ever")]}
        pipeline.run([[event("1", at="2026-03-01T10:00:00Z"), event("2", at="2026-03-01T11:00:00Z")]], once)
        assert audit(pipeline) == {}
        by_hand(pipeline, f"DELETE FROM {table}")
        event_id = {"send_requests": 1, "suppressions": 2}[table]
        assert audit(pipeline) == {"matches_are_decided": (f"events.id {event_id}: no decision by r",)}

    def test_is_not_missed_while_its_load_waits(self, pipeline):
        pipeline.run([[event("1")]], {"rules": [rule()]})
        pipeline.land([event("2")])
        pipeline.take()
        assert audit(pipeline) == {}

    def test_is_not_missed_of_a_rule_that_was_off_or_that_came_later(self, pipeline):
        pipeline.run([[event("1")]], {"rules": [rule("off", enabled=False)]})
        pipeline.run([[event("2")]], {"rules": [rule("off"), rule("new", template="U")]})
        assert audit(pipeline) == {}

    def test_is_missed_by_the_rules_of_its_own_ruleset(self, pipeline):
        pipeline.run([[event("1")]], {"rules": [rule("old")]})
        pipeline.run([[event("2")]], {"rules": [rule("new", template="U")]})
        by_hand(pipeline, "DELETE FROM send_requests")
        assert audit(pipeline) == {
            "matches_are_decided": ("events.id 1: no decision by old", "events.id 2: no decision by new")
        }

    def test_is_missed_when_what_it_looks_back_at_came_in_an_earlier_load(self, pipeline):
        pipeline.run([[SIGNUP], [LINK]], {"rules": [SIGNED_UP_BEFORE]})
        by_hand(pipeline, "DELETE FROM send_requests")
        assert audit(pipeline) == {"matches_are_decided": ("events.id 2: no decision by nudge",)}

    def test_is_missed_when_what_it_looks_back_at_came_in_the_same_load(self, pipeline):
        pipeline.run([[LINK, SIGNUP]], {"rules": [SIGNED_UP_BEFORE]})
        by_hand(pipeline, "DELETE FROM send_requests")
        assert audit(pipeline) == {"matches_are_decided": ("events.id 1: no decision by nudge",)}

    def test_is_missed_when_what_it_looks_back_at_is_older_than_the_ledger(self, pipeline):
        by_hand(
            pipeline,
            "INSERT INTO events (user_id, event_type, event_timestamp, created_at, message_id) "
            "VALUES ('ana', 'signup', '2026-03-01 11:00:00.000000', '2026-03-01 11:00:00.000000', 'old')",
        )
        pipeline.run([[LINK]], {"rules": [SIGNED_UP_BEFORE]})
        by_hand(pipeline, "DELETE FROM send_requests")
        assert audit(pipeline) == {"matches_are_decided": ("events.id 2: no decision by nudge",)}

    def test_is_not_missed_when_what_it_looks_back_at_came_after_it_was_decided(self, pipeline):
        pipeline.run([[LINK]], {"rules": [SIGNED_UP_BEFORE]})
        pipeline.run([[SIGNUP]], {"rules": [SIGNED_UP_BEFORE]})
        assert pipeline.send_requests() == []
        assert audit(pipeline) == {}


class TestADecision:
    @pytest.fixture
    def decided(self, pipeline):
        """A send on event 1 and a suppression on event 2, by the rule r; event 3 matches nothing."""
        rules = {"rules": [rule("r", mode="once_ever"), rule("s", template="S", enabled=False)]}
        events = [
            event("1", at="2026-03-01T10:00:00Z"),
            event("2", at="2026-03-01T11:00:00Z"),
            event("3", "other", at="2026-03-01T12:00:00Z"),
        ]
        pipeline.run([events], rules)
        assert audit(pipeline) == {}
        return pipeline

    @pytest.mark.parametrize(
        "change",
        ["template_name = 'U'", "channel = 'sms'", "channel = 'internal'", "dedupe_key = 'event:1:r'"],
    )
    def test_to_send_what_its_rule_does_not_is_groundless(self, decided, change):
        by_hand(decided, f"UPDATE send_requests SET {change}")
        assert audit(decided) == {"decisions_have_grounds": ("send_requests.id 1: r on events.id 1",)}

    @pytest.mark.parametrize("change", ["template_name = 'U'", "suppression_reason = 'once_per_calendar_day'"])
    def test_to_suppress_what_its_rule_does_not_is_groundless(self, decided, change):
        by_hand(decided, f"UPDATE suppressions SET {change}")
        assert audit(decided) == {"decisions_have_grounds": ("suppressions.id 1: r on events.id 2",)}

    @pytest.mark.parametrize("name", ["s", "unheard_of"])
    def test_by_a_rule_that_is_off_or_unknown_is_groundless(self, decided, name):
        by_hand(decided, "UPDATE suppressions SET rule_name = ?", name)
        assert audit(decided) == {
            "matches_are_decided": ("events.id 2: no decision by r",),
            "decisions_have_grounds": (f"suppressions.id 1: {name} on events.id 2",),
        }

    def test_on_an_event_that_its_rule_does_not_match_is_groundless(self, decided):
        by_hand(decided, "UPDATE events SET event_type = 'other' WHERE id = 1")
        assert audit(decided) == {"decisions_have_grounds": ("send_requests.id 1: r on events.id 1",)}

    def test_whose_condition_does_not_hold_is_groundless(self, pipeline):
        third = {"field": "properties.attempt_number", "operator": "gte", "value": 3}
        pipeline.run([[event("1", properties={"attempt_number": 3})]], {"rules": [rule("r", third)]})
        by_hand(pipeline, "UPDATE event_properties SET attempt_number = 2")
        assert audit(pipeline) == {"decisions_have_grounds": ("send_requests.id 1: r on events.id 1",)}

    def test_whose_prior_event_is_nowhere_is_groundless(self, pipeline):
        pipeline.run([[SIGNUP, LINK]], {"rules": [SIGNED_UP_BEFORE]})
        by_hand(pipeline, "UPDATE events SET event_timestamp = '2026-02-27 11:00:00.000000' WHERE id = 1")
        assert audit(pipeline) == {"decisions_have_grounds": ("send_requests.id 1: nudge on events.id 2",)}

    def test_to_suppress_by_a_mode_that_suppresses_nothing_is_groundless(self, pipeline):
        pipeline.run([[event("1"), event("2")]], {"rules": [rule("r")]})
        by_hand(
            pipeline,
            "INSERT INTO suppressions (user_id, event_id, template_name, suppression_reason, decided_at, rule_name, "
            "ruleset_id, event_timestamp, blocked_by_send_request_id) SELECT user_id, event_id, template_name, 'none', "
            "decided_at, rule_name, ruleset_id, event_timestamp, 1 FROM send_requests WHERE id = 2",
        )
        by_hand(pipeline, "DELETE FROM send_requests WHERE id = 2")
        assert audit(pipeline) == {"decisions_have_grounds": ("suppressions.id 1: r on events.id 2",)}

    def test_under_a_ruleset_without_enabled_rules_is_groundless(self, pipeline):
        pipeline.run([[event("1")]], {"rules": [rule("r")]})
        pipeline.run([[event("2", "other")]], {"rules": [rule("s")]})
        # An older version allowed such a ruleset to decide.
        off = json.dumps({"rules": [rule("r", enabled=False)]})
        by_hand(pipeline, "UPDATE rulesets SET yaml_text = ?, content_hash = ? WHERE id = 2", off, text_hash(off))
        assert "decisions_have_grounds" not in audit(pipeline)
        by_hand(pipeline, "UPDATE send_requests SET ruleset_id = 2")
        assert audit(pipeline)["decisions_have_grounds"] == ("send_requests.id 1: r on events.id 1",)


class TestAnExclusiveGroup:
    FIRST = rule("first", prior("signup"), on="link", template="A", exclusive_group="g")
    SECOND = rule("second", on="link", template="B", exclusive_group="g")
    THIRD = rule("third", on="link", template="C", exclusive_group="g")
    RULES: ClassVar = {"rules": [FIRST, SECOND, THIRD]}

    @pytest.fixture
    def second_decided(self, pipeline):
        """An event decided by the second rule, because no signup was known."""
        pipeline.run([[LINK]], self.RULES)
        assert audit(pipeline) == {}
        return pipeline

    def rename(self, pipeline: Pipeline, name: str) -> None:
        """Make the one send that of another rule of the group."""
        template = {"first": "A", "second": "B", "third": "C"}[name]
        by_hand(
            pipeline,
            "UPDATE send_requests SET rule_name = ?, template_name = ?, dedupe_key = 'event:' || event_id || ':' || ?",
            name,
            template,
            name,
        )

    def test_without_a_decision_is_missed_once(self, second_decided):
        by_hand(second_decided, "DELETE FROM send_requests")
        assert audit(second_decided) == {"matches_are_decided": ("events.id 1: no decision by second",)}

    def test_may_have_been_decided_by_a_later_rule_than_one_that_holds_only_since(self, second_decided):
        second_decided.run([[SIGNUP]], self.RULES)
        assert audit(second_decided) == {}

    def test_may_have_been_decided_by_a_rule_of_which_it_is_not_certain_that_it_held(self, second_decided):
        second_decided.run([[SIGNUP]], self.RULES)
        self.rename(second_decided, "first")
        assert audit(second_decided) == {}

    def test_decided_by_a_rule_behind_one_that_held_is_groundless(self, second_decided):
        self.rename(second_decided, "third")
        assert audit(second_decided) == {"decisions_have_grounds": ("send_requests.id 1: third on events.id 1",)}

    def test_decided_by_a_rule_that_does_not_hold_is_groundless(self, second_decided):
        self.rename(second_decided, "first")
        assert audit(second_decided) == {"decisions_have_grounds": ("send_requests.id 1: first on events.id 1",)}

    def test_decided_by_a_rule_behind_one_whose_prior_event_was_there_is_groundless(self, pipeline):
        pipeline.run([[SIGNUP], [LINK]], self.RULES)
        self.rename(pipeline, "second")
        assert audit(pipeline) == {"decisions_have_grounds": ("send_requests.id 1: second on events.id 2",)}

    def test_decided_by_two_of_its_rules_is_groundless(self, second_decided):
        second_decided.run([[SIGNUP]], self.RULES)
        by_hand(
            second_decided,
            "INSERT INTO send_requests (user_id, event_id, template_name, channel, reason, decided_at, rule_name, "
            "ruleset_id, event_timestamp, dedupe_key) SELECT user_id, event_id, 'A', channel, 'rule:first', "
            "decided_at, 'first', ruleset_id, event_timestamp, 'event:1:first' FROM send_requests",
        )
        assert audit(second_decided) == {"decisions_have_grounds": ("events.id 1: decided by 2 rules of the group g",)}

    def test_of_one_rule_is_no_group(self, pipeline):
        pipeline.run([[LINK]], {"rules": [self.SECOND, rule("apart", on="link", template="D")]})
        assert audit(pipeline) == {}
        by_hand(pipeline, "DELETE FROM send_requests WHERE rule_name = 'second'")
        assert audit(pipeline) == {"matches_are_decided": ("events.id 1: no decision by second",)}


class TestARuleset:
    @pytest.fixture
    def decided(self, pipeline):
        """A decision that was deleted again, so that every usable ruleset finds something."""
        pipeline.run([[event("1")]], {"rules": [rule()]})
        by_hand(pipeline, "DELETE FROM send_requests")
        return pipeline

    def test_whose_text_was_changed_is_reported_and_judges_nothing(self, decided):
        by_hand(decided, "UPDATE rulesets SET yaml_text = 'rules: []'")
        ((name, (example,)),) = audit(decided).items()
        assert name == "usable_rulesets"
        assert example.startswith("rulesets.id 1: its text does not match its hash, ")

    @pytest.mark.parametrize(
        ("text", "expected"),
        [
            ("rules: [", "its text, line 1: not valid YAML for a rules file: "),
            ("rules: [{name: r}]", "rule r, action: the key is required and is missing (line 1)."),
        ],
    )
    def test_that_this_version_cannot_read_is_reported_and_judges_nothing(self, decided, text, expected):
        text_hash = hashlib.sha256(text.encode()).hexdigest()
        by_hand(decided, "UPDATE rulesets SET yaml_text = ?, content_hash = ?", text, text_hash)
        ((name, (example,)),) = audit(decided).items()
        assert name == "usable_rulesets"
        assert example.startswith(f"rulesets.id 1: {expected}")

    def test_whose_text_is_no_text_any_more_is_reported(self, decided):
        by_hand(decided, "UPDATE rulesets SET yaml_text = ?", b"rules: []")
        assert audit(decided)["usable_rulesets"] == (
            "rulesets.id 1: its text is stored as bytes or a number, as in a damaged file",
        )

    def test_of_text_beyond_ascii_has_its_hash(self, pipeline):
        pipeline.land([event("1")])
        pipeline.take()
        pipeline.rules_path.write_text(json.dumps({"rules": [rule("zoë 🙂")]}, ensure_ascii=False), encoding="utf-8")
        decide_pending(pipeline.engine, read_rules(pipeline.rules_path), decided_at=AS_OF)
        assert audit(pipeline) == {}
        by_hand(pipeline, "DELETE FROM send_requests")
        assert audit(pipeline) == {"matches_are_decided": ("events.id 1: no decision by zoë 🙂",)}


AS_IF_MANY = "1000000 1 1 1"
"""The statistics of a table of a million rows, each with values of its own in every index."""


def audit_queries(pipeline: Pipeline) -> list[str]:
    """The statements of the audit, as SQLite gets them."""
    with read_transaction(pipeline.engine) as connection:
        return [
            str(query.compile(connection, compile_kwargs={"literal_binds": True}))
            for invariant in AUDIT
            for query in invariant.queries(connection)
        ]


def steps_of_audit(pipeline: Pipeline) -> int:
    """How many hundreds of steps SQLite takes for the whole audit."""
    steps = 0

    def count() -> int:
        nonlocal steps
        steps += 1
        return 0

    with closing(sqlite3.connect(pipeline.database_path)) as connection:
        connection.set_progress_handler(count, 100)
        for query in audit_queries(pipeline):
            assert connection.execute(query).fetchall() == []
    return steps


class TestWhatItCosts:
    def test_a_rule_that_did_not_change_is_asked_about_once_however_many_rulesets_held_it(self, pipeline):
        stays, other = rule("stays"), rule("other", on="link", template="U")
        pipeline.run([[event("1")]], {"rules": [stays]})
        queries = len(audit_queries(pipeline))
        for number in range(5):
            changed = rule(f"changed {number}", on="link", template="N")
            pipeline.run([[event(f"again {number}")]], {"rules": [other, stays]})
            pipeline.run([[event(f"more {number}")]], {"rules": [stays, changed, rule("off", enabled=False)]})
        assert len(audit_queries(pipeline)) == queries + len(["other"]) + 5

    def test_twice_as_many_late_events_of_one_user_take_about_twice_as_long(self, pipeline):
        def late(count: int) -> int:
            """The steps for so many events of a user that were decided before as many came that they look back at."""
            user_id = f"user of {count}"
            minutes = [f"{number // 60:02}:{number % 60:02}" for number in range(count)]
            for event_type, hour in (("link", 12), ("signup", 11)):
                times = [f"2026-03-01T{hour}:{minute}Z" for minute in minutes]
                events = [event(f"{hour} {user_id} {time}", event_type, time, user_id) for time in times]
                pipeline.run([events], {"rules": [SIGNED_UP_BEFORE]})
            return steps_of_audit(pipeline)

        pipeline.run([[event("1")]], {"rules": [SIGNED_UP_BEFORE]})
        few = late(400)
        assert late(800) < 4 * few  # those of both users, which are three times as many

    def test_it_reads_events_by_their_loads_and_decisions_by_their_events(self, pipeline):
        group = [rule(name, prior("signup"), on="link", template=name, exclusive_group="g") for name in "ab"]
        rules = {"rules": [*group, rule("c", IN_NORWAY, template="c"), SIGNED_UP_BEFORE]}
        pipeline.run([[LINK, SIGNUP, event("3", user_traits={"country": "NO"})]], rules)
        with closing(sqlite3.connect(pipeline.database_path)) as connection:
            for statistics in ("", f"ANALYZE; UPDATE sqlite_stat1 SET stat = '{AS_IF_MANY}'; ANALYZE sqlite_master"):
                connection.executescript(statistics)
                plans = [
                    step[3]
                    for query in audit_queries(pipeline)
                    for step in connection.execute(f"EXPLAIN QUERY PLAN {query}")
                ]
                scans = [
                    step for step in plans if re.match(r"SCAN (events|loads|send_requests|suppressions|prior)\b", step)
                ]
                assert scans == []

    def test_events_and_decisions_of_many_rules_are_read_once(self, pipeline, monkeypatch):
        rules = [rule(f"r{number}", IN_NORWAY, template=f"T{number}") for number in range(4)]
        pipeline.run([[event("1", user_traits={"country": "NO"})]], {"rules": rules})
        queries = len(audit_queries(pipeline))
        monkeypatch.setattr(audit_module, "RULES_AT_ONCE", 1)
        assert len(audit_queries(pipeline)) == queries + 2 * 3
        by_hand(pipeline, "UPDATE user_traits SET country = 'SE'")
        one_by_one = audit(pipeline)
        monkeypatch.undo()
        assert audit(pipeline) == one_by_one
        assert len(one_by_one["decisions_have_grounds"]) == 3

    def test_rules_with_long_lists_share_no_statement(self, pipeline, monkeypatch):
        listed = {"field": "user_traits.country", "operator": "in", "value": ["NO", "SE", "DK"]}
        rules = [rule(f"r{number}", listed, template=f"T{number}") for number in range(4)]
        pipeline.run([[event("1", user_traits={"country": "NO"})]], {"rules": rules})
        queries = len(audit_queries(pipeline))
        monkeypatch.setattr(audit_module, "VALUES_AT_ONCE", 6)
        assert len(audit_queries(pipeline)) == queries + 2
