"""What came of many users' events under one rule: how many came through each condition, and who did not."""

from datetime import UTC, datetime
from typing import Any

import pytest

from src.marketing_messaging_service.decisions.rules import Rules
from src.marketing_messaging_service.errors import ParameterError
from src.marketing_messaging_service.explaining.asking import Asked, answer, asked_where
from src.marketing_messaging_service.explaining.many_users import Funnel, SetAsked, explain_set
from src.marketing_messaging_service.infrastructure.database import read_transaction
from tests.decisions.helpers import event, prior, rule
from tests.explaining.helpers import play
from tests.pipeline import Pipeline

OPTED_IN = {"field": "user_traits.marketing_opt_in", "operator": "equals", "value": True}


def funnels(pipeline: Pipeline, asked: SetAsked, in_force: Rules | None = None) -> list[Funnel]:
    with read_transaction(pipeline.engine) as connection:
        return explain_set(connection, asked, in_force)


def steps(funnel: Funnel) -> list[tuple[str, int, int, list[str]]]:
    return [
        (step.words, step.left, step.failed.count, [each.user_id for each in step.failed.examples])
        for step in funnel.steps
    ]


def signed_up(user_id: str, hour: int = 12, *, opt_in: bool = True, country: str = "FR") -> dict[str, Any]:
    traits = {"marketing_opt_in": opt_in, "country": country}
    return event(f"{user_id}-{hour}", at=f"2026-03-01T{hour:02}:00:00Z", user_id=user_id, user_traits=traits)


def test_events_are_counted_through_conditions_in_the_order_of_the_file_and_then_through_reasons(
    pipeline: Pipeline,
) -> None:
    users = [signed_up(name, opt_in=name not in "abcde") for name in "abcdefg"]
    seen = [event("seen", "seen", "2026-03-01T11:00:00Z", user_id="f"), signed_up("f", 13)]
    play(pipeline, [rule("r", OPTED_IN, prior("seen"), mode="once_ever")], [*users, *seen])
    (funnel,) = funnels(pipeline, SetAsked("r"))
    assert (funnel.events.count, funnel.went_out.count) == (8, 1)
    assert steps(funnel) == [
        ("user_traits.marketing_opt_in is true", 3, 5, ["a", "b", "c"]),
        ("a seen in the 24 h before", 2, 1, ["g"]),
        ("no earlier T in the way (once_ever: once in a lifetime)", 1, 1, ["f"]),
    ]
    assert funnel.outcomes == {"not_matched": 6, "send": 1, "suppressed": 1}


def test_a_window_and_values_choose_the_events(pipeline: Pipeline) -> None:
    events = [signed_up("a", country="DE"), signed_up("b", 14, country="DE", opt_in=False), signed_up("c")]
    play(pipeline, [rule("r", OPTED_IN)], events)
    where = asked_where(["user_traits.country=DE"])
    (funnel,) = funnels(pipeline, SetAsked("r", where=where))
    assert steps(funnel) == [("user_traits.marketing_opt_in is true", 1, 1, ["b"])]
    (early,) = funnels(pipeline, SetAsked("r", until=datetime(2026, 3, 1, 14, tzinfo=UTC), where=where))
    assert early.events.count == 1
    assert funnels(pipeline, SetAsked("r", since=datetime(2026, 3, 2, tzinfo=UTC))) == []
    latest = asked_where(["latest_traits.country=FR", "user_traits.marketing_opt_in=true"])
    (of_latest,) = funnels(pipeline, SetAsked("r", where=latest))
    assert [each.user_id for each in of_latest.events.examples] == ["c"]


def test_a_batch_is_judged_by_what_it_could_see_and_what_came_later_is_counted_apart(pipeline: Pipeline) -> None:
    rules = [rule("r", prior("seen"))]
    play(pipeline, rules, [signed_up("a")], [event("seen", "seen", "2026-03-01T11:00:00Z", user_id="a")])
    (funnel,) = funnels(pipeline, SetAsked("r"))
    assert steps(funnel) == [("a seen in the 24 h before", 0, 1, ["a"])]
    assert [each.user_id for each in funnel.otherwise.examples] == ["a"]


def test_each_version_of_the_rule_has_a_funnel_of_its_own(pipeline: Pipeline) -> None:
    play(pipeline, [rule("r", OPTED_IN)], [signed_up("a")])
    play(pipeline, [rule("r")], [signed_up("b", opt_in=False)])
    pipeline.land([signed_up("c")])
    pipeline.take()
    first, second = funnels(pipeline, SetAsked("r"), Rules.model_validate({"rules": [rule("r")]}))
    assert steps(first) == [("user_traits.marketing_opt_in is true", 1, 0, [])]
    assert steps(second) == [("decided by a run", 1, 1, ["c"])]
    assert first.ruleset_hashes != second.ruleset_hashes


def test_what_waits_is_off_or_came_second_in_its_group_is_reported(pipeline: Pipeline) -> None:
    group = {"exclusive_group": "g"}
    rules = [rule("first", **group), rule("second", **group), rule("off", enabled=False)]
    play(pipeline, [*rules, rule("later", wait={"hours": 20_000})], [signed_up("a")])
    told = {name: steps(funnels(pipeline, SetAsked(name))[0]) for name in ("second", "off", "later")}
    assert told == {
        "second": [("no rule before it in the group g had matched", 0, 1, ["a"])],
        "off": [("the rule was on", 0, 1, ["a"])],
        "later": [("their wait of 20000 h is over", 0, 1, ["a"])],
    }


def test_it_is_given_in_words_and_as_plain_values_without_addresses(pipeline: Pipeline) -> None:
    events = [signed_up("ana@example.org", opt_in=False), signed_up("bob")]
    play(pipeline, [rule("r", OPTED_IN)], events)
    with read_transaction(pipeline.engine) as connection:
        said = answer(connection, Asked(rule_name="r"), None)
    assert said.text.splitlines() == [
        "r: 2 events paid",
        "  1 of 2: user_traits.marketing_opt_in is true",
        "    ✗ 1 is not, such as ***@*** (***@***)",
        "  1 of 2: decided to be sent, such as bob (bob-12)",
    ]
    assert said.markdown.splitlines()[0] == "### r: 2 events paid"
    (funnel,) = said.plain["funnels"]
    assert funnel["steps"] == [
        {
            "kind": "condition",
            "words": "user_traits.marketing_opt_in is true",
            "left": 1,
            "failed": 1,
            "examples": [{"user_id": "***@***", "message_id": "***@***"}],
        }
    ]
    assert (said.plain["version"], funnel["events"], funnel["went_out"]) == (1, 2, 1)


def test_a_rule_that_never_was_and_a_field_that_there_is_not_are_reported(pipeline: Pipeline) -> None:
    play(pipeline, [rule("welcome")], [signed_up("a")])
    with pytest.raises(ParameterError, match="There is no rule welcom, and there never was; did you mean welcome"):
        funnels(pipeline, SetAsked("welcom"))
    with pytest.raises(ParameterError, match=r"where is 'user_traits.county=DE': expected 'properties.amount'"):
        asked_where(["user_traits.county=DE"])
    with pytest.raises(ParameterError, match=r"write it like user_traits.country=DE"):
        asked_where(["DE"])
