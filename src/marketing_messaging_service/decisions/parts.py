"""The building blocks of every part of rules.yaml: its base class, names, texts, hours and fields."""

from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass
from decimal import Decimal
from typing import Annotated, Any, ClassVar, Self

from pydantic import (
    AfterValidator,
    BaseModel,
    ConfigDict,
    ModelWrapValidatorHandler,
    PlainSerializer,
    PlainValidator,
    StrictStr,
    ValidationError,
    WithJsonSchema,
    model_validator,
)
from pydantic import Field as Limits
from pydantic_core import ErrorDetails, InitErrorDetails, PydanticCustomError

from src.marketing_messaging_service.vocabulary import PAYLOAD, Field
from src.marketing_messaging_service.yaml_file import expectation_error, storable

LONGEST_HOURS = 24 * 366 * 10
LATEST_TRAITS = "latest_traits"
"""The object under which a rule names a user's latest known values."""


class Part(BaseModel):
    """A part of the file: it has only its own keys, and never changes once read."""

    model_config = ConfigDict(extra="forbid", frozen=True, validate_by_name=True, validate_by_alias=True)

    may_be_empty: ClassVar[Collection[str]] = ()
    """Keys that could always be given without a value."""

    @classmethod
    def clashes(cls, raw: Mapping[str, Any]) -> Iterator[PydanticCustomError]:
        """Yield what does not go together in a part as it is in the file, whether or not its values are right."""
        yield from ()

    @classmethod
    def _empty_keys(cls, raw: Mapping[Any, Any]) -> Iterator[PydanticCustomError]:
        """Yield the keys without a value, which would be read as if they were not there."""
        for name, field in cls.model_fields.items():
            key = field.alias or name
            if key in raw and raw[key] is None and field.default is None and key not in cls.may_be_empty:
                yield expectation_error("a value, or no such key", key)

    @model_validator(mode="wrap")
    @classmethod
    def _with_clashes(cls, value: Any, handler: ModelWrapValidatorHandler[Self]) -> Self:
        """Report clashes together with wrong values, so that one correction is enough."""
        clashes = [*cls.clashes(value), *cls._empty_keys(value)] if isinstance(value, dict) else []
        errors: list[InitErrorDetails] = [{"type": clash, "input": value} for clash in clashes]
        try:
            made = handler(value)
        except ValidationError as error:
            errors = [*map(_raised_again, error.errors()), *errors]
        if errors:
            raise ValidationError.from_exception_data(cls.__name__, errors)
        return made


def _raised_again(error: ErrorDetails) -> InitErrorDetails:
    context = error.get("ctx", {})
    if error["type"] == "expectation":
        kind: str | PydanticCustomError = expectation_error(
            context["expected"], *context["place"], known=context["known"]
        )
    else:
        kind = error["type"]
    return {"type": kind, "loc": error["loc"], "input": error["input"], "ctx": context}


Text = Annotated[StrictStr, AfterValidator(storable)]
Name = Annotated[StrictStr, Limits(min_length=1, max_length=64), AfterValidator(storable)]
Channel = Annotated[StrictStr, Limits(max_length=32, pattern=r"^[a-z][a-z0-9_]*$")]


@dataclass(frozen=True, slots=True)
class FieldPath:
    """A field as a rule names it: of the event itself, or the latest known value of its user."""

    field: Field
    is_latest: bool = False

    def __str__(self) -> str:
        return f"{LATEST_TRAITS}.{self.field.name}" if self.is_latest else self.field.path


_OF_EVENTS = {path: FieldPath(field) for path, field in PAYLOAD.by_path.items()}
_LATEST = {str(path): path for path in (FieldPath(field, is_latest=True) for field in PAYLOAD.traits)}


def _one_of(paths: dict[str, FieldPath], value: Any) -> FieldPath:
    """Return the field that a path names; a field is returned as it is."""
    if isinstance(value, FieldPath):
        return value
    if not isinstance(value, str) or value not in paths:
        *others, last = (f"'{path}'" for path in paths)
        raise expectation_error(f"{', '.join(others)} or {last}", known=tuple(paths))
    return paths[value]


def _named(paths: dict[str, FieldPath]) -> WithJsonSchema:
    return WithJsonSchema({"type": "string", "enum": list(paths)})


EventField = Annotated[
    FieldPath,
    PlainValidator(lambda value: _one_of(_OF_EVENTS, value)),
    PlainSerializer(str),
    _named(_OF_EVENTS),
]
"""A property or trait of an event."""
AnyField = Annotated[
    FieldPath,
    PlainValidator(lambda value: _one_of(_OF_EVENTS | _LATEST, value)),
    PlainSerializer(str),
    _named(_OF_EVENTS | _LATEST),
]


def _hours(value: Any) -> Decimal:
    is_number = isinstance(value, int | float | Decimal) and not isinstance(value, bool)
    # From its shortest text, because 1.1 hours are 3960 seconds although 1.1 * 3600 is a little more.
    if not is_number or not 0 < value <= LONGEST_HOURS or Decimal(str(value)) * 3600 % 1:
        raise expectation_error(
            f"a number of hours such as 24 or 0.5 (above 0, at most {LONGEST_HOURS}, in whole seconds)"
        )
    return Decimal(str(value))


Hours = Annotated[
    Decimal,
    PlainValidator(_hours),
    PlainSerializer(float),
    WithJsonSchema({"type": "number", "exclusiveMinimum": 0, "maximum": LONGEST_HOURS}),
]
"""A length of time in whole seconds."""


def seconds_of(hours: Decimal) -> int:
    """Return hours as whole seconds."""
    return int(hours * 3600)


def whole_number(least: int, most: int) -> PlainValidator:
    """Return a type that takes whole numbers from one to another."""

    def checked(value: Any) -> int:
        if isinstance(value, bool) or not isinstance(value, int) or not least <= value <= most:
            raise expectation_error(f"a whole number from {least} to {most}")
        return value

    return PlainValidator(checked, json_schema_input_type=Annotated[int, Limits(ge=least, le=most)])


def a_list_of(raw: Any) -> list[Any]:
    """Return the items of a list in the file; nothing if there is no list."""
    return raw if isinstance(raw, list) else []
