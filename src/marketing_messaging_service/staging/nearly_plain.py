"""Brings ordinary producers' lines that are not quite plain into plain form by compiled code.

They have unknown keys, numbers as text, or no message_id. Every line is judged as in `line_parser`, which gets whatever
is doubtful.
"""

import re
from collections.abc import Callable, Collection, Mapping, Sequence
from datetime import datetime
from functools import partial
from typing import Annotated, Any, NamedTuple, get_args

import msgspec
from msgspec import UNSET, UnsetType

from src.marketing_messaging_service.staging.column_reader import takes_text
from src.marketing_messaging_service.staging.content_id import Unknown
from src.marketing_messaging_service.staging.line_parser import MAX_LENGTHS, MOST_LEVELS, LineParser, json_value
from src.marketing_messaging_service.vocabulary import Field, Part, Payload
from src.marketing_messaging_service.vocabulary.kinds import USUAL_INSTANT
from src.marketing_messaging_service.vocabulary.values import WrittenNumber

# RecursionError: JSON nested too deeply. UnicodeDecodeError: bytes that are not UTF-8.
NOT_PLAIN = (msgspec.MsgspecError, RecursionError, UnicodeDecodeError)

encode = msgspec.json.Encoder().encode
_decode_text = msgspec.json.Decoder(str).decode
_Keys = dict[str, msgspec.Raw]
_Unread = tuple[msgspec.Struct, str, Field]
"""A number still to be read: the part of the event, the name in it, and the field."""
_decode_keys = msgspec.json.Decoder(_Keys | None).decode


TextPaths = frozenset[str]
"""The paths of the fields whose numbers a producer writes as text."""
NO_TEXTS: TextPaths = frozenset()

MOST_FORMS = 8
"""How many ways of mixing numbers and texts get their own decoder; producers have one or two."""


class InDoubtError(Exception):
    """A line must be looked at closely."""


class PlainLine(NamedTuple):
    """A line that a column reader takes for the event that it holds, perhaps without a message_id."""

    text: bytes
    text_paths: TextPaths
    """The fields whose numbers are text, or may be; empty if there are none."""
    unknown_keys: Sequence[str]
    unknown_values: Unknown | None
    """The unknown keys' values, if there is no message_id."""


def struct_types(
    payload: Payload,
    field_type: Callable[[Field], Any],
    own_types: Mapping[str, Any],
    *,
    strict: bool,
) -> type[msgspec.Struct]:
    """Return the struct of an event for a decoder; fields missing on a line are unset.

    `field_type` gives the type of a field's values, and `own_types` those outside the payload, by name. A strict struct
    refuses unknown keys.
    """
    struct = partial(msgspec.defstruct, forbid_unknown_fields=strict, gc=False)

    def part_type(part: Part) -> Any:
        # A key in a raw event may not be a valid name in Python.
        keys = {attribute(place): field for place, field in enumerate(part.fields)}
        fields = [(name, _or_nothing(field_type(field)), UNSET) for name, field in keys.items()]
        return struct(part.key, fields, rename={name: field.name for name, field in keys.items()})

    return struct(
        "Event",
        [
            *(
                (name, type_, UNSET) if UnsetType in get_args(type_) else (name, type_)
                for name, type_ in own_types.items()
            ),
            *((part.key, _or_nothing(part_type(part)), UNSET) for part in payload.parts),
        ],
        kw_only=True,
    )


def _or_nothing(type_: Any) -> Any:
    # A raw value can itself be null, and msgspec does not allow a union with one.
    return type_ if type_ is msgspec.Raw else type_ | None | UnsetType


def attribute(place: int) -> str:
    """Return the name that a field, by its place in its part, has in a struct."""
    return f"field_{place}"


def text_of(most: int) -> Any:
    """Return the type of a text of 1 to `most` characters."""
    return Annotated[str, msgspec.Meta(min_length=1, max_length=most)]


class NearlyPlain:
    """Brings lines that hold events of one payload into plain form."""

    def __init__(self, payload: Payload, parser: LineParser) -> None:
        self._parser = parser
        self._parts = list(parser.keys.items())
        self._payload = payload
        self._decoders = {NO_TEXTS: plain_decoder(payload, strict=False)}
        self._decode_known = _kept_decoder(payload, strict=True)
        self._decode_any = _kept_decoder(payload, strict=False)
        self._numbers = [
            (key, [(name, field, field.kind.decoded_type) for name, field in numbers])
            for key, numbers in _chosen(payload, lambda field: field.kind.decoded_type is not None)
        ]
        self._instants = _chosen(payload, lambda field: field.kind.kept_type(field) is USUAL_INSTANT)

    def bring(self, line: bytes) -> PlainLine:
        """Return a line in plain form.

        Raises InDoubtError, RefusedValueError or one of NOT_PLAIN when it must be looked at closely.
        """
        for text_paths in self._decoders:
            if (found := self._in_form(line, text_paths)) is not None:
                return found
        event, levels = self._event(line)
        unread = self._unread_numbers(event)
        if (text_paths := self._new_form(unread)) and (found := self._in_form(line, text_paths)) is not None:
            return found
        self._refuse_no_instants(event)
        added_marks = self._read(unread, line, levels)
        plain = encode(event)
        self._refuse_doubles(line, plain, added_marks, levels)
        return PlainLine(plain, NO_TEXTS, *self._unknown(event, levels or self._levels(line)))

    def _in_form(self, line: bytes, text_paths: TextPaths) -> PlainLine | None:
        """Return a line if its numbers are text in exactly these fields; otherwise None."""
        try:
            event = self._decoders[text_paths](line)
        except msgspec.ValidationError:
            return None
        return PlainLine(line, text_paths, *self._unknown(event, self._levels(line)))

    def _new_form(self, unread: Sequence[_Unread]) -> TextPaths:
        """Return the fields that are text on a line, and make a decoder for them; empty if there are none."""
        values = [(getattr(part, name), field) for part, name, field in unread]
        are_texts = all(type(value) is str and takes_text(field) for value, field in values)
        if not are_texts or len(self._decoders) == MOST_FORMS:
            return NO_TEXTS
        text_paths = frozenset(field.path for _, field in values)
        if text_paths and text_paths not in self._decoders:
            # A new collection, so that another thread can iterate over the old one undisturbed.
            self._decoders = {**self._decoders, text_paths: text_decoder(self._payload, text_paths, strict=False)}
            return text_paths
        return NO_TEXTS

    def tidy(self, line: bytes) -> bytes:
        """Return a line, plain except for the way it is written, in the usual form. Raises what `bring` does."""
        event = self._decode_any(line)
        added_marks = self._read(self._unread_numbers(event), line, None)
        tidied = encode(event)
        self._refuse_doubles(line, tidied, added_marks, None)
        return tidied

    def _event(self, line: bytes) -> tuple[Any, list[_Keys] | None]:
        """Return the event on a line, and the unknown keys on all of its levels."""
        try:
            return self._decode_known(line), None
        except msgspec.ValidationError:
            return self._decode_any(line), self._levels(line)

    def _levels(self, line: bytes) -> list[_Keys]:
        """Return the keys and values at the top of a line and of each object of its payload."""
        if not line.isascii():
            # Decoders do not look at the bytes of values that they skip.
            line.decode("utf-8")
        if line.count(b"{") + line.count(b"[") > MOST_LEVELS:
            raise RecursionError
        top = _decode_keys(line) or {}
        return [top, *[(_decode_keys(top[name]) if name in top else None) or {} for name, _ in self._parts]]

    def _unknown(self, event: Any, levels: Sequence[_Keys]) -> tuple[list[str], Unknown | None]:
        """Return the paths of the unknown keys, and their values if an id needs them."""
        top, *parts = levels
        known = self._parser.top_keys
        paths = [key for key in top if key not in known]
        for (name, known), level in zip(self._parts, parts, strict=True):
            if not level.keys() <= known:
                paths += [f"{name}.{key}" for key in level if key not in known]
        return paths, None if event.message_id or not paths else self._unknown_values(levels)

    def _refuse_no_instants(self, event: Any) -> None:
        """Raise InDoubtError when a text in the form of an instant names none."""
        try:
            datetime.fromisoformat(event.event_timestamp)
            for key, instants in self._instants:
                part = getattr(event, key)
                for name, _ in instants if part else ():
                    if text := getattr(part, name):
                        datetime.fromisoformat(text)
        except ValueError:
            raise InDoubtError from None

    def _unread_numbers(self, event: Any) -> list[_Unread]:
        """Return the numbers that are not in the form of their field."""
        unread: list[_Unread] = []
        for key, numbers in self._numbers:
            if part := getattr(event, key):
                for name, field, decoded_type in numbers:
                    value = getattr(part, name)
                    if type(value) is not decoded_type and value is not UNSET and value is not None:
                        unread.append((part, name, field))
        return unread

    def _read(self, unread: Sequence[_Unread], line: bytes, levels: Sequence[_Keys] | None) -> int:
        """Put the numbers still to be read in their places, and return how many quotation marks that adds.

        Raises RefusedValueError for one that is not a number for its field.
        """
        added_marks = 0
        for part, name, field in unread:
            value = getattr(part, name)
            if type(value) is str:
                added_marks -= 2
            else:
                levels = levels or self._levels(line)
                level = levels[1 + [name for name, _ in self._parts].index(field.part)]
                value = WrittenNumber(bytes(level[field.name]).decode())
            setattr(part, name, field.kind.read(value, field))
        return added_marks

    def _refuse_doubles(self, line: bytes, plain: bytes, added_marks: int, levels: Sequence[_Keys] | None) -> None:
        """Raise InDoubtError unless it is certain that no key on a line appears twice.

        The decoder silently takes the last of several values. What it took, written again, has as many quotation marks
        as the line (plus `added_marks`) only if nothing was lost.
        """
        if b"\\\\" in line:
            # Counting cannot tell whether a mark after two of these ends a text.
            raise InDoubtError
        lost = _marks(line) + added_marks - _marks(plain)
        if lost and levels is None:
            levels = self._levels(line)
        if lost and levels:
            for known, level in zip((self._parser.top_keys, *(known for _, known in self._parts)), levels, strict=True):
                if not level.keys() <= known:
                    lost -= sum(_marks(encode(key)) + _marks(bytes(level[key])) for key in level.keys() - known)
        if lost:
            raise InDoubtError

    def _unknown_values(self, levels: Sequence[_Keys]) -> Unknown:
        top, *parts = levels
        unknown = {"": {key: _value(raw) for key, raw in top.items() if key not in self._parser.top_keys}}
        for (name, known), level in zip(self._parts, parts, strict=True):
            unknown[f"{name}."] = {key: _value(raw) for key, raw in level.items() if key not in known}
        return unknown


def plain_decoder(payload: Payload, *, strict: bool) -> Callable[[bytes], Any]:
    """Return a decoder that accepts only plain events, with or without a message_id."""
    instant = Annotated[datetime, msgspec.Meta(tz=True)]
    return _decoder(payload, lambda field: field.kind.plain_type(field), instant, strict=strict)


def text_decoder(payload: Payload, text_paths: TextPaths, *, strict: bool) -> Callable[[bytes], Any]:
    """Return a decoder that accepts what a plain one does, but with some fields' numbers only as text."""
    instant = Annotated[datetime, msgspec.Meta(tz=True)]
    return _decoder(
        payload,
        lambda field: str if field.path in text_paths else field.kind.plain_type(field),
        instant,
        strict=strict,
    )


def _kept_decoder(payload: Payload, *, strict: bool) -> Callable[[bytes], Any]:
    return _decoder(payload, lambda field: field.kind.kept_type(field), USUAL_INSTANT, strict=strict)


def _decoder(
    payload: Payload, field_type: Callable[[Field], Any], instant: Any, *, strict: bool
) -> Callable[[bytes], Any]:
    own_types = {name: text_of(most) for name, most in MAX_LENGTHS.items()}
    own_types["message_id"] |= None | UnsetType
    own_types["event_timestamp"] = instant
    decode = msgspec.json.Decoder(struct_types(payload, field_type, own_types, strict=strict)).decode
    doubtful = {field.kind.doubtful for field in payload.fields} - {None}
    return _without(doubtful, decode) if doubtful else decode


def _without(doubtful: Collection[re.Pattern[bytes] | None], decode: Callable[[bytes], Any]) -> Callable[[bytes], Any]:
    searches = [pattern.search for pattern in doubtful if pattern]

    def decode_others(line: bytes) -> Any:
        if any(search(line) for search in searches):
            raise msgspec.ValidationError("the line has a value that must be looked at closely")
        return decode(line)

    return decode_others


def _chosen(payload: Payload, is_chosen: Callable[[Field], bool]) -> list[tuple[str, list[tuple[str, Field]]]]:
    """Return the chosen fields with their names in a struct, by part."""
    chosen = {
        part.key: [(attribute(place), field) for place, field in enumerate(part.fields) if is_chosen(field)]
        for part in payload.parts
    }
    return [(key, fields) for key, fields in chosen.items() if fields]


def _marks(text: bytes) -> int:
    """Return how many quotation marks begin or end a text, for JSON without a doubled backslash."""
    marks = text.count(b'"')
    return marks - text.count(b'\\"') if b"\\" in text else marks


def _value(raw: msgspec.Raw) -> Any:
    """Return a raw value as the close look reads it."""
    text = bytes(raw)
    match text[:1]:
        case b'"':
            return _decode_text(text)
        case b"{" | b"[":
            try:
                return json_value(text.decode())
            except ValueError:
                raise InDoubtError from None
        case b"t":
            return True
        case b"f":
            return False
        case b"n":
            return None
    return WrittenNumber(text.decode())
