"""What latest traits, negated and bounded looks, and waits promise is broken by hand, and reported."""

import shutil
import sqlite3
from contextlib import closing
from pathlib import Path

import pytest

from src.marketing_messaging_service.decisions import AUDIT
from tests.decisions.test_audit_refusals import of
from tests.pipeline import Pipeline
from tests.self_check.databases import broken
from tests.test_rule_language import event, field, happened, outcomes, rule, run

UNPAID = {"not": happened("paid", since_trigger=True, same=["properties.order_id"])}
RULES = [
    rule("french", on="open", template="F", conditions=field("latest_traits.country", "equals", "FR")),
    rule("new", on="open", template="N", conditions={"not": happened("open", within_hours=2)}),
    rule(
        "few",
        on="open",
        template="W",
        conditions=happened("open", at_most=1, where=[field("user_traits.country", "exists")]),
    ),
    rule("unpaid", on="order", template="U", wait=2, conditions={"all": [field("properties.amount", "gt", 5), UNPAID]}),
]


@pytest.fixture(scope="module")
def decided(migrated_template: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A database in which each of them held for some and not for others, and late events came that would change it."""
    pipeline = Pipeline(tmp_path_factory.mktemp("decided"), migrated_template)
    run(
        pipeline,
        RULES,
        "23T12:00:00",
        event("1", "open", "23T08:00:00", country="FR"),
        event("2", "open", "23T09:00:00"),
        event("3", "open", "23T11:30:00", country="DE"),
        event("o1", "order", "23T09:00:00", amount=9, order_id="x"),
        event("o2", "order", "23T09:10:00", amount=9, order_id="y"),
        event("o3", "order", "23T11:00:00", amount=9, order_id="z"),
        event("small", "order", "23T09:20:00", amount=5, order_id="s"),
        event("paid", "paid", "23T10:00:00", order_id="y"),
    )
    late = (
        event("t", "trait", "23T07:30:00", country="IT"),
        event("early", "open", "23T07:59:00", country="FR"),
        event("paid late", "paid", "23T10:00:00", order_id="x"),
    )
    run(pipeline, RULES, "23T12:30:00", *late)
    assert outcomes(pipeline) == {
        *("1 french sent", "1 new sent", "1 few sent", "2 french sent", "2 few sent", "3 new sent", "3 few sent"),
        *("early french sent", "early new sent", "early few sent"),
        *("o1 unpaid sent", "o2 unpaid no match", "o3 unpaid waits"),
    }
    pipeline.engine.dispose()
    assert {name: finding.examples for name, finding in broken(pipeline.database_path).items()} == {}
    return pipeline.database_path


def lost(message_id: str, rule_name: str) -> tuple[str, ...]:
    return (f"DELETE FROM send_requests WHERE {of(message_id)} AND rule_name = '{rule_name}'",)


def said(message_id: str, country: str) -> tuple[str, ...]:
    return (f"UPDATE user_traits SET country = '{country}' WHERE {of(message_id)}",)


def ended(message_id: str, outcome: str) -> tuple[str, ...]:
    return (f"UPDATE ended_waits SET outcome = '{outcome}' WHERE {of(message_id)}",)


MISSED, GROUNDLESS = "matches_are_decided", "decisions_have_grounds"

BREACHES: dict[str, tuple[str, tuple[str, ...]]] = {
    "a latest trait that held and sent nothing": (MISSED, lost("2", "french")),
    "a latest trait that was another one": (GROUNDLESS, said("1", "NL")),
    "nothing had happened then, and something has since": (MISSED, lost("1", "new")),
    "it had happened, and not is said of it": (
        GROUNDLESS,
        ("UPDATE events SET event_timestamp = '2026-11-23 10:00:00.000000' WHERE message_id = '2'",),
    ),
    "few there were, and more there are since": (MISSED, lost("1", "few")),
    "few there were not": (
        GROUNDLESS,
        (
            "INSERT INTO user_traits (event_id, country) SELECT id, 'FR' FROM events WHERE message_id = '2'",
            "UPDATE user_traits SET country = 'FR' WHERE country = 'IT'",
            "UPDATE events SET event_type = 'open' WHERE message_id = 'o1'",
            "INSERT INTO user_traits (event_id, country) SELECT id, 'FR' FROM events WHERE message_id = 'o1'",
        ),
    ),
    "a match that does not wait": (MISSED, (f"DELETE FROM waiting_matches WHERE {of('o3')}",)),
    "a wait that is forgotten": (MISSED, (f"DELETE FROM ended_waits WHERE {of('o2')}",)),
    "a wait that ended with no match although there was one": (
        MISSED,
        (*lost("o1", "unpaid"), *ended("o1", "no match")),
    ),
    "a wait that lapsed although its rule was there": (MISSED, ended("o2", "lapsed")),
    "a message for an order that had been paid": (
        GROUNDLESS,
        (f"UPDATE event_properties SET order_id = 'x' WHERE {of('paid')}",),
    ),
}


@pytest.mark.parametrize("breach", BREACHES)
def test_a_breach_is_reported(decided: Path, tmp_path: Path, breach: str) -> None:
    invariant, statements = BREACHES[breach]
    shutil.copyfile(decided, tmp_path / "copy.db")
    with closing(sqlite3.connect(tmp_path / "copy.db", isolation_level=None)) as connection:
        for statement in statements:
            assert connection.execute(statement).rowcount == 1
    assert invariant in broken(tmp_path / "copy.db", AUDIT)
