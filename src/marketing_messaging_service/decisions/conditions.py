"""What a rule asks about an event and its user: the typed form of conditions."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from difflib import get_close_matches
from typing import Annotated, Any, Self

from pydantic import BeforeValidator, Discriminator, StrictBool, Tag, model_validator
from pydantic import Field as Limits
from pydantic_core import PydanticCustomError
from sqlalchemy import ColumnElement, literal

from src.marketing_messaging_service.decisions.parts import (
    AnyField,
    EventField,
    FieldPath,
    Hours,
    Name,
    Part,
    a_list_of,
    whole_number,
)
from src.marketing_messaging_service.vocabulary import Operand, Operator, Takes, UnfitValueError
from src.marketing_messaging_service.yaml_file import STORABLE_TEXT, expectation_error, is_storable

MOST_ENTRIES = 50
"""How many conditions in one list, comparisons in one rule, and looks at other events in one rule."""
MOST_VALUES = 1000
DEEPEST_CONDITION = 10
LARGEST_COUNT = 1_000_000


def _known_operator(value: Any) -> Any:
    known = {str(each): each.words for each in Operator}
    if isinstance(value, str) and value not in known:
        said = [name if words == name.replace("_", " ") else f"{name} ({words})" for name, words in known.items()]
        *others, last = said
        raise expectation_error(f"{', '.join(others)} or {last}", known=list(known))
    return value


class FieldCondition(Part):
    """A comparison of a property or trait of the event, or of the latest value of a trait, with one of its own type."""

    may_be_empty = ("value",)

    field: AnyField
    operator: Annotated[Operator, BeforeValidator(_known_operator)]
    value: Any = None

    @model_validator(mode="before")
    @classmethod
    def _no_list(cls, value: Any) -> Any:
        if cls is FieldCondition and isinstance(value, list):
            raise expectation_error("all or any before a list of conditions")
        return value

    @model_validator(mode="after")
    def _operator_and_value_fit(self) -> Self:
        kind = self.field.field.kind
        if not self.operator.takes.suits(kind):
            suited = ", ".join(each for each in Operator if each.takes.suits(kind))
            raise expectation_error(f"one of {suited}, because {self.field} holds {kind.holds}", "operator")
        operand, has_value = self.operator.operand, "value" in self.model_fields_set
        if operand is Operand.NOTHING:
            if has_value:
                raise expectation_error(f"no value with the operator {self.operator}", "value")
        elif not has_value:
            raise expectation_error(f"a value with the operator {self.operator}", "value")
        elif operand is Operand.LIST:
            if not isinstance(self.value, list) or not 0 < len(self.value) <= MOST_VALUES:
                raise expectation_error(f"a list of 1 to {MOST_VALUES} values", "value")
            for position, item in enumerate(self.value):
                self._refuse_unfit(item, "value", position)
        elif isinstance(self.value, list):
            raise expectation_error(f"one value with the operator {self.operator} (in and not_in take a list)", "value")
        else:
            self._refuse_unfit(self.value, "value")
        return self

    def _refuse_unfit(self, value: Any, *place: str | int) -> None:
        field = self.field.field
        if isinstance(value, str) and not is_storable(value):
            raise expectation_error(STORABLE_TEXT, *place)
        try:
            field.kind.comparable(value, field)
        except UnfitValueError:
            expected = field.kind.expected(field)
            if field.kind.is_text and isinstance(value, int | float):
                expected += " in quotes"
            raise expectation_error(f"{expected} to compare {self.field} with", *place) from None

    @property
    def operand(self) -> Any:
        """What the column is compared with: a value of its type, a list of them, or None if there is no value."""
        field = self.field.field
        match self.operator.operand:
            case Operand.NOTHING:
                return None
            case Operand.LIST:
                return [field.kind.comparable(item, field) for item in self.value]
            case Operand.VALUE:
                return field.kind.comparable(self.value, field)

    def compared(self, column: ColumnElement[Any]) -> ColumnElement[bool]:
        """Return the comparison of a column with the value, bound with the type of the field's own column.

        By its own type, a whole number would not be bound as 64 bits, nor like the numbers of a column with decimals.
        Operators that look at characters need the text itself.
        """
        operand, type_ = self.operand, self.field.field.column.type
        if self.operator.takes is Takes.TEXT or operand is None:
            return self.operator.compare(column, operand)
        if isinstance(operand, list):
            return self.operator.compare(column, [literal(each, type_) for each in operand])
        return self.operator.compare(column, literal(operand, type_))


class EventCondition(FieldCondition):
    """A comparison of a property or trait of another event."""

    field: EventField


class PriorEvent(Part):
    """Another event of the same user, at most `hours` before the decision time or at the same instant."""

    event_type: Name
    hours: Hours


Count = Annotated[int, whole_number(0, LARGEST_COUNT)]


class Happened(Part):
    """How often another event of the same user happened up to the decision time."""

    event_type: Name
    at_least: Count | None = None
    at_most: Count | None = None
    within_hours: Hours | None = None
    since_trigger: StrictBool = False
    where: Annotated[tuple[EventCondition, ...], Limits(max_length=MOST_ENTRIES)] = ()
    same: Annotated[tuple[EventField, ...], Limits(max_length=MOST_ENTRIES)] = ()

    @classmethod
    def clashes(cls, raw: Mapping[str, Any]) -> Iterator[PydanticCustomError]:
        """Yield which counts and windows do not go together."""
        least, most = (raw.get(key) if isinstance(raw.get(key), int) else None for key in ("at_least", "at_most"))
        if raw.get("since_trigger") is True and "within_hours" in raw:
            yield expectation_error("either within_hours or since_trigger, not both", "since_trigger")
        if least is not None and most is not None and least > most:
            yield expectation_error(f"{least} or more, because at_least is {least}", "at_most")
        if least == 0 and "at_most" not in raw:
            yield expectation_error("1 or more, or at_most as well: 0 times or more is always true", "at_least")

    @property
    def least(self) -> int:
        """The smallest count that holds."""
        return (1 if self.at_most is None else 0) if self.at_least is None else self.at_least


class HappenedCondition(Part):
    """The condition that another event happened that often."""

    happened: Happened


class PriorEventCondition(Part):
    """The condition that another event came before."""

    prior_event: PriorEvent

    @property
    def happened(self) -> Happened:
        """The same as an `event_count`."""
        return Happened(event_type=self.prior_event.event_type, within_hours=self.prior_event.hours)


class AllOf(Part):
    """All of it must hold; an empty list holds."""

    all: Annotated[tuple[Condition, ...], Limits(max_length=MOST_ENTRIES)]


class AnyOf(Part):
    """At least one of them must hold."""

    any: Annotated[tuple[Condition, ...], Limits(min_length=1, max_length=MOST_ENTRIES)]


class Negation(Part):
    """What must not hold."""

    not_: Annotated[Condition, Limits(alias="not")]


class NoCondition(Part):
    """Asks nothing beyond the event's type; it always holds."""


KINDS: dict[str, type[Part]] = {
    "all": AllOf,
    "any": AnyOf,
    "not": Negation,
    "happened": HappenedCondition,
    "prior_event": PriorEventCondition,
}
"""The kinds of condition by the key that marks them; without any such key, it is a comparison."""

TAGS: dict[str, type[Part]] = {f"{key}_condition": kind for key, kind in KINDS.items()} | {
    "field_condition": FieldCondition
}
"""The kinds by their names in errors."""


def _tag(value: Any) -> str:
    for key, kind in KINDS.items():
        if isinstance(value, kind) or (isinstance(value, dict) and key in value):
            return f"{key}_condition"
    if isinstance(value, dict) and len(value) == 1:
        # So that a misspelt key is not taken for a comparison without a field.
        (written,) = value
        return "".join(f"{key}_condition" for key in get_close_matches(str(written), KINDS, 1)) or "field_condition"
    return "field_condition"


Condition = Annotated[
    Annotated[AllOf, Tag("all_condition")]
    | Annotated[AnyOf, Tag("any_condition")]
    | Annotated[Negation, Tag("not_condition")]
    | Annotated[HappenedCondition, Tag("happened_condition")]
    | Annotated[PriorEventCondition, Tag("prior_event_condition")]
    | Annotated[FieldCondition, Tag("field_condition")],
    Discriminator(_tag),
]

for _kind in (AllOf, AnyOf, Negation):
    _kind.model_rebuild()

EVERYTHING = AllOf(all=())
"""The condition of a rule that has none; it always holds."""


def parts_of(condition: Condition) -> tuple[Condition, ...]:
    """Return the conditions that a condition is made of; none if it is a single one."""
    match condition:
        case AllOf():
            return condition.all
        case AnyOf():
            return condition.any
        case Negation():
            return (condition.not_,)
        case _:
            return ()


def leaves(condition: Condition) -> Iterator[FieldCondition | HappenedCondition | PriorEventCondition]:
    """Yield the single conditions, in the order of the file."""
    if isinstance(condition, FieldCondition | HappenedCondition | PriorEventCondition):
        yield condition
    for part in parts_of(condition):
        yield from leaves(part)


def depth_of(condition: Condition) -> int:
    """Return how many conditions enclose the innermost one."""
    return max((1 + depth_of(part) for part in parts_of(condition)), default=0)


def happenings(condition: Condition) -> Iterator[Happened]:
    """Yield what a condition asks about other events."""
    for leaf in leaves(condition):
        if isinstance(leaf, HappenedCondition | PriorEventCondition):
            yield leaf.happened


def comparisons(condition: Condition) -> Iterator[FieldCondition | EventCondition]:
    """Yield every comparison, including those with other events."""
    for leaf in leaves(condition):
        if isinstance(leaf, FieldCondition):
            yield leaf
    for happened in happenings(condition):
        yield from happened.where


def latest_traits(condition: Condition) -> Iterator[FieldPath]:
    """Yield the latest traits that a condition looks at."""
    for leaf in leaves(condition):
        if isinstance(leaf, FieldCondition) and leaf.field.is_latest:
            yield leaf.field


def raw_conditions(raw: Any, place: tuple[str | int, ...]) -> Iterator[tuple[tuple[str | int, ...], Mapping[str, Any]]]:
    """Yield every condition found at a place of a file, nested ones included, with its place."""
    if not isinstance(raw, dict):
        return
    yield place, raw
    for key in ("all", "any"):
        for position, part in enumerate(a_list_of(raw.get(key))):
            yield from raw_conditions(part, (*place, key, position))
    yield from raw_conditions(raw.get("not"), (*place, "not"))
