"""A question to explain, and its answer in every form."""

import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime
from functools import cached_property
from typing import Any

from pydantic import ValidationError
from sqlalchemy import Connection

from src.marketing_messaging_service.decisions.conditions import FieldCondition
from src.marketing_messaging_service.decisions.rules import Rules
from src.marketing_messaging_service.errors import ParameterError
from src.marketing_messaging_service.explaining.explain_text import (
    explanation_lines,
    explanations_headline,
    explanations_json,
    nothing_text,
)
from src.marketing_messaging_service.explaining.many_users import Funnel, SetAsked, explain_set, refuse_unknown_rule
from src.marketing_messaging_service.explaining.not_taken import lines_not_taken
from src.marketing_messaging_service.explaining.one_user import Explanation, events_of, explain_user
from src.marketing_messaging_service.explaining.outline import Line, outline_markdown, outline_text, shown, shown_lines
from src.marketing_messaging_service.explaining.set_text import funnel_lines, funnels_headline, funnels_json
from src.marketing_messaging_service.infrastructure.instants import instant_text
from src.marketing_messaging_service.yaml_file import did_you_mean


@dataclass(frozen=True, slots=True)
class Asked:
    """A question: about one user, or about all events that a rule looked at."""

    user_id: str = ""
    rule_name: str = ""
    message_id: str = ""
    since: datetime | None = None
    until: datetime | None = None
    where: tuple[FieldCondition, ...] = ()


@dataclass(frozen=True)
class Answer:
    """An explanation, in the forms in which it is shown."""

    lines: tuple[Line, ...]
    """What it says, line by line as it may be shown."""
    plain: dict[str, Any]
    """The same as plain values."""
    headline: str
    """What it comes to, in one sentence as it may be shown."""

    @cached_property
    def text(self) -> str:
        """It for a terminal."""
        return outline_text(self.lines)

    @cached_property
    def markdown(self) -> str:
        """It as Markdown."""
        return outline_markdown(self.lines)

    @cached_property
    def json(self) -> str:
        """It as JSON."""
        return json.dumps(self.plain, indent=2, ensure_ascii=False)


def asked_where(texts: Iterable[str]) -> tuple[FieldCondition, ...]:
    """Return comparisons that are written like `user_traits.country=DE`. Raises ParameterError for another text."""
    return tuple(map(_comparison, filter(None, map(str.strip, texts))))


def _comparison(text: str) -> FieldCondition:
    path, sign, value = (part.strip() for part in text.partition("="))
    why = "write it like user_traits.country=DE"
    if sign:
        for each in _meanings(value):
            try:
                return FieldCondition.model_validate({"field": path, "operator": "equals", "value": each})
            except ValidationError as error:
                context = error.errors()[0].get("ctx", {})
                why = f"expected {context.get('expected', error.errors()[0]['msg'])}"
                why += did_you_mean(path, context.get("known", ()))
    raise ParameterError(f"where is {text!r}: {why}{'' if why.endswith('?') else '.'}")


def _meanings(text: str) -> Iterable[Any]:
    """Yield what a text may mean: plain text is tried last, because every text is one."""
    yield from {"true": [True], "false": [False]}.get(text.lower(), [])
    for number in (int, float):
        try:
            yield number(text)
        except ValueError:
            continue
    yield text


def answer(connection: Connection, asked: Asked, in_force: Rules | None, files_not_taken: Iterable[str] = ()) -> Answer:
    """Return the answer to a question.

    `in_force` explains events that no run has decided yet; `files_not_taken` says which files may have events of the
    user.

    Raises ParameterError for a question that names neither a user nor a rule, or a rule that never existed, or whose
    window ends before it begins.
    """
    if asked.since is not None and asked.until is not None and asked.until <= asked.since:
        until, since = (f"{instant_text(instant)} UTC" for instant in (asked.until, asked.since))
        raise ParameterError(
            f"The window is empty: until ({until}) is not after since ({since}); choose a later until."
        )
    if asked.user_id:
        return _of_user(connection, asked, in_force, files_not_taken)
    if not asked.rule_name:
        raise ParameterError("Name a user, a rule, or both; without either there is nothing to explain.")
    if asked.message_id:
        raise ParameterError("To ask about an event, name its user too.")
    of_set = SetAsked(asked.rule_name, asked.since, asked.until, asked.where)
    funnels: Sequence[Funnel] = explain_set(connection, of_set, in_force)
    return Answer(
        tuple(shown_lines(funnel_lines(of_set, funnels))),
        funnels_json(of_set, funnels),
        shown(funnels_headline(of_set, funnels)),
    )


def _of_user(connection: Connection, asked: Asked, in_force: Rules | None, files_not_taken: Iterable[str]) -> Answer:
    if asked.where:
        raise ParameterError("where chooses among the events of all users; leave it out, or leave out the user.")
    found: Sequence[Explanation] = explain_user(
        connection,
        asked.user_id,
        in_force,
        rule_name=asked.rule_name or None,
        message_id=asked.message_id or None,
        since=asked.since,
        until=asked.until,
    )
    lines: Iterable[Line]
    if found:
        lines, headline = explanation_lines(found), explanations_headline(asked.user_id, found)
    else:
        headline = _nothing(connection, asked, in_force)
        lines = [(0, headline)]
    elsewhere = [*lines_not_taken(connection, asked.user_id), *files_not_taken]
    if elsewhere:
        lines = [*lines, (0, "What did not become an event:"), *((1, text) for text in elsewhere)]
    plain = explanations_json(asked.user_id, found, elsewhere)
    return Answer(tuple(shown_lines(lines)), plain, shown(headline))


def _nothing(connection: Connection, asked: Asked, in_force: Rules | None) -> str:
    """Return why there is nothing to explain about a user. Raises ParameterError for a rule that never existed."""
    if asked.rule_name:
        refuse_unknown_rule(connection, asked.rule_name, in_force)
    rules = [rule for rule in (in_force.rules if in_force else ()) if asked.rule_name in ("", rule.name)]
    events = events_of(connection, asked.user_id)
    chosen = [
        event
        for event in events
        if asked.message_id in ("", event.message_id)
        and (asked.since is None or event.at >= asked.since)
        and (asked.until is None or event.at < asked.until)
    ]
    wanted = [rule.trigger.event_type for rule in rules]
    return nothing_text(asked.user_id, events, chosen, wanted, asked.message_id or None)
