"""What rules.yaml may say: its typed form."""

from collections import Counter
from collections.abc import Iterator, Mapping
from decimal import Decimal
from enum import StrEnum
from functools import cache
from typing import Annotated, Any, Literal
from zoneinfo import ZoneInfo, available_timezones

from pydantic import BeforeValidator, PlainSerializer, PlainValidator, StrictBool, WithJsonSchema
from pydantic import Field as Limits
from pydantic_core import PydanticCustomError

from src.marketing_messaging_service.decisions.conditions import (
    DEEPEST_CONDITION,
    EVERYTHING,
    MOST_ENTRIES,
    Condition,
    EventCondition,
    NoCondition,
    raw_conditions,
)
from src.marketing_messaging_service.decisions.parts import (
    LATEST_TRAITS,
    Channel,
    EventField,
    Hours,
    Name,
    Part,
    Text,
    a_list_of,
    whole_number,
)
from src.marketing_messaging_service.models import ALERT_CHANNEL
from src.marketing_messaging_service.vocabulary import Period, SuppressionMode
from src.marketing_messaging_service.yaml_file import expectation_error

MOST_RULES = 300
MOST_PARTS = 50
"""How many blocks, how many limits, and how many names in one of their lists."""
LARGEST_COUNT = 1_000_000
UTC = "UTC"


class Exemption(StrEnum):
    """What a rule may be exempt from."""

    BLOCKS = "blocks"
    HOLDOUT = "holdout"
    LIMITS = "limits"


class Trigger(Part):
    """The events that a rule looks at."""

    event_type: Name


class Wait(Part):
    """How long after its event a rule decides."""

    hours: Hours


class Action(Part):
    """What a match leads to: a message to the user, or an alert to our own people."""

    type: Literal["send", "alert"]
    template_name: Name
    delivery_method: Channel

    @property
    def is_alert(self) -> bool:
        """Whether it goes to our own people, and so counts as no send and is never suppressed."""
        return self.type == "alert"

    @classmethod
    def clashes(cls, raw: Mapping[str, Any]) -> Iterator[PydanticCustomError]:
        """Yield whether the channel is not one for the type."""
        kind, channel = raw.get("type"), raw.get("delivery_method")
        if kind in ("send", "alert") and isinstance(channel, str) and (kind == "alert") != (channel == ALERT_CHANNEL):
            to_user = f"a channel such as email ({ALERT_CHANNEL} is only for alerts)"
            expected = ALERT_CHANNEL if kind == "alert" else to_user
            yield expectation_error(f"{expected}, because the type is {kind}", "delivery_method")


class SuppressionPolicy(Part):
    """How often the message may go out."""

    mode: SuppressionMode = SuppressionMode.NONE
    hours: Hours | None = None
    per: Annotated[tuple[EventField, ...], Limits(min_length=1, max_length=MOST_ENTRIES)] | None = None

    @classmethod
    def clashes(cls, raw: Mapping[str, Any]) -> Iterator[PydanticCustomError]:
        """Yield keys that do not belong to the mode, or that it lacks."""
        known: Mapping[Any, SuppressionMode] = {mode.value: mode for mode in SuppressionMode}
        written = raw.get("mode", SuppressionMode.NONE.value)
        mode = known.get(written) if isinstance(written, str) else None
        if mode is None:
            return
        if mode.needs_hours and "hours" not in raw:
            yield expectation_error(f"hours with the mode {mode}", "hours")
        if not mode.needs_hours and "hours" in raw:
            yield expectation_error(f"no hours with the mode {mode}", "hours")
        if mode is SuppressionMode.NONE and "per" in raw:
            yield expectation_error("no fields with the mode none, which never refuses a message", "per")


def _or_everything(value: Any) -> Any:
    return {"all": []} if value == {} else value


class Rule(Part):
    """One rule of rules.yaml."""

    may_be_empty = ("exclusive_group",)

    name: Name
    description: Text = ""
    enabled: StrictBool = True
    exclusive_group: Name | None = None
    trigger: Trigger
    wait: Wait | None = None
    conditions: Annotated[Condition, BeforeValidator(_or_everything, Condition | NoCondition)] = EVERYTHING
    action: Action
    suppression: SuppressionPolicy = SuppressionPolicy()
    expires_after_hours: Hours | None = None
    exempt_from: Annotated[tuple[Exemption, ...], Limits(max_length=MOST_PARTS)] = ()

    @property
    def wait_hours(self) -> Decimal:
        """How long after its event it decides; 0 means at once."""
        return self.wait.hours if self.wait else Decimal(0)

    @classmethod
    def clashes(cls, raw: Mapping[str, Any]) -> Iterator[PydanticCustomError]:
        """Yield what an alert cannot have, what does not go with waiting, and conditions that are too many."""
        action, suppression = (part if isinstance(part := raw.get(key), dict) else {} for key in _NESTED)
        if action.get("type") == "alert":
            if suppression.get("mode", SuppressionMode.NONE) != SuppressionMode.NONE:
                yield expectation_error("none, because an alert is never suppressed", "suppression", "mode")
            if "expires_after_hours" in raw:
                yield expectation_error("no such key, because an alert never expires", "expires_after_hours")
            if "exempt_from" in raw:
                yield expectation_error("no such key, because nothing can block an alert", "exempt_from")
        if raw.get("wait") is not None and raw.get("exclusive_group") is not None:
            yield expectation_error("no exclusive_group together with wait", "exclusive_group")
        yield from _clashes_of_conditions(raw)


_NESTED = ("action", "suppression")


def _clashes_of_conditions(raw: Mapping[str, Any]) -> Iterator[PydanticCustomError]:
    comparison_count = look_count = longest = 0
    for place, condition in raw_conditions(raw.get("conditions"), ("conditions",)):
        depth = sum(part in ("all", "any", "not") for part in place)
        if depth == DEEPEST_CONDITION + 1:
            yield expectation_error(f"conditions nested at most {DEEPEST_CONDITION} deep", *place)
        happened = condition.get("happened")
        longest = max(longest, *(len(a_list_of(condition.get(key))) for key in ("all", "any")))
        comparison_count += "field" in condition
        look_count += "happened" in condition or "prior_event" in condition
        if isinstance(happened, dict):
            comparison_count += len(a_list_of(happened.get("where")))
            if happened.get("since_trigger") is True and raw.get("wait") is None:
                yield expectation_error(
                    "since_trigger only in a rule with wait: without wait there is no time in between",
                    *place,
                    "happened",
                    "since_trigger",
                )
    # A list that is too long on its own is reported as such.
    if comparison_count > MOST_ENTRIES >= longest:
        yield expectation_error(f"at most {MOST_ENTRIES} comparisons in a rule, not {comparison_count}", "conditions")
    if look_count > MOST_ENTRIES >= longest:
        expected = f"at most {MOST_ENTRIES} looks at other events in a rule, not {look_count}"
        yield expectation_error(expected, "conditions")


Channels = Annotated[tuple[Channel, ...], Limits(min_length=1, max_length=MOST_PARTS)]
Templates = Annotated[tuple[Name, ...], Limits(min_length=1, max_length=MOST_PARTS)]


class Sign(Part):
    """An event that begins or ends a block."""

    event_type: Name
    where: Annotated[tuple[EventCondition, ...], Limits(max_length=MOST_ENTRIES)] = ()


class Block(Part):
    """Who gets nothing, and until when."""

    name: Name
    channels: Channels | None = None
    from_: Annotated[Sign | None, Limits(alias="from")] = None
    until: Sign | None = None
    while_: Annotated[Condition | None, Limits(alias="while")] = None

    @classmethod
    def clashes(cls, raw: Mapping[str, Any]) -> Iterator[PydanticCustomError]:
        """Yield whether it has not exactly one beginning."""
        if ("from" in raw) == ("while" in raw):
            yield expectation_error("either from (with until, or without an end) or while")
        if "until" in raw and "from" not in raw:
            yield expectation_error("no until without from", "until")
        for place, condition in raw_conditions(raw.get("while"), ("while",)):
            if "happened" in condition or "prior_event" in condition:
                yield expectation_error("a condition on latest_traits alone", *place)
            elif isinstance(path := condition.get("field"), str) and not path.startswith(f"{LATEST_TRAITS}."):
                yield expectation_error("one of latest_traits in a block", *place, "field")

    def covers(self, action: Action) -> bool:
        """Whether it looks at the channel of an action."""
        return self.channels is None or action.delivery_method in self.channels


class Limit(Part):
    """How many messages one user gets, whatever the template, or of some templates."""

    name: Name
    channels: Channels | None = None
    templates: Templates | None = None
    at_most: Annotated[int, whole_number(1, LARGEST_COUNT)]
    hours: Hours | None = None
    calendar: Period | None = None

    @classmethod
    def clashes(cls, raw: Mapping[str, Any]) -> Iterator[PydanticCustomError]:
        """Yield whether it has not exactly one length."""
        if ("hours" in raw) == ("calendar" in raw):
            yield expectation_error("either hours or calendar")

    def counts(self, channel: str, template_name: str) -> bool:
        """Whether it counts, and holds back, such a message."""
        return (self.channels is None or channel in self.channels) and (
            self.templates is None or template_name in self.templates
        )

    def covers(self, action: Action) -> bool:
        """Whether it counts, and holds back, what an action sends."""
        return self.counts(action.delivery_method, action.template_name)


def _percent(value: Any) -> Decimal:
    is_number = isinstance(value, int | float | Decimal) and not isinstance(value, bool)
    if not is_number or not 0 <= value <= 100 or Decimal(str(value)) * 100 % 1:
        raise expectation_error("a number from 0 to 100 with at most two decimals")
    return Decimal(str(value))


class Holdout(Part):
    """Users who get no message, so that the messages' effect can be measured."""

    percent: Annotated[
        Decimal,
        PlainValidator(_percent),
        PlainSerializer(float),
        WithJsonSchema({"type": "number", "minimum": 0, "maximum": 100}),
    ]
    salt: Text


def _zone(value: Any) -> ZoneInfo:
    if isinstance(value, ZoneInfo):
        return value
    # Not everything that ZoneInfo finds: `localtime` differs from machine to machine.
    if isinstance(value, str) and value in _known_zones():
        return ZoneInfo(value)
    raise expectation_error("an IANA time zone such as Europe/Paris", known=sorted(_known_zones()))


@cache
def _known_zones() -> frozenset[str]:
    return frozenset(available_timezones()) - {"localtime"}


class Rules(Part):
    """All of rules.yaml."""

    timezone: Annotated[ZoneInfo, PlainValidator(_zone, str), PlainSerializer(str)] = ZoneInfo(UTC)
    wait_for_data: StrictBool = False
    holdout: Holdout | None = None
    blocks: Annotated[tuple[Block, ...], Limits(max_length=MOST_PARTS)] = ()
    limits: Annotated[tuple[Limit, ...], Limits(max_length=MOST_PARTS)] = ()
    rules: Annotated[tuple[Rule, ...], Limits(max_length=MOST_RULES)]

    @classmethod
    def clashes(cls, raw: Mapping[str, Any]) -> Iterator[PydanticCustomError]:
        """Yield the names that are used more than once."""
        for key in ("rules", "blocks", "limits"):
            names = [part.get("name") if isinstance(part, dict) else None for part in a_list_of(raw.get(key))]
            counts: Counter[Any] = Counter(name for name in names if isinstance(name, str))
            for position, name in enumerate(names):
                if isinstance(name, str) and counts[name] > 1 and names[:position].count(name) == 1:
                    yield expectation_error(f"a name that no other {key[:-1]} has", key, position, "name")
