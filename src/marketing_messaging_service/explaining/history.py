"""The events of one user, found by type and time, as a batch could see them.

For each event and condition, an explanation asks about other events. Arrays keep which of these qualify, so that a user
with ten thousand events costs seconds and not their square.
"""

from bisect import bisect_left, bisect_right
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from functools import cache
from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt

from src.marketing_messaging_service.decisions.comparing import Comparer
from src.marketing_messaging_service.decisions.conditions import EventCondition, Happened

Flags: TypeAlias = npt.NDArray[np.bool_]

NEVER = 2**62
"""A batch after every other one, for events that no batch has decided."""


@dataclass(frozen=True, slots=True)
class KnownEvent:
    """An event of a user, as the database has it."""

    id: int
    message_id: str
    event_type: str
    at: datetime
    values: Mapping[str, Any]
    """Properties and traits by their path; those that it does not have are missing."""
    run_id: int | None = None
    """The run that loaded it; None where that was not recorded."""
    batch_id: int | None = None
    """The batch that decided its load; None where none did."""
    loaded_as_of: datetime | None = None
    """The logical time of the run that loaded it; None where that was not recorded."""


@dataclass(frozen=True, slots=True)
class Sight:
    """What was known when a batch decided: what its run, or an earlier one, had loaded."""

    run_id: int | None
    batch_id: int


class _Line:
    """Some events of a user, in the order of time."""

    def __init__(self, events: Sequence[KnownEvent], comparer: Comparer) -> None:
        self.events = events
        self._comparer = comparer
        self._times = [event.at for event in events]
        self._runs = np.array([event.run_id or 0 for event in events])
        self._has_run = np.array([event.run_id is not None for event in events], dtype=bool)
        self._batches = np.array([NEVER if event.batch_id is None else event.batch_id for event in events])
        self.seen = cache(self._seen)
        self._column = cache(self._column_of)
        self._qualifying: dict[str, Flags] = {}

    def between(self, start: datetime | None, end: datetime) -> slice:
        """Return the places of the events from one instant to another, both included."""
        return slice(0 if start is None else bisect_left(self._times, start), bisect_right(self._times, end))

    def _seen(self, sight: Sight | None) -> Flags:
        if sight is None:
            return np.ones(len(self.events), dtype=bool)
        by_batch = self._batches <= sight.batch_id
        return by_batch if sight.run_id is None else np.where(self._has_run, self._runs <= sight.run_id, by_batch)

    def qualifying(self, where: Sequence[EventCondition]) -> Flags:
        """Return which events meet some comparisons."""
        key = repr(where)
        if key not in self._qualifying:
            self._qualifying[key] = np.array(
                [all(self._comparer.holds(each, _value(event, each)) for each in where) for event in self.events],
                dtype=bool,
            )
        return self._qualifying[key]

    def with_value(self, path: str, value: Any) -> Flags:
        """Return which events have a value."""
        return np.asarray(self._column(path) == value, dtype=bool)

    def _column_of(self, path: str) -> npt.NDArray[np.object_]:
        column = np.empty(len(self.events), dtype=object)
        column[:] = [event.values.get(path) for event in self.events]
        return column


def _value(event: KnownEvent, condition: EventCondition) -> Any:
    return event.values.get(condition.field.field.path)


class History:
    """All of a user's events, in the order of time."""

    def __init__(self, events: Sequence[KnownEvent], comparer: Comparer) -> None:
        self.events = events
        by_type: dict[str, list[KnownEvent]] = defaultdict(list)
        by_path: dict[str, list[KnownEvent]] = defaultdict(list)
        for event in events:
            by_type[event.event_type].append(event)
            for path in event.values:
                by_path[path].append(event)
        self._by_type = {event_type: _Line(some, comparer) for event_type, some in by_type.items()}
        self._by_path = {path: _Line(some, comparer) for path, some in by_path.items()}
        self._whole = _Line(events, comparer)

    def count(
        self, happened: Happened, asking: KnownEvent, start: datetime | None, end: datetime, sight: Sight | None
    ) -> tuple[int, KnownEvent | None]:
        """Return how many other events happened as asked from one instant to another, and the last of them."""
        line = self._by_type.get(happened.event_type)
        same = [path.field.path for path in happened.same]
        if line is None or not all(path in asking.values for path in same):
            return 0, None
        within = line.between(start, end)
        found = line.seen(sight)[within]
        if happened.where:
            found = found & line.qualifying(happened.where)[within]
        for path in same:
            found = found & line.with_value(path, asking.values[path])[within]
        places = np.flatnonzero(found) + within.start
        # The event itself is among those of its own instant.
        own = line.between(asking.at, asking.at) if asking.event_type == happened.event_type else slice(0, 0)
        for place in range(own.start, own.stop):
            if line.events[place].id == asking.id:
                places = places[places != place]
        return len(places), line.events[places[-1]] if len(places) else None

    def latest(self, path: str, end: datetime, sight: Sight | None) -> KnownEvent | None:
        """Return the last event up to an instant that gave a trait; None if none did."""
        line = self._by_path.get(path)
        if line is None:
            return None
        places = np.flatnonzero(line.seen(sight)[line.between(None, end)])
        return line.events[places[-1]] if len(places) else None

    def last_of(
        self, event_type: str, where: Sequence[EventCondition], end: datetime | None, sight: Sight
    ) -> KnownEvent | None:
        """Return the last event of a type that meets some comparisons; up to an instant, if one is given."""
        line = self._by_type.get(event_type)
        if line is None:
            return None
        within = slice(0, len(line.events)) if end is None else line.between(None, end)
        found = line.seen(sight)[within]
        if where:
            found = found & line.qualifying(where)[within]
        places = np.flatnonzero(found)
        return line.events[places[-1]] if len(places) else None

    def came_later(self, end: datetime, sight: Sight) -> list[KnownEvent]:
        """Return the events up to an instant that were not known yet when a batch decided."""
        within = self._whole.between(None, end)
        return [self._whole.events[place] for place in np.flatnonzero(~self._whole.seen(sight)[within]).tolist()]
