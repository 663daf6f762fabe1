"""Writes what became of many users' events, as text and as plain values."""

from collections.abc import Iterator, Sequence
from typing import Any

from src.marketing_messaging_service.decisions.wording import comparison_text
from src.marketing_messaging_service.explaining.many_users import Found, Funnel, SetAsked
from src.marketing_messaging_service.explaining.outline import Line
from src.marketing_messaging_service.reporting.masking import masked
from src.marketing_messaging_service.reporting.tables import counted

VERSION = 1
"""Of the form that `--json` prints of a set: raised when a reader of it would have to change."""


def funnel_lines(asked: SetAsked, funnels: Sequence[Funnel]) -> Iterator[Line]:
    """Yield how many events pass each condition and reason, with examples of those that do not."""
    which = f" {asked}" if str(asked) else ""
    if not funnels:
        yield 0, f"{asked.rule_name} looked at no event{which}."
    for funnel in funnels:
        of_many = "" if len(funnels) == 1 else f" [{_version(funnel)}]"
        what = f"{counted(funnel.events.count, 'event')} {funnel.rule.trigger.event_type}"
        yield 0, f"{asked.rule_name}: {what}{which}{of_many}"
        before = funnel.events.count
        for step in funnel.steps:
            yield 1, f"{step.left:,} of {before:,}: {step.words}"
            if step.failed.count:
                yield (
                    2,
                    f"✗ {step.failed.count:,} {'is' if step.failed.count == 1 else 'are'} not{_examples(step.failed)}",
                )
            before = step.left
        end = "an alert to our own people" if funnel.rule.action.is_alert else "decided to be sent"
        yield 1, f"{funnel.went_out.count:,} of {funnel.events.count:,}: {end}{_examples(funnel.went_out)}"
        if funnel.otherwise.count:
            late = "today's data would decide differently, because of what came later"
            yield 1, f"Of {funnel.otherwise.count:,} {late}{_examples(funnel.otherwise)}"


def funnels_headline(asked: SetAsked, funnels: Sequence[Funnel]) -> str:
    """Return in one sentence how many of the events went out, over all versions of the rule."""
    which = f" {asked}" if str(asked) else ""
    if not funnels:
        return f"{asked.rule_name} looked at no event{which}."
    types = " and ".join(dict.fromkeys(funnel.rule.trigger.event_type for funnel in funnels))
    events = counted(sum(funnel.events.count for funnel in funnels), "event")
    went_out = sum(funnel.went_out.count for funnel in funnels)
    end = "alerts to our own people" if all(funnel.rule.action.is_alert for funnel in funnels) else "decided to be sent"
    return f"{asked.rule_name}: {events} {types}{which}; {went_out:,} {end}."


def _version(funnel: Funnel) -> str:
    hashes = [each[:12] for each in funnel.ruleset_hashes]
    return f"ruleset {', '.join(hashes)}" if hashes else "the rules in force"


def _examples(found: Found) -> str:
    named = ", ".join(f"{each.user_id} ({each.message_id})" for each in found.examples)
    return f", such as {named}" if named else ""


def funnels_json(asked: SetAsked, funnels: Sequence[Funnel]) -> dict[str, Any]:
    """Return the same as plain values: `version`, what was asked, and `funnels`, one for each version of the rule."""
    return {
        "version": VERSION,
        "rule_name": asked.rule_name,
        "since": None if asked.since is None else asked.since.isoformat(),
        "until": None if asked.until is None else asked.until.isoformat(),
        "where": [masked(comparison_text(each)) for each in asked.where],
        "funnels": [
            {
                "rulesets": list(funnel.ruleset_hashes),
                "event_type": funnel.rule.trigger.event_type,
                "events": funnel.events.count,
                "outcomes": funnel.outcomes,
                "steps": [
                    {
                        "kind": step.kind,
                        "words": masked(step.words),
                        "left": step.left,
                        "failed": step.failed.count,
                        "examples": _plain(step.failed),
                    }
                    for step in funnel.steps
                ],
                "went_out": funnel.went_out.count,
                "today_otherwise": {"count": funnel.otherwise.count, "examples": _plain(funnel.otherwise)},
            }
            for funnel in funnels
        ],
    }


def _plain(found: Found) -> list[dict[str, str]]:
    return [{"user_id": masked(each.user_id), "message_id": masked(each.message_id)} for each in found.examples]
