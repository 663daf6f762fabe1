"""Payloads that no model declares: one with a field of every kind, and any others."""

from collections.abc import Mapping, Sequence
from typing import Any

from hypothesis import strategies as st
from sqlalchemy import BigInteger, Boolean, Column, Float, ForeignKey, Integer, MetaData, String, Table
from sqlalchemy.types import TypeEngine

from src.marketing_messaging_service.infrastructure.column_types import CalendarDate, Money
from src.marketing_messaging_service.infrastructure.database import UtcDateTime
from src.marketing_messaging_service.models.taken import taken
from src.marketing_messaging_service.vocabulary import Payload, payload_of

Declaration = tuple[str, TypeEngine[Any], dict[Any, Any]]
"""The name of a field, its type, and how it is taken."""

NAMES = ("amount", "plan", "x", "user_id", "id_", "count", "Größe", "line_number", "a b", "properties")
"""Names that two parts of a payload, an event itself and its unknown keys may have too."""


def declared(parts: Mapping[str, Sequence[Declaration]]) -> Payload:
    """A payload of these fields."""
    metadata = MetaData()
    Table("events", metadata, Column("id", Integer, primary_key=True))
    return payload_of(
        {
            key: Table(
                key,
                metadata,
                Column("id", Integer, primary_key=True),
                Column("event_id", ForeignKey("events.id")),
                *(Column(name, type_, info=info) for name, type_, info in declarations),
            )
            for key, declarations in parts.items()
        }
    )


_EACH: Sequence[Declaration] = (
    ("words", String(8), {}),
    ("count", Integer(), {}),
    ("wide", BigInteger(), taken(least=1, from_text=True)),
    ("score", Float(), taken(least=-2)),
    ("said", Boolean(), {}),
    ("seen_at", UtcDateTime(), {}),
    ("born_date", CalendarDate(), {}),
    ("price", Money(2), {}),
    ("fee", Money(0), taken(least=0)),
)

EVERY_KIND = declared({"properties": _EACH, "user_traits": (*_EACH, ("tier", String(64), {}))})
"""Fields of every kind, as properties and as traits."""

_info = st.builds(taken, least=st.sampled_from((None, None, 0, 1, -3)), from_text=st.booleans())
_types: st.SearchStrategy[TypeEngine[Any]] = st.one_of(
    st.builds(String, st.sampled_from((1, 8, 64))),
    st.sampled_from((Integer(), BigInteger(), Float(), Boolean(), UtcDateTime(), CalendarDate())),
    st.builds(Money, st.sampled_from((0, 1, 2, 4, 18))),
)
_fields = st.lists(st.tuples(st.sampled_from(NAMES), _types, _info), max_size=5, unique_by=lambda each: each[0])

payloads = st.builds(lambda one, other: declared({"properties": one, "user_traits": other}), _fields, _fields)
"""Any payload."""
