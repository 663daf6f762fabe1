"""What came of the events of one user, and why."""

from collections import Counter
from collections.abc import Iterator, Sequence
from datetime import datetime, timedelta
from itertools import combinations
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given

from src.marketing_messaging_service.decisions.rules import Rules
from src.marketing_messaging_service.explaining.many_users import Funnel, SetAsked, explain_set
from src.marketing_messaging_service.explaining.one_user import (
    ALERT,
    LAPSED,
    NOT_MATCHED,
    SEND,
    SUPPRESSED,
    UNDECIDED,
    WAITING,
    Explanation,
    explain_user,
)
from src.marketing_messaging_service.explaining.truth_tree import ALL, LEAF, NOT, Node, to_flip
from src.marketing_messaging_service.infrastructure.database import read_transaction
from tests.decisions.helpers import event, prior, rule
from tests.effort import examples
from tests.explaining.helpers import play
from tests.language_strategies import Document
from tests.pipeline import AS_OF, Pipeline
from tests.strategies import RawFile
from tests.test_language_equals_reference import dense_runs
from tests.test_pipeline_equals_reference import fresh_pipeline


def explain(pipeline: Pipeline, user_id: str = "ana", **keys: Any) -> list[Explanation]:
    with read_transaction(pipeline.engine) as connection:
        return explain_user(connection, user_id, None, **keys)


def test_a_message_that_was_sent_and_one_that_was_refused_are_reported_with_what_stood_in_the_way(
    pipeline: Pipeline,
) -> None:
    play(pipeline, [rule(mode="once_ever")], [event("a"), event("b", at="2026-03-01T13:00:00Z")])
    sent, refused = explain(pipeline)
    assert (sent.event.message_id, sent.outcome) == ("a", SEND)
    assert (refused.event.message_id, refused.outcome, refused.reason) == ("b", SUPPRESSED, "once_ever")
    assert refused.blocker == "send 1 of T, for a at 2026-03-01 12:00"


def test_what_did_not_match_names_the_condition_with_what_was_found(pipeline: Pipeline) -> None:
    opted_in = {"field": "latest_traits.marketing_opt_in", "operator": "equals", "value": True}
    amount = {"field": "properties.amount", "operator": "gte", "value": 20}
    events = [event("said", "settings", user_traits={"marketing_opt_in": False}), event("a", properties={"amount": 30})]
    play(pipeline, [rule("r", amount, opted_in)], events)
    (explanation,) = explain(pipeline)
    assert explanation.outcome == NOT_MATCHED
    assert explanation.failed == ("latest_traits.marketing_opt_in is true",)
    assert explanation.tree is not None
    assert [(part.holds, part.found) for part in explanation.tree.parts] == [
        (True, "30.0"),
        (False, "false, from said at 2026-03-01 12:00"),
    ]


def test_a_count_says_what_was_counted_and_between_when(pipeline: Pipeline) -> None:
    play(pipeline, [rule("r", prior("seen", 2))], [event("s", "seen", "2026-03-01T09:59:59Z"), event("a")])
    (explanation,) = explain(pipeline)
    assert explanation.tree is not None
    assert explanation.tree.parts[0].found == "0 from 2026-03-01 10:00 to 2026-03-01 12:00"
    assert explanation.failed == ("a seen in the 2 h before",)


def test_a_cause_that_came_later_is_reported(pipeline: Pipeline) -> None:
    play(pipeline, [rule("r", prior("seen"))], [event("a")], [event("cause", "seen", "2026-03-01T11:00:00Z")])
    (explanation,) = explain(pipeline)
    assert explanation.outcome == NOT_MATCHED
    assert explanation.notes == ("Today's data would decide differently, because of what came later: seen cause.",)


def test_how_late_a_cause_came_is_reported_and_what_no_condition_looks_at_is_not(pipeline: Pipeline) -> None:
    rules = {"rules": [rule("r", prior("seen"))]}
    pipeline.land([event("a")])
    pipeline.do(pipeline.options(as_of=AS_OF), rules)
    pipeline.land([event("cause", "seen", "2026-03-01T11:00:00Z"), event("other", "idle", "2026-03-01T11:00:00Z")])
    pipeline.do(pipeline.options(as_of=AS_OF + timedelta(minutes=50)), rules)
    (explanation,) = explain(pipeline)
    assert explanation.notes == (
        "Today's data would decide differently, because of what came later: seen cause, 50 minutes late.",
    )


def test_of_a_group_the_rule_that_came_first_is_named(pipeline: Pipeline) -> None:
    play(pipeline, [rule("first", exclusive_group="g"), rule("second", exclusive_group="g")], [event("a")])
    first, second = explain(pipeline)
    assert first.outcome == SEND
    assert (second.outcome, second.failed) == (NOT_MATCHED, ("first came first in the group g",))


def test_what_a_rule_needs_beside_its_conditions_is_among_what_failed(pipeline: Pipeline) -> None:
    unmet = {"field": "properties.amount", "operator": "gte", "value": 20}
    group = {"exclusive_group": "g"}
    rules = [rule("first", **group), rule("second", unmet, **group), rule("off", unmet, enabled=False)]
    play(pipeline, rules, [event("a")])
    _, second, off = explain(pipeline)
    assert second.failed == ("properties.amount is at least 20", "first came first in the group g")
    assert off.failed == ("the rule was off", "properties.amount is at least 20")


def test_a_rule_that_did_not_match_is_not_held_back_by_one_behind_it(pipeline: Pipeline) -> None:
    unmet = {"field": "properties.amount", "operator": "gte", "value": 20}
    play(pipeline, [rule("first", unmet, exclusive_group="g"), rule("second", exclusive_group="g")], [event("a")])
    first, _ = explain(pipeline)
    assert first.failed == ("properties.amount is at least 20",)


def test_of_an_event_from_before_loads_were_recorded_it_says_what_todays_data_say(pipeline: Pipeline) -> None:
    at = "'2025-01-01 00:00:00.000000'"
    pipeline.execute(
        "INSERT INTO events (id, message_id, user_id, event_type, event_timestamp, created_at) "
        f"VALUES (1, 'old', 'ana', 'paid', {at}, {at})"
    )
    with read_transaction(pipeline.engine) as connection:
        (explanation,) = explain_user(connection, "ana", Rules.model_validate({"rules": [rule("r", prior("seen"))]}))
    assert explanation.outcome == UNDECIDED
    assert explanation.tree is not None
    assert not explanation.tree.holds
    assert explanation.notes == (
        "It came before loads were recorded, so it is not known whether a run decided it. Today's data say this.",
    )


def test_what_waits_what_is_off_and_an_alert_are_reported(pipeline: Pipeline) -> None:
    rules = [rule("later", wait={"hours": 20_000}), rule("off", enabled=False), rule("told", channel="internal")]
    play(pipeline, rules, [event("a")])
    waits, off, alert = explain(pipeline)
    assert (waits.outcome, waits.notes) == (WAITING, ("Decided in the first run after 2028-06-11 20:00.",))
    assert (off.outcome, off.failed) == (NOT_MATCHED, ("the rule was off",))
    assert alert.outcome == ALERT


def test_what_no_run_has_decided_yet_is_reported(pipeline: Pipeline) -> None:
    pipeline.land([event("a")])
    pipeline.take()
    in_force = Rules.model_validate({"rules": [rule("r")]})
    with read_transaction(pipeline.engine) as connection:
        (explanation,) = explain_user(connection, "ana", in_force)
    assert (explanation.outcome, explanation.notes) == ("undecided", ("No run has decided it yet.",))


def test_an_event_at_the_first_instant_has_nothing_before_it(pipeline: Pipeline) -> None:
    play(pipeline, [rule("r", prior("seen"))], [event("a", at="0001-01-01T00:00:00Z")])
    (explanation,) = explain(pipeline)
    assert explanation.failed == ("a seen in the 24 h before",)


def test_events_and_rules_can_be_chosen(pipeline: Pipeline) -> None:
    play(pipeline, [rule("r"), rule("s")], [event("a"), event("b", at="2026-03-02T12:00:00Z"), event("c", user_id="x")])
    assert [(each.event.message_id, each.rule) for each in explain(pipeline)] == [
        ("a", "r"), ("a", "s"), ("b", "r"), ("b", "s"),
    ]  # fmt: skip
    assert [each.event.message_id for each in explain(pipeline, rule_name="r", message_id="b")] == ["b"]
    assert explain(pipeline, "nobody") == []


MOST_LEAVES = 6
"""The most leaves of a tree whose every set of leaves is tried."""

OUTCOMES = {
    SEND: "SELECT event_id, rule_name FROM send_requests WHERE channel <> 'internal'",
    ALERT: "SELECT event_id, rule_name FROM send_requests WHERE channel = 'internal'",
    SUPPRESSED: "SELECT event_id, rule_name FROM suppressions",
    WAITING: "SELECT event_id, rule_name FROM waiting_matches",
    LAPSED: "SELECT event_id, rule_name FROM ended_waits WHERE outcome = 'lapsed'",
}


def turned(node: Node, leaves: Sequence[Node]) -> bool:
    """What a tree comes to when the truth of some of its leaves is the opposite one."""
    if node.kind == LEAF:
        return node.holds != any(node is leaf for leaf in leaves)
    parts = [turned(part, leaves) for part in node.parts]
    if node.kind == NOT:
        return not parts[0]
    return all(parts) if node.kind == ALL else any(parts)


@examples(60)
@given(runs=dense_runs())
def test_it_says_what_the_rows_say_and_of_what_did_not_match_what_would_have(
    migrated_template: Path, runs: list[tuple[datetime, RawFile, Document]]
) -> None:
    with fresh_pipeline(migrated_template) as pipeline:
        for as_of, file, document in runs:
            pipeline.land(file)
            pipeline.do(pipeline.options(as_of=as_of), document)
        users = [row[0] for row in pipeline.rows("SELECT DISTINCT user_id FROM events")]
        found = [each for user in users for each in explain(pipeline, user)]
        for outcome, sql in OUTCOMES.items():
            told = sorted((each.event.id, each.rule) for each in found if each.outcome == outcome)
            assert told == sorted(pipeline.rows(sql))
        for each in found:
            if each.outcome in {SEND, ALERT, SUPPRESSED}:
                assert each.tree is not None
                assert each.tree.holds
            if each.outcome == NOT_MATCHED:
                assert each.failed
                if each.tree is not None and not each.tree.holds:
                    flips = to_flip(each.tree)
                    assert flips is None or turned(each.tree, flips)
                    assert flips is None or not any(turned(each.tree, few) for few in fewer(each.tree, len(flips)))
        with read_transaction(pipeline.engine) as connection:
            for name in {each.rule for each in found}:
                assert_sums_up(explain_set(connection, SetAsked(name), None), [e for e in found if e.rule == name])


def leaves(node: Node) -> list[Node]:
    return [node] if node.kind == LEAF else [leaf for part in node.parts for leaf in leaves(part)]


def fewer(tree: Node, count: int) -> Iterator[tuple[Node, ...]]:
    """Every set of so few leaves of a tree, where there are not too many to try them all."""
    every = leaves(tree)
    for size in range(count if len(every) <= MOST_LEAVES else 0):
        yield from combinations(every, size)


def otherwise(raw: Any, node: Node, flips: Sequence[Node]) -> Any:
    """Conditions of a rules file, some of them negated."""
    if node.kind == LEAF:
        return {"not": raw} if any(node is leaf for leaf in flips) else raw
    if node.kind == NOT:
        return {"not": otherwise(raw["not"], node.parts[0], flips)}
    parts = raw.get(node.kind, ())
    return {node.kind: [otherwise(part, of_part, flips) for part, of_part in zip(parts, node.parts, strict=True)]}


def mended(document: Document, each: Explanation, as_it_was: Any) -> Document:
    """A rules file in which a rule is otherwise in all that an explanation names."""
    came_first = {text.partition(" came first in the group ")[0] for text in each.failed if " came first in " in text}
    rules = []
    for raw in document["rules"]:
        if raw == as_it_was:
            assert each.tree is not None
            flips = () if each.tree.holds else to_flip(each.tree) or ()
            conditions = otherwise(raw.get("conditions") or {"all": []}, each.tree, flips)
            rules.append({**raw, "enabled": True, "conditions": conditions})
        elif raw["name"] not in came_first:
            rules.append(raw)
    return {**document, "rules": rules}


@pytest.mark.slow
@examples(20)
@given(runs=dense_runs())
def test_what_did_not_match_is_decided_once_all_that_it_names_is_otherwise(
    migrated_template: Path, runs: list[tuple[datetime, RawFile, Document]]
) -> None:
    def played(documents: Sequence[Document], pipeline: Pipeline) -> None:
        for (as_of, file, _), document in zip(runs, documents, strict=True):
            pipeline.land(file)
            pipeline.do(pipeline.options(as_of=as_of), document)

    ended_sql = "SELECT event_id, rule_name FROM ended_waits"
    documents = [document for _, _, document in runs]
    with fresh_pipeline(migrated_template) as pipeline:
        played(documents, pipeline)
        users = [row[0] for row in pipeline.rows("SELECT DISTINCT user_id FROM events")]
        found = [each for user in users for each in explain(pipeline, user) if each.outcome == NOT_MATCHED]
        ended = pipeline.rows(ended_sql)
    # Those with the most to be said of them; each takes a database of its own.
    for each in sorted(found, key=lambda each: (each.tree is not None, len(each.failed)))[-2:]:
        document = next(document for as_of, _, document in runs if as_of == each.as_of)
        as_it_was = next(raw for raw in document["rules"] if raw["name"] == each.rule)
        if each.tree is None or (not each.tree.holds and not to_flip(each.tree)):
            continue
        with fresh_pipeline(migrated_template) as pipeline:
            played([mended(document, each, as_it_was) for document in documents], pipeline)
            event_ids: dict[str, int] = dict(pipeline.rows("SELECT message_id, id FROM events"))
            came = [row for sql in OUTCOMES.values() for row in pipeline.rows(sql)]
            # What had not even begun to wait does so now, and what comes of that is for later files to say.
            if as_it_was.get("wait") and (each.event.id, each.rule) not in ended:
                came += pipeline.rows(ended_sql)
            assert (event_ids[each.event.message_id], each.rule) in came


def assert_sums_up(funnels: Sequence[Funnel], found: Sequence[Explanation]) -> None:
    """Hold what is said of a set against what is said of each user."""
    outcomes: Counter[str] = Counter()
    for funnel in funnels:
        outcomes.update(funnel.outcomes)
    assert outcomes == Counter(each.outcome for each in found)
    left: Counter[str] = Counter()
    for funnel in funnels:
        left.update({step.words: step.failed.count for step in funnel.steps if step.kind == "condition"})
    unmet = (each.tree for each in found if each.tree and not each.tree.holds and "the rule was off" not in each.failed)
    assert left.total() == sum(1 for _ in unmet)
    assert sum(funnel.otherwise.count for funnel in funnels) == sum(
        any(note.startswith("Today's data") for note in each.notes) for each in found
    )
