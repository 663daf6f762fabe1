"""Maps a producer's words to ours: one raw document at a time, before the close look.

A mapping changes where things are and how they are written, never what is valid: its result goes through the same close
look as a line in our own words.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any, Literal

from src.marketing_messaging_service.staging.sources.times import ReadTime
from src.marketing_messaging_service.vocabulary import PAYLOAD, ReasonCode
from src.marketing_messaging_service.vocabulary.values import WrittenNumber, refuse

Document = Mapping[str, Any]
"""The content of one raw line: keys and JSON values, numbers as WrittenNumber."""


Anonymous = Literal["reject", "take", "drop"]
"""What becomes of a line with an anonymous id and no user id: it is rejected, taken under that id, or left out."""


class DroppedEventError(Exception):
    """The mapping leaves out such events on purpose."""


@dataclass(frozen=True, slots=True)
class Place:
    """Where a value may be in a raw document."""

    keys: tuple[str, ...]
    """The keys that lead to it, from the outside in."""
    only_types: frozenset[str] = frozenset()
    """The types of event, in the producer's words, for which it counts; none for all."""

    def __str__(self) -> str:
        return ".".join(self.keys)


Places = tuple[Place, ...]
"""The places where a value may be; the first that has one counts."""


@dataclass(frozen=True, slots=True)
class FieldSource:
    """What a mapping says of one field of the payload."""

    part: str
    """properties or user_traits."""
    name: str
    places: Places = ()
    """Where its value is, from the top of the document; none if it keeps its own name."""
    is_optional: bool = False
    """Whether a value that is invalid is left out, and the event kept."""


@dataclass(frozen=True)
class SourceMapping:
    """How the events of one kind of source are written."""

    name: str
    user_id: Places
    event_type: Places
    event_timestamp: Places
    message_id: Places
    parts: Mapping[str, Places]
    """By properties and user_traits, the objects that hold them; where two have one key, the earlier counts."""
    fields: tuple[FieldSource, ...] = ()
    anonymous_id: Places = ()
    anonymous_user: Anonymous = "reject"
    read_time: ReadTime | None = None
    """None for ISO 8601 text with an offset, unchanged."""
    renamed_types: Mapping[str, str] = field(default_factory=dict)
    dropped_types: frozenset[str] = frozenset()
    default_type: str = ""
    """The type of an event that names none; nothing where it must."""
    message_id_prefix: str = ""
    left_out_of_content_id: frozenset[tuple[str, ...]] = frozenset()
    batch: str = ""
    """The key at which one line may hold an array of events; none where no line does."""

    @property
    def optional_fields(self) -> frozenset[str]:
        """The fields, such as user_traits.country, whose invalid value costs the event nothing but that value."""
        return frozenset(f"{each.part}.{each.name}" for each in self.fields if each.is_optional)

    def map(self, raw: Document) -> "MappedDocument":
        """Return a raw document in our own words.

        Raises DroppedEventError for an event that is left out by its type or because nobody is known by it, and
        RefusedValueError for one of somebody who has no user id, or with a time that is not written as the mapping
        says.
        """
        raw_type = _first(raw, self.event_type, None)
        if self.default_type and _is_nothing(raw_type):
            raw_type = self.default_type
        if isinstance(raw_type, str) and raw_type in self.dropped_types:
            raise DroppedEventError(raw_type)
        mapped: dict[str, Any] = {
            "user_id": self._user_id(raw, raw_type),
            "event_type": self.renamed_types.get(raw_type, raw_type) if isinstance(raw_type, str) else raw_type,
            "event_timestamp": self._time(raw, raw_type),
            "message_id": self._message_id(raw, raw_type),
        }
        for name, places in self._own_places.items():
            if mapped[name] is None and not any(_stands(raw, place.keys) for place in places):
                # The close look distinguishes null from absent.
                del mapped[name]
        for part in self.parts:
            mapped[part] = self._part(part, raw, raw_type)
        return MappedDocument(mapped, tuple(key for key in raw if key not in self.top_keys))

    @property
    def used_keys(self) -> frozenset[tuple[str, ...]]:
        """The keys that lead to everything the mapping looks at, each from the outside in."""
        used = {place.keys for places in self._all_places() for place in places}
        for part, places in self.parts.items():
            names = [field.name for field in PAYLOAD.fields if field.part == part]
            used.update((*place.keys, name) for place in places for name in names)
        return frozenset(used | ({(self.batch,)} if self.batch else set()))

    def required(self) -> Mapping[str, Places]:
        """Return the places of what every event needs, by our name; none where there is something else for it."""
        return {
            "user_id": (*self.user_id, *self.anonymous_id),
            "event_type": () if self.default_type else self.event_type,
            "event_timestamp": self.event_timestamp,
        }

    def key_of(self, name: str) -> str:
        """Return what the producer calls a key or field of ours, such as user_traits.email; nothing if it is the same.

        Where it may be in several places, all of them are named.
        """
        places = self._places_of(name)
        said = " or ".join(dict.fromkeys(str(place) for place in places))
        return "" if said == name else said

    def _places_of(self, name: str) -> Places:
        own = {**self._own_places, **self.parts}
        if name in own:
            return own[name]
        part, _, key = name.partition(".")
        said = next((each.places for each in self.fields if (each.part, each.name) == (part, key)), ())
        return said or tuple(replace(place, keys=(*place.keys, key)) for place in self.parts.get(part, ()))

    def content(self, raw: Document) -> Document:
        """Return what of a raw document makes the id of an event that has none: all but what the mapping leaves out."""
        content = raw
        for keys in self.left_out_of_content_id:
            content = _without(content, keys)
        return content

    def _message_id(self, raw: Document, raw_type: Any) -> Any:
        message_id = _id_as_text(_first(raw, self.message_id, raw_type))
        is_id = isinstance(message_id, str) and message_id
        return f"{self.message_id_prefix}{message_id}" if is_id else message_id

    def _user_id(self, raw: Document, raw_type: Any) -> Any:
        user_id = _id_as_text(_first(raw, self.user_id, raw_type))
        if not _is_nothing(user_id):
            return user_id
        anonymous = _id_as_text(_first(raw, self.anonymous_id, raw_type))
        if _is_nothing(anonymous):
            return user_id
        if self.anonymous_user == "drop":
            raise DroppedEventError(raw_type)
        if self.anonymous_user == "reject":
            refuse(
                ReasonCode.ANONYMOUS_USER,
                "user_id",
                f"There is no {self.user_id[0]}, only {self.anonymous_id[0]}: nobody knows who the user is. If such "
                "lines are usual, write `anonymous_user: drop` in their mapping in sources.yaml (docs/sources.md).",
            )
        return anonymous

    def _time(self, raw: Document, raw_type: Any) -> Any:
        value = _first(raw, self.event_timestamp, raw_type)
        return value if value is None or self.read_time is None else self.read_time(value)

    def _part(self, part: str, raw: Document, raw_type: Any) -> Any:
        found = [_value_at(raw, place.keys) for place in self.parts[part] if _counts(place, raw_type)]
        wrong = next((value for value in found if value is not None and not isinstance(value, Mapping)), None)
        if wrong is not None:
            # The close look says what must stand there.
            return wrong
        merged: dict[str, Any] = {}
        for value in reversed(found):
            merged |= value or {}
        for source in self.fields:
            if source.part == part and source.places:
                self._rename(source, merged, raw, raw_type)
        return merged

    def _rename(self, source: FieldSource, merged: dict[str, Any], raw: Document, raw_type: Any) -> None:
        """Put the value of a renamed field under its own name, and take it away from under the producer's."""
        value = _first(raw, source.places, raw_type)
        for place in source.places:
            *parents, last = place.keys
            if any(tuple(parents) == part_place.keys for part_place in self.parts[source.part]):
                merged.pop(last, None)
        if value is not None:
            merged[source.name] = value

    @cached_property
    def _own_places(self) -> Mapping[str, Places]:
        return {
            "user_id": self.user_id,
            "event_type": self.event_type,
            "event_timestamp": self.event_timestamp,
            "message_id": self.message_id,
        }

    @cached_property
    def top_keys(self) -> frozenset[str]:
        """The keys at the top of a document at or under which the mapping looks for anything."""
        return frozenset(place.keys[0] for places in self._all_places() for place in places)

    def _all_places(self) -> Iterator[Places]:
        yield from (*self._own_places.values(), self.anonymous_id)
        yield from self.parts.values()
        yield from (source.places for source in self.fields)


@dataclass(frozen=True, slots=True)
class MappedDocument:
    """A raw document in our own words."""

    document: Document
    unknown_keys: tuple[str, ...]
    """The keys at the top of the raw document that the mapping does not look at."""


def _first(raw: Document, places: Sequence[Place], raw_type: Any) -> Any:
    """Return the first value that is more than nothing, or the last that was looked at."""
    value = None
    for place in places:
        if _counts(place, raw_type):
            value = _value_at(raw, place.keys)
            if not _is_nothing(value):
                break
    return value


def _counts(place: Place, raw_type: Any) -> bool:
    return not place.only_types or (isinstance(raw_type, str) and raw_type in place.only_types)


def _is_nothing(value: Any) -> bool:
    return value is None or value == ""


def _value_at(raw: Document, keys: Sequence[str]) -> Any:
    """Return the value at the end of the keys, None if there is none."""
    value: Any = raw
    for key in keys:
        if not isinstance(value, Mapping):
            return None
        value = value.get(key)
    return value


def _stands(raw: Document, keys: Sequence[str]) -> bool:
    """Whether there is anything at the end of the keys, even null."""
    parent = _value_at(raw, keys[:-1])
    return isinstance(parent, Mapping) and keys[-1] in parent


def _id_as_text(value: Any) -> Any:
    """Return an id that is written as a whole number as its text; other systems count their users."""
    is_count = isinstance(value, WrittenNumber) and value.text.removeprefix("-").isdigit()
    return value.text if is_count else value


def _without(raw: Document, keys: tuple[str, ...]) -> Document:
    key, *rest = keys
    if key not in raw:
        return raw
    if not rest:
        return {name: value for name, value in raw.items() if name != key}
    inner = raw[key]
    return {**raw, key: _without(inner, tuple(rest))} if isinstance(inner, Mapping) else raw
