"""The id of an event whose producer gave it none: the same content always has the same id.

The id is a function of the raw document alone, in a form that is frozen: neither a field that is declared later nor one
that is declared otherwise changes it, so that an event that was loaded before is known when it is delivered again.
"""

import hashlib
import json
from collections.abc import Callable, Collection, Mapping, Sequence
from json import encoder
from typing import Any, NamedTuple

from sqlalchemy import Boolean, Float, Integer, String
from sqlalchemy.types import TypeEngine

from src.marketing_messaging_service.models.event_properties import PROPERTIES_IN_CONTENT_ID
from src.marketing_messaging_service.models.user_traits import TRAITS_IN_CONTENT_ID
from src.marketing_messaging_service.vocabulary import DELIVERY_KEYS
from src.marketing_messaging_service.vocabulary.values import (
    RefusedValueError,
    WrittenNumber,
    read_instant,
    read_number,
    read_whole_number,
)

CONTENT_ID_PREFIX = "content:"

PlainForm = Callable[[Any], Any]


class ContentIds(NamedTuple):
    """The id that an event's content gives it, and the ids under which earlier versions may have loaded it."""

    message_id: str
    former_ids: tuple[str, ...]


Unknown = Mapping[str, Mapping[str, Any]]
"""Values that have no plain form under their keys, by where they stand: at the top (""), "properties." or
"user_traits."."""


class Content(NamedTuple):
    """What an event says, in the form from which its id is made."""

    known: list[Any]
    """user_id, event_type and event_timestamp, a list of properties and one of traits, each in its plain form."""
    unknown: Unknown
    """Every other value, as it was written."""


def _as_it_is(value: Any) -> Any:
    return value


def _number(value: Any) -> float:
    return read_number(value, "", least=None, from_text=True)


def _count(value: Any) -> int:
    return read_whole_number(value, "", least=0, from_text=True)


def _instant(value: Any) -> str:
    """Return an instant in the form that it has in the content. Raises RefusedValueError."""
    return read_instant(value, "").isoformat(timespec="microseconds")


PLAIN_FORMS: Mapping[str, Mapping[str, PlainForm]] = {
    "": {"user_id": _as_it_is, "event_type": _as_it_is, "event_timestamp": _instant},
    "properties": dict(zip(PROPERTIES_IN_CONTENT_ID, (_number, _count, _as_it_is), strict=True)),
    "user_traits": dict.fromkeys(TRAITS_IN_CONTENT_ID, _as_it_is),
}
"""The values that are in the content in their plain form, in order, so that "3" and 3 or two ways to write an instant
are one; every other value is in it as it was written, under its key. Frozen: a change here makes every event
without a message_id a new one when it is delivered again."""

DECODED_AS: Mapping[PlainForm, tuple[type[TypeEngine[Any]], ...]] = {
    _number: (Float,),
    _count: (Integer,),
    _as_it_is: (String, Boolean),
}
"""The types of columns whose values a decoder gives in the plain form."""

_AMOUNT = 0
"""The place of the one number among the properties that can be a negative zero."""


def content_ids(document: Mapping[str, Any], delivery_keys: Collection[str] = DELIVERY_KEYS) -> ContentIds:
    """Return the id of a raw document, its numbers as WrittenNumber; the given top-level keys are not content.

    A value without a plain form counts as it is.
    """
    top = dict(document)
    levels = {name: _taken_out(top, name) for name in PLAIN_FORMS if name}
    if "message_id" in top and top["message_id"] is None:
        del top["message_id"]
    known = _plain_values(top, "")
    known += [_plain_values(level, name) for name, level in levels.items()]
    return ids_of(Content(known, {"": top, **{f"{name}.": level for name, level in levels.items()}}), delivery_keys)


def _taken_out(top: dict[str, Any], name: str) -> dict[str, Any]:
    """Take the object under a name out, and return a copy of it; a value that is not an object stays."""
    value = top.get(name)
    if value is None or isinstance(value, dict):
        top.pop(name, None)
        return dict(value or {})
    return {}


def _plain_values(level: dict[str, Any], name: str) -> list[Any]:
    """Take out the values of a level that have a plain form, and return them in that form."""
    return [_plain(level.pop(key, None), form) for key, form in PLAIN_FORMS[name].items()]


def ids_of(content: Content, delivery_keys: Collection[str]) -> ContentIds:
    """Return the id of a content without the given keys, and those that earlier versions made of it.

    These took delivery keys for content, and distinguished -0.0 from 0; later versions knew only the keys of the list.
    """
    top = content.unknown[""]
    told = {key: value for key, value in top.items() if key not in delivery_keys}
    amount = content.known[3][_AMOUNT]
    is_negative_zero = amount == 0 and str(amount).startswith("-")
    if len(told) == len(top) and not is_negative_zero:
        return ContentIds(_id_of(content.known, content.unknown), ())
    *who_what_when, properties, traits = content.known
    known = [*who_what_when, [0.0, *properties[1:]] if is_negative_zero else properties, traits]
    message_id = _id_of(known, {**content.unknown, "": told})
    by_list = {key: value for key, value in top.items() if key not in DELIVERY_KEYS}
    former = {_id_of(content.known, content.unknown): None}
    if len(by_list) != len(told):
        former[_id_of(known, {**content.unknown, "": by_list})] = None
    return ContentIds(message_id, tuple(each for each in former if each != message_id))


def _id_of(known: list[Any], unknown: Mapping[str, Any]) -> str:
    text = "".join(_canonical_json([known, unknown], 0))
    return CONTENT_ID_PREFIX + hashlib.sha256(text.encode("ascii")).hexdigest()


def usual_content_id(
    user_id: str, event_type: str, instant: str, properties: Sequence[Any], traits: Sequence[Any]
) -> str:
    """Return what `ids_of` returns, in half the time, for content without other values."""
    known = "".join(_canonical_json((user_id, event_type, instant, properties, traits), 0))
    text = f"[{known}, {_NOTHING_ELSE}]"
    return CONTENT_ID_PREFIX + hashlib.sha256(text.encode("ascii")).hexdigest()


_NOTHING_ELSE = '{"": {}, "properties.": {}, "user_traits.": {}}'


def _plain(value: Any, form: PlainForm) -> Any:
    if value is None:
        return None
    try:
        return form(value)
    except RefusedValueError:
        return value


def _content_of_number(number: WrittenNumber) -> list[object]:
    # Distinct from every string and array: no bare number is among the unknown values.
    return [0, number.text]


def _encoder() -> Callable[[Any, int], Any]:
    """Return what writes JSON in its one form: keys sorted, ASCII alone."""
    plain = json.JSONEncoder(sort_keys=True, default=_content_of_number)
    make = getattr(encoder, "c_make_encoder", None)
    if make is None:
        return lambda content, _: plain.encode(content)
    # JSONEncoder.encode would rebuild this on each call, which takes nearly half of its time. What
    # is compiled has no types.
    return make(None, _content_of_number, encoder.encode_basestring_ascii, None, ": ", ", ", True, False, True)  # type: ignore[no-any-return]


_canonical_json = _encoder()
