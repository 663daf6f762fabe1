"""The id of an event whose producer gave it none: the same content always has the same id.

The id is a function of the raw document alone, in a form that is frozen: neither a field that is declared later nor one
that is declared otherwise changes it, so that an event that was loaded before is known when it is delivered again.
"""

import hashlib
import json
from collections.abc import Callable, Mapping
from typing import Any

from src.marketing_messaging_service.models.event_properties import PROPERTIES_IN_CONTENT_ID
from src.marketing_messaging_service.models.user_traits import TRAITS_IN_CONTENT_ID
from src.marketing_messaging_service.vocabulary.values import (
    RefusedValueError,
    WrittenNumber,
    read_instant,
    read_number,
    read_whole_number,
)

CONTENT_ID_PREFIX = "content:"

PlainForm = Callable[[Any], Any]


def _as_it_is(value: Any) -> Any:
    return value


def _number(value: Any) -> float:
    return read_number(value, "", least=None, from_text=True)


def _count(value: Any) -> int:
    return read_whole_number(value, "", least=0, from_text=True)


def _instant(value: Any) -> str:
    return read_instant(value, "").isoformat(timespec="microseconds")


_PLAIN_FORMS: Mapping[str, Mapping[str, PlainForm]] = {
    "": {"user_id": _as_it_is, "event_type": _as_it_is, "event_timestamp": _instant},
    "properties": dict(zip(PROPERTIES_IN_CONTENT_ID, (_number, _count, _as_it_is), strict=True)),
    "user_traits": dict.fromkeys(TRAITS_IN_CONTENT_ID, _as_it_is),
}
"""The values that stand in the content in their plain form, in order, so that "3" and 3 or two ways to write an instant
are one; every other value stands in it as it was written, under its key. Frozen: a change here makes every event
without a message_id a new one when it is delivered again."""


_PARTS = frozenset({"properties", "user_traits"})


def content_id(document: Mapping[str, Any]) -> str:
    """Return the id of a raw document, its numbers as WrittenNumber.

    A value that cannot be brought into its plain form counts as it is.
    """
    levels = {name: document if not name else _object_at(document, name) for name in _PLAIN_FORMS}
    known = {
        name: [_plain(levels[name].get(key), form) for key, form in forms.items()]
        for name, forms in _PLAIN_FORMS.items()
    }
    unknown = {
        f"{name}." if name else "": {
            key: value
            for key, value in levels[name].items()
            if key not in forms and not (level is document and _is_told_elsewhere(key, value))
        }
        for (name, forms), level in zip(_PLAIN_FORMS.items(), levels.values(), strict=True)
    }
    text = _CONTENT.encode([[*known[""], known["properties"], known["user_traits"]], unknown])
    return CONTENT_ID_PREFIX + hashlib.sha256(text.encode("utf-8")).hexdigest()


def _object_at(document: Mapping[str, Any], name: str) -> Mapping[str, Any]:
    value = document.get(name)
    return value if isinstance(value, dict) else {}


def _is_told_elsewhere(key: str, value: Any) -> bool:
    """Return whether what stands under a key at the top has its own place in the content, or is nothing at all."""
    return value is None if key == "message_id" else key in _PARTS and (value is None or isinstance(value, dict))


def _plain(value: Any, form: PlainForm) -> Any:
    if value is None:
        return None
    try:
        return form(value)
    except RefusedValueError:
        return value


def _content_of_number(number: WrittenNumber) -> list[object]:
    # Told apart from every string and array: no number stands bare among the unknown values.
    return [0, number.text]


_CONTENT = json.JSONEncoder(sort_keys=True, default=_content_of_number)
