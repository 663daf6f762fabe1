"""What sources.yaml may say, as types."""

from collections.abc import Mapping
from typing import Annotated, Any, Literal, Self
from zoneinfo import ZoneInfo

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, PlainValidator, StrictStr, model_validator
from pydantic import Field as Limits

from src.marketing_messaging_service.staging.formats import FORMATS
from src.marketing_messaging_service.staging.sources.mapping import Anonymous
from src.marketing_messaging_service.vocabulary import PAYLOAD
from src.marketing_messaging_service.yaml_file import expectation_error, storable

MOST_ENTRIES = 200
DEEPEST_KEYS = 10


def _list_of_one(value: Any) -> Any:
    """Return a value that may be written alone as the list of it."""
    return value if isinstance(value, list) else [value]


def _zone(value: Any) -> ZoneInfo:
    try:
        return ZoneInfo(value)
    except (ValueError, TypeError, OSError, LookupError):
        raise expectation_error("the name of a time zone, such as Europe/Paris") from None


def _format_name(value: Any) -> str:
    if value not in FORMATS:
        raise expectation_error(f"one of {', '.join(FORMATS)}")
    return str(value)


def _reject_or_null(value: Any) -> bool:
    """Return whether an invalid value is left out. YAML reads null as no value."""
    if value in (None, "null"):
        return True
    if value == "reject":
        return False
    raise expectation_error("reject or null")


_Text = Annotated[StrictStr, AfterValidator(storable), Limits(min_length=1, max_length=255)]
_Zone = Annotated[ZoneInfo, PlainValidator(_zone)]


class _Part(BaseModel):
    """A part of the file: it has only its own keys, and never changes once read."""

    # Built only when a file is read, because a run without one needs none of them.
    model_config = ConfigDict(extra="forbid", frozen=True, arbitrary_types_allowed=True, defer_build=True)


class PlaceForm(_Part):
    """Where a value may be: the keys that lead to it, joined by dots."""

    key: _Text
    only_types: Annotated[tuple[_Text, ...], BeforeValidator(_list_of_one), Limits(max_length=MOST_ENTRIES)] = ()


def _place(value: Any) -> Any:
    return {"key": value} if isinstance(value, str) else value


_Place = Annotated[PlaceForm, BeforeValidator(_place)]
Places = Annotated[tuple[_Place, ...], BeforeValidator(_list_of_one), Limits(min_length=1, max_length=DEEPEST_KEYS)]


class FieldForm(_Part):
    """One field: where its value is, and what happens to an invalid one."""

    places: Annotated[Places | None, Limits(alias="from")] = None
    on_invalid: Annotated[bool, PlainValidator(_reject_or_null)] = False


def _field_form(value: Any) -> Any:
    return {"from": value} if isinstance(value, str | list) else value


class TimeForm(_Part):
    """How a time is written."""

    counts: Literal["seconds", "milliseconds"] | None = None
    """What is counted since 1970; None for a time that is written as text."""
    format: _Text | None = None
    """A form of strptime; None for ISO 8601."""
    timezone: _Zone | None = None

    @model_validator(mode="after")
    def _names_an_instant(self) -> Self:
        if self.format is not None and self.timezone is None and "%z" not in self.format:
            raise expectation_error("a timezone beside it, because a time without an offset names no instant", "format")
        return self


_TIME_WORDS: Mapping[str, Mapping[str, str]] = {
    "iso": {},
    "epoch_seconds": {"counts": "seconds"},
    "epoch_milliseconds": {"counts": "milliseconds"},
}


def _time_form(value: Any) -> Any:
    if not isinstance(value, str):
        return value
    if value not in _TIME_WORDS:
        raise expectation_error(f"{', '.join(_TIME_WORDS)}, or the keys format and timezone")
    return _TIME_WORDS[value]


class EventTypesForm(_Part):
    """What becomes of event types."""

    rename: dict[_Text, Annotated[_Text, Limits(max_length=64)]] = {}
    drop: Annotated[tuple[_Text, ...], BeforeValidator(_list_of_one), Limits(max_length=MOST_ENTRIES)] = ()
    otherwise: Annotated[_Text, Limits(max_length=64)] | None = None


class ContentIdForm(_Part):
    """What makes the id of an event that has none."""

    leave_out: Annotated[tuple[_Text, ...], BeforeValidator(_list_of_one), Limits(max_length=MOST_ENTRIES)] = ()


def _fields_are_known(fields: Mapping[str, Any]) -> Mapping[str, Any]:
    for path in fields:
        if path not in PAYLOAD.by_path:
            raise expectation_error(f"fields of the payload ({', '.join(PAYLOAD.by_path)})", path)
    return fields


_Words = Annotated[tuple[_Text, ...], BeforeValidator(_list_of_one), Limits(max_length=MOST_ENTRIES)]


class CellsForm(_Part):
    """How the cells of a CSV are written."""

    delimiter: Annotated[StrictStr, Limits(pattern=r'^[^"\r\n]$')] | None = None
    decimal: Literal[".", ","] | None = None
    true_words: _Words | None = None
    false_words: _Words | None = None


class MappingForm(_Part):
    """How one kind of source writes its events. What it does not say, the mapping that it extends says."""

    extends: _Text = "native"
    user_id: Places | None = None
    event_type: Places | None = None
    event_timestamp: Places | None = None
    message_id: Places | None = None
    properties: Places | None = None
    user_traits: Places | None = None
    fields: Annotated[
        dict[_Text, Annotated[FieldForm, BeforeValidator(_field_form)]], AfterValidator(_fields_are_known)
    ] = {}
    timestamp_form: Annotated[TimeForm, BeforeValidator(_time_form)] | None = None
    event_types: EventTypesForm = Limits(default_factory=EventTypesForm)
    content_id: ContentIdForm = Limits(default_factory=ContentIdForm)
    batch: _Text | None = None
    message_id_prefix: Annotated[StrictStr, AfterValidator(storable), Limits(max_length=64)] = ""
    anonymous_id: Places | None = None
    anonymous_user: Anonymous | None = None
    cells: CellsForm = Limits(default_factory=CellsForm)


class SourceForm(_Part):
    """Which files are written how."""

    files: Annotated[tuple[_Text, ...], BeforeValidator(_list_of_one), Limits(min_length=1, max_length=MOST_ENTRIES)]
    format: Annotated[str, PlainValidator(_format_name)] = "ndjson"
    mapping: _Text = "native"


class Sources(_Part):
    """All of sources.yaml."""

    sources: Annotated[tuple[SourceForm, ...], Limits(min_length=1, max_length=MOST_ENTRIES)]
    mappings: Annotated[dict[_Text, MappingForm], Limits(max_length=MOST_ENTRIES)] = {}
