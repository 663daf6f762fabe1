"""What a rule may say: the typed form of rules.yaml."""

from decimal import Decimal
from enum import StrEnum
from typing import Annotated, Any, Literal, Self

from pydantic import (
    AfterValidator,
    BaseModel,
    ConfigDict,
    Discriminator,
    PlainSerializer,
    PlainValidator,
    StrictBool,
    StrictStr,
    Tag,
    model_validator,
)
from pydantic import Field as Limits

from src.marketing_messaging_service.models import ALERT_CHANNEL
from src.marketing_messaging_service.vocabulary import PAYLOAD, Field, Operand, Operator, UnfitValueError
from src.marketing_messaging_service.yaml_file import STORABLE_TEXT, expectation_error, is_storable, storable

LONGEST_WINDOW_HOURS = 24 * 366 * 10
MOST_RULES = 300
"""All rules are one statement, and SQLite takes at most 500 parts in one."""
MOST_CONDITIONS = 50
MOST_VALUES = 1000


class SuppressionMode(StrEnum):
    """How often a user gets a message: every time, once in a lifetime, or once on each UTC day."""

    NONE = "none"
    ONCE_EVER = "once_ever"
    ONCE_PER_CALENDAR_DAY = "once_per_calendar_day"


def _field(value: Any) -> Field:
    """Return the field that a path names; a field itself stays one."""
    if isinstance(value, Field):
        return value
    if not isinstance(value, str) or value not in PAYLOAD.by_path:
        *others, last = (f"'{path}'" for path in PAYLOAD.by_path)
        raise expectation_error(f"{', '.join(others)} or {last}")
    return PAYLOAD.by_path[value]


_Text = Annotated[StrictStr, AfterValidator(storable)]
_Name = Annotated[StrictStr, Limits(min_length=1, max_length=64), AfterValidator(storable)]
_Channel = Annotated[StrictStr, Limits(max_length=32, pattern=r"^[a-z][a-z0-9_]*$")]


class _Part(BaseModel):
    """A part of a rule: no other keys than its own, and no change once read."""

    model_config = ConfigDict(extra="forbid", frozen=True)


class Trigger(_Part):
    """The events that a rule looks at."""

    event_type: _Name


class FieldCondition(_Part):
    """A comparison of one property or trait of the event with a value of the field's own type."""

    field: Annotated[Field, PlainValidator(_field), PlainSerializer(str)]
    operator: Operator
    value: Any = None

    @model_validator(mode="after")
    def _operator_and_value_fit(self) -> Self:
        kind, operand = self.field.kind, self.operator.operand
        if self.operator.needs_order and not kind.is_ordered:
            raise expectation_error(
                f"an operator for {kind.expected(self.field)}, which is what {self.field} holds",
                "operator",
            )
        has_value = "value" in self.model_fields_set
        if operand is Operand.NOTHING:
            if has_value:
                raise expectation_error(f"no value beside the operator {self.operator}", "value")
        elif not has_value:
            raise expectation_error(f"a value beside the operator {self.operator}", "value")
        elif operand is Operand.LIST:
            if not isinstance(self.value, list) or not 0 < len(self.value) <= MOST_VALUES:
                raise expectation_error(f"a list of 1 to {MOST_VALUES} values", "value")
            for position, item in enumerate(self.value):
                self._refuse_unfit(item, "value", position)
        else:
            self._refuse_unfit(self.value, "value")
        return self

    def _refuse_unfit(self, value: Any, *place: str | int) -> None:
        if isinstance(value, str) and not is_storable(value):
            raise expectation_error(STORABLE_TEXT, *place)
        try:
            self.field.kind.comparable(value, self.field)
        except UnfitValueError:
            expected = self.field.kind.expected(self.field)
            raise expectation_error(f"{expected} to compare {self.field} with", *place) from None

    @property
    def operand(self) -> Any:
        """What the column is compared with: a value of its own type, a list of them, or None beside no value."""
        comparable = self.field.kind.comparable
        match self.operator.operand:
            case Operand.NOTHING:
                return None
            case Operand.LIST:
                return [comparable(item, self.field) for item in self.value]
            case Operand.VALUE:
                return comparable(self.value, self.field)


def _window_hours(value: Any) -> float:
    is_number = isinstance(value, int | float) and not isinstance(value, bool)
    # Decimal, because 1.1 hours are 3960 seconds though 1.1 * 3600 is a little more.
    if not is_number or not 0 < value <= LONGEST_WINDOW_HOURS or Decimal(str(value)) * 3600 % 1:
        raise expectation_error(
            f"a number of hours above 0, at most {LONGEST_WINDOW_HOURS}, that makes whole seconds (24, 0.5)"
        )
    return float(value)


class PriorEvent(_Part):
    """Another event of the same user, at most `hours` before the event or at the same instant."""

    event_type: _Name
    hours: Annotated[float, PlainValidator(_window_hours)]

    @property
    def seconds(self) -> int:
        """The window's length."""
        return round(self.hours * 3600)


class PriorEventCondition(_Part):
    """The condition that another event came before."""

    prior_event: PriorEvent


def _kind_of_condition(value: Any) -> str:
    is_prior_event = isinstance(value, PriorEventCondition) or (isinstance(value, dict) and "prior_event" in value)
    return "prior_event_condition" if is_prior_event else "field_condition"


Condition = Annotated[
    Annotated[FieldCondition, Tag("field_condition")] | Annotated[PriorEventCondition, Tag("prior_event_condition")],
    Discriminator(_kind_of_condition),
]


class Conditions(_Part):
    """What must hold, all of it."""

    all: Annotated[tuple[Condition, ...], Limits(max_length=MOST_CONDITIONS)] = ()


class Action(_Part):
    """What a match earns: a message to the user, or an alert to our own people."""

    type: Literal["send", "alert"]
    template_name: _Name
    delivery_method: _Channel

    @property
    def is_alert(self) -> bool:
        """Whether it goes to our own people, and so counts as no send and is never suppressed."""
        return self.type == "alert"

    @model_validator(mode="after")
    def _channel_fits(self) -> Self:
        if self.is_alert != (self.delivery_method == ALERT_CHANNEL):
            expected = ALERT_CHANNEL if self.is_alert else f"a channel to users; {ALERT_CHANNEL} is for alerts"
            raise expectation_error(f"{expected}, beside the type {self.type}", "delivery_method")
        return self


class SuppressionPolicy(_Part):
    """How often the message may go out."""

    mode: SuppressionMode = SuppressionMode.NONE


class Rule(_Part):
    """One rule of rules.yaml."""

    name: _Name
    description: _Text = ""
    enabled: StrictBool = True
    exclusive_group: _Name | None = None
    trigger: Trigger
    conditions: Conditions = Conditions()
    action: Action
    suppression: SuppressionPolicy = SuppressionPolicy()

    @model_validator(mode="after")
    def _alerts_are_never_suppressed(self) -> Self:
        if self.action.is_alert and self.suppression.mode is not SuppressionMode.NONE:
            raise expectation_error("none for an alert, which is never suppressed", "suppression", "mode")
        return self


class Rules(_Part):
    """All of rules.yaml."""

    rules: Annotated[tuple[Rule, ...], Limits(max_length=MOST_RULES)]
