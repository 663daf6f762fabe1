"""Parameters of flows, in the form in which the Prefect UI can show and send them, with their bounds."""

import argparse
from datetime import UTC, datetime
from typing import Annotated, Any

from pydantic import Field, GetJsonSchemaHandler
from pydantic_core import CoreSchema

from src.marketing_messaging_service.errors import ParameterError
from src.marketing_messaging_service.infrastructure.buckets import usable_place
from src.marketing_messaging_service.infrastructure.instants import within_calendar
from src.marketing_messaging_service.paths import Place

LONGEST_AGE_HOURS = 876_000
"""The largest age that a parameter takes, a hundred years; 0 is none."""

AgeHours = Annotated[int, Field(ge=0, le=LONGEST_AGE_HOURS)]
"""An age in whole hours, 0 for none."""

AheadHours = Annotated[int, Field(ge=0, le=LONGEST_AGE_HOURS)]
"""How far ahead something may be, in whole hours; 0 is not at all."""

DEFAULT_MAX_EVENT_AHEAD_HOURS = 1
"""How far ahead of a run an event may be and still be decided: clocks differ by minutes, and offsets by whole hours."""

DEFAULT_MAX_EVENT_AGE_HOURS = 72
"""How old an event may be for a manual run to send a message: a message days late is worse than none."""

Percent = Annotated[float, Field(ge=0, le=100)]
"""A share, 0 to 100."""


class _SchemaWithoutDefault(dict[str, Any]):
    """A JSON schema that pydantic cannot add a default to."""

    def __setitem__(self, key: str, value: Any) -> None:
        if key != "default":
            super().__setitem__(key, value)


class _PlainField:
    """Declares an optional parameter as one field.

    For a union with None the form makes two tabs. An empty field is sent as null, which Prefect's server accepts only
    for a parameter without a default in its schema.
    """

    def __init__(self, **schema: Any) -> None:
        self._schema = schema

    def __get_pydantic_json_schema__(self, _schema: CoreSchema, _handler: GetJsonSchemaHandler) -> dict[str, Any]:
        return _SchemaWithoutDefault(self._schema)


InstantOrEmpty = Annotated[datetime | None, _PlainField(type="string", format="date-time")]
"""An instant; the form has a date and time picker that may be left empty."""


def read_instant(text: str) -> datetime:
    """Read an instant that was given on the command line."""
    try:
        return datetime.fromisoformat(text)
    except ValueError:
        raise argparse.ArgumentTypeError(f"{text} is not a date or time; write it like 2026-11-23T10:00:00Z") from None


def named_place(name: str, text: str) -> Place:
    """Return the folder or bucket that a parameter names. Raises ParameterError, naming the parameter."""
    try:
        return usable_place(text)
    except ValueError as error:
        raise ParameterError(f"{name} {error}.") from None


def single_instant(name: str, instant: datetime) -> datetime:
    """Return an instant in UTC. Raises ParameterError, naming the parameter, if it is none, or none in UTC."""
    if instant.tzinfo is None:
        raise ParameterError(
            f"{name} is {instant.isoformat()}, which has no UTC offset; write it like 2026-11-23T10:00:00Z."
        )
    try:
        return instant.astimezone(UTC)
    except OverflowError:
        raise ParameterError(
            f"{name} is {instant.isoformat()}, which in UTC is outside the years 0001 to 9999; choose another."
        ) from None


def end_of_window(instant: datetime) -> datetime:
    """Return the start or end of a window in UTC, which is also assumed if it has no zone.

    If it is beyond the calendar in UTC, it becomes the calendar's end: no event is between the two.
    """
    return within_calendar(instant.replace(tzinfo=UTC) if instant.tzinfo is None else instant)


def add_event_limits(parser: argparse.ArgumentParser) -> None:
    """Add the limits on the time of events to a command, like the flow's parameters."""
    parser.add_argument(
        "--max-event-age-hours",
        type=int,
        help=f"events older than this earn no message; 0 is no limit (default: {DEFAULT_MAX_EVENT_AGE_HOURS})",
    )
    parser.add_argument(
        "--max-event-ahead-hours",
        type=int,
        help="events further ahead of the run's start than this wait for their time "
        f"(default: {DEFAULT_MAX_EVENT_AHEAD_HOURS})",
    )
