"""Makes the content ids of many events at once from their columns."""

from collections.abc import Collection, Iterator, Sequence
from math import copysign
from typing import Any

import pyarrow as pa
from sqlalchemy import Integer

from src.marketing_messaging_service.staging.content_id import (
    DECODED_AS,
    PLAIN_FORMS,
    Content,
    ContentIds,
    PlainForm,
    Unknown,
    ids_of,
    usual_content_id,
)
from src.marketing_messaging_service.vocabulary import Field, Payload
from src.marketing_messaging_service.vocabulary.kinds import stored_instants


class ContentColumns:
    """Makes the ids of events of one payload; the given top-level keys are not content."""

    def __init__(self, payload: Payload, delivery_keys: Collection[str]) -> None:
        self._delivery_keys = delivery_keys
        self._plain_fields = _plain_fields(payload)
        self._others = [field for field in payload.fields if field.name not in PLAIN_FORMS.get(field.part, ())]

    def ids(
        self, events: pa.Table, lines: Sequence[bytes], unknown_values: Sequence[Unknown | None]
    ) -> Iterator[ContentIds | None]:
        """Yield the ids of events, given in the staged columns, as lines, and with the values of their unknown keys.

        Yields None where these do not hold everything that the line does.
        """
        if self._plain_fields is None:
            yield from [None] * len(lines)
            return
        instants = stored_instants(events["event_timestamp"]).to_pylist()
        parts = [_rows(events, fields) for fields in self._plain_fields]
        others = [(f'"{field.name}"'.encode(), events[field.staged_name].to_pylist(), field) for field in self._others]
        texts = (events[name].to_pylist() for name in ("user_id", "event_type"))
        for place, (user_id, event_type, instant, properties, traits, line, unknown) in enumerate(
            zip(*texts, instants, *parts, lines, unknown_values, strict=True)
        ):
            text = f"{instant[:10]}T{instant[11:]}+00:00"
            amount = properties[0]
            is_negative_zero = amount == 0 and copysign(1, amount) < 0
            if b"\\" in line:
                # A key may be spelled differently from its field's name.
                yield None
                continue
            said = [(field, values[place]) for key, values, field in others if key in line]
            if not (said or unknown or is_negative_zero):
                yield ContentIds(usual_content_id(user_id, event_type, text, properties, traits), ())
            elif all(type(value) is str for _, value in said):
                told = {name: dict(values) for name, values in (unknown or _NOTHING).items()}
                for field, value in said:
                    told[f"{field.part}."][field.name] = value
                known = [user_id, event_type, text, list(properties), list(traits)]
                yield ids_of(Content(known, told), self._delivery_keys)
            else:
                yield None


_NOTHING: Unknown = {"": {}, "properties.": {}, "user_traits.": {}}


def _rows(events: pa.Table, fields: Sequence[Field]) -> Iterator[tuple[Any, ...]]:
    return zip(*(events[field.staged_name].to_pylist() for field in fields), strict=True)


def _plain_fields(payload: Payload) -> list[list[Field]] | None:
    """Return the fields that are in the content in plain form, by part, in order.

    Returns None for a payload whose columns do not hold them in that form.
    """
    if [part.key for part in payload.parts] != [name for name in PLAIN_FORMS if name]:
        return None
    found = []
    for part in payload.parts:
        fields = {field.name: field for field in part.fields}
        forms = PLAIN_FORMS[part.key]
        if not all(name in fields and _is_in_form(fields[name], form) for name, form in forms.items()):
            return None
        found.append([fields[name] for name in forms])
    return found


def _is_in_form(field: Field, form: PlainForm) -> bool:
    least = field.taken.least
    if isinstance(field.column.type, Integer) and (least is None or least < 0):
        # A negative count has no plain form.
        return False
    return isinstance(field.column.type, DECODED_AS[form])
