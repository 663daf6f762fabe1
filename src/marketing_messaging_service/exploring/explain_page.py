"""The Datasette page that explains: its form becomes a question, and the answer nested lists."""

import time
from collections.abc import Iterable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

from markupsafe import Markup
from sqlalchemy import Connection, select

from src.marketing_messaging_service.decisions import read_rules
from src.marketing_messaging_service.errors import ParameterError, PipelineError, RulesError
from src.marketing_messaging_service.explaining import Answer, Asked, answer, asked_where, files_not_taken
from src.marketing_messaging_service.infrastructure.database import (
    create_read_only_engine,
    interruptible,
    read_transaction,
    url_of,
)
from src.marketing_messaging_service.infrastructure.instants import within_calendar
from src.marketing_messaging_service.models import Event
from src.marketing_messaging_service.settings import load_settings

MOST_SECONDS = 20
"""How long a page may take, as for Datasette's own pages."""

FIELDS = {
    "user_id": "the user, by user_id; empty for every user",
    "rule": "only this rule; needed without a user",
    "event": "only the user's event with this message_id",
    "since": "only events from this time on, such as 2026-11-01 (UTC)",
    "until": "only events before this time",
    "where": "without a user: only events with this value, such as user_traits.country=DE",
}
"""The fields of the form, each with a hint."""


@dataclass(frozen=True, slots=True)
class Item:
    """A line with the lines below it."""

    text: str
    parts: list["Item"] = field(default_factory=list)


def explain_link(address: str, user_id: str, row: Mapping[str, Any]) -> Markup:
    """Return a cell's user with a link to the page about them, or about the decision of the row."""
    asked = {"user_id": user_id}
    names = {"rule": "rule_name", "event": "message_id", "event_id": "event_id"}
    asked |= {name: str(row[column]) for name, column in names.items() if row.get(column)}
    return Markup('{} <a href="{}?{}">why?</a>').format(user_id, address, urlencode(asked))


def explain_page(database: Path, given: Mapping[str, str]) -> dict[str, Any]:
    """Return what the page shows for the fields of its form: `items`, or the `problem` with them."""
    page: dict[str, Any] = {"fields": FIELDS, "given": given, "items": [], "problem": ""}
    if any(given.values()):
        try:
            asked, found = _answer(database, given)
            # A link from a decision names the event by its row; the form names it as people do.
            page["given"] = {**given, "event": asked.message_id}
            page["items"] = _items(found.lines)
        except PipelineError as error:
            page["problem"] = str(error)
    return page


def _answer(database: Path, given: Mapping[str, str]) -> tuple[Asked, Answer]:
    end = time.monotonic() + MOST_SECONDS
    in_force, settings = None, load_settings()
    with suppress(RulesError):
        in_force = read_rules(settings.rules_path).whole
    engine = create_read_only_engine(url_of(database))
    try:
        with interruptible(engine, lambda: time.monotonic() > end), read_transaction(engine) as connection:
            asked = _asked(connection, given)
            return asked, answer(connection, asked, in_force, files_not_taken(engine, settings, asked.user_id))
    finally:
        engine.dispose()


def _asked(connection: Connection, given: Mapping[str, str]) -> Asked:
    message_id = given.get("event", "").strip()
    if not message_id and given.get("event_id", "").isdecimal():
        found = select(Event.message_id).where(Event.id == int(given["event_id"][:18]))
        message_id = connection.scalar(found) or ""
    return Asked(
        # An id may begin or end with a space.
        user_id=given.get("user_id", ""),
        rule_name=given.get("rule", "").strip(),
        message_id=message_id,
        since=_instant("since", given),
        until=_instant("until", given),
        where=asked_where(given.get("where", "").split(",")),
    )


def _instant(name: str, given: Mapping[str, str]) -> datetime | None:
    text = given.get(name, "").strip()
    if not text:
        return None
    try:
        instant = datetime.fromisoformat(text)
    except ValueError:
        raise ParameterError(
            f"{name} is {text}, which is not a date or time; write it like 2026-11-23T10:00:00Z."
        ) from None
    return within_calendar(instant if instant.tzinfo else instant.replace(tzinfo=UTC))


def _items(lines: Iterable[tuple[int, str]]) -> list[Item]:
    """Return lines as nested lists."""
    found: list[Item] = []
    for depth, text in lines:
        place = found
        for _ in range(depth):
            place = place[-1].parts
        place.append(Item(text))
    return found
