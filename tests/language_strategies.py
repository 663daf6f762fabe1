"""Rules files over the whole language, for property tests: valid, small, and full of borders that meet."""

from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any

from hypothesis import strategies as st

from src.marketing_messaging_service.vocabulary import Operand, Operator, Period, SuppressionMode, Takes
from tests.strategies import EVENT_TYPES, FIELD_VALUES, ORDERED_FIELDS, RULE_NAMES, TEMPLATES

Document = dict[str, Any]

ORDER_IDS = ("o1", "o2", "O1")
FIELDS: Mapping[str, tuple[Any, ...]] = {**FIELD_VALUES, "properties.order_id": ORDER_IDS}
TEXT_FIELDS = tuple(name for name, values in FIELDS.items() if isinstance(values[0], str))
TRAIT_FIELDS = tuple(name.removeprefix("user_traits.") for name in FIELDS if name.startswith("user_traits."))

HOURS = (0.5, 1, 12, 24, 36)
TIMEZONES = ("UTC", "Europe/Paris", "America/Sao_Paulo", "Asia/Kathmandu", "Pacific/Apia", "Australia/Lord_Howe")
PER = (None, None, ["properties.order_id"], ["user_traits.country", "properties.attempt_number"])
CHANNELS = ("email", "sms")


@st.composite
def language_documents(
    draw: st.DrawFn, max_rules: int = 5, *, looks_at_as_of: bool = True, is_dense: bool = False
) -> Document:
    """A rules file of one to five rules; without blocks and expiry where the logical time is not to matter."""
    names = draw(st.lists(st.sampled_from(RULE_NAMES), min_size=1, max_size=max_rules, unique=True))
    document: Document = {}
    if draw(st.booleans()):
        document["timezone"] = draw(st.sampled_from(TIMEZONES))
    if draw(st.sampled_from((False, False, True))):
        document["wait_for_data"] = draw(st.booleans())
    if draw(st.sampled_from((False, False, True))):
        document["holdout"] = {
            "percent": draw(st.sampled_from((0, 33.33, 50, 100))),
            "salt": draw(st.text("ab", max_size=2)),
        }
    if looks_at_as_of and draw(st.booleans()):
        document["blocks"] = [draw(_block(f"block_{number}")) for number in range(draw(st.integers(1, 2)))]
    if draw(st.booleans()):
        document["limits"] = [draw(_limit(f"limit_{number}")) for number in range(draw(st.integers(1, 2)))]
    document["rules"] = [draw(_rule(name, looks_at_as_of, is_dense)) for name in names]
    return document


@st.composite
def _rule(draw: st.DrawFn, name: str, looks_at_as_of: bool, is_dense: bool) -> Document:
    is_alert = draw(st.sampled_from((False, False, False, True)))
    has_wait = draw(st.sampled_from((False, True)))
    rule: Document = {
        "name": name,
        "trigger": {"event_type": draw(st.sampled_from(EVENT_TYPES[: 2 if is_dense else None]))},
    }
    if has_wait:
        rule["wait"] = {"hours": draw(st.sampled_from(HOURS))}
    elif draw(st.booleans()):
        rule["exclusive_group"] = draw(st.sampled_from(("first", "second")))
    if draw(st.sampled_from((False, False, True) if is_dense else (True, True, False))):
        rule["conditions"] = draw(conditions(has_wait=has_wait))
    rule["action"] = {
        "type": "alert" if is_alert else "send",
        "template_name": draw(st.sampled_from(TEMPLATES[: 2 if is_dense else None])),
        "delivery_method": "internal" if is_alert else draw(st.sampled_from(CHANNELS)),
    }
    if is_alert:
        return rule
    mode = draw(st.sampled_from(SuppressionMode))
    suppression: Document = {"mode": mode.value}
    if mode.needs_hours:
        suppression["hours"] = draw(st.sampled_from(HOURS))
    per = draw(st.sampled_from(PER))
    if per is not None and mode is not SuppressionMode.NONE:
        suppression["per"] = per
    rule["suppression"] = suppression
    if looks_at_as_of and draw(st.sampled_from((False, False, True))):
        rule["expires_after_hours"] = draw(st.sampled_from(HOURS))
    if draw(st.sampled_from((False, False, True))):
        rule["exempt_from"] = draw(st.lists(st.sampled_from(("blocks", "holdout", "limits")), min_size=1, unique=True))
    return rule


def conditions(*, has_wait: bool) -> st.SearchStrategy[Any]:
    """Conditions nested up to three deep."""
    leaf = st.one_of(comparison(), comparison(), latest_trait(), happened(has_wait=has_wait), _prior_event())

    def nest(inner: st.SearchStrategy[Any]) -> st.SearchStrategy[Any]:
        return st.one_of(
            st.lists(inner, max_size=3).map(lambda parts: {"all": parts}),
            st.lists(inner, min_size=1, max_size=3).map(lambda parts: {"any": parts}),
            inner.map(lambda part: {"not": part}),
        )

    return st.recursive(leaf, nest, max_leaves=5)


@st.composite
def comparison(draw: st.DrawFn, fields: Sequence[str] = tuple(sorted(FIELDS))) -> Document:
    """A comparison of a field of the event itself with a value of the field's own type."""
    name = draw(st.sampled_from(fields))
    return {"field": name, **draw(_operator_and_value(name))}


@st.composite
def latest_trait(draw: st.DrawFn) -> Document:
    """A comparison of the latest value that is known of the user."""
    name = draw(st.sampled_from(TRAIT_FIELDS))
    return {"field": f"latest_traits.{name}", **draw(_operator_and_value(f"user_traits.{name}"))}


@st.composite
def _operator_and_value(draw: st.DrawFn, name: str) -> Document:
    takes = {Takes.EVERYTHING: FIELDS, Takes.ORDERED: ORDERED_FIELDS, Takes.TEXT: TEXT_FIELDS}
    operator = draw(st.sampled_from([each for each in Operator if name in takes[each.takes]]))
    values = st.sampled_from(FIELDS[name])
    if operator.operand is Operand.NOTHING:
        return {"operator": operator.value}
    if operator.operand is Operand.LIST:
        return {"operator": operator.value, "value": draw(st.lists(values, min_size=1, max_size=3, unique=True))}
    value = draw(values)
    if operator.takes is Takes.TEXT:
        value = draw(st.sampled_from((value, value[:1], value[-2:], value[1:], "%", "_", "")))
    return {"operator": operator.value, "value": value}


@st.composite
def happened(draw: st.DrawFn, *, has_wait: bool) -> Document:
    """How often another event of the user happened."""
    wanted: Document = {"event_type": draw(st.sampled_from(EVENT_TYPES))}
    at_least = draw(st.sampled_from((None, None, 0, 1, 2)))
    at_most = draw(st.sampled_from((None, None, 0, 1, 2)))
    if at_most is not None:
        wanted["at_most"] = at_most
    if at_least is not None and not (at_least == 0 and at_most is None) and (at_most is None or at_least <= at_most):
        wanted["at_least"] = at_least
    window = draw(st.sampled_from(("none", "within_hours", "since_trigger")))
    if window == "within_hours":
        wanted["within_hours"] = draw(st.sampled_from(HOURS))
    elif window == "since_trigger" and has_wait:
        wanted["since_trigger"] = True
    if draw(st.sampled_from((False, False, True))):
        wanted["where"] = draw(st.lists(comparison(), min_size=1, max_size=2))
    if draw(st.sampled_from((False, False, True))):
        wanted["same"] = draw(st.sampled_from((["properties.order_id"], ["user_traits.country", "properties.amount"])))
    return {"happened": wanted}


def _prior_event() -> st.SearchStrategy[Document]:
    return st.builds(
        lambda event_type, hours: {"prior_event": {"event_type": event_type, "hours": hours}},
        st.sampled_from(EVENT_TYPES),
        st.sampled_from(HOURS),
    )


@st.composite
def _block(draw: st.DrawFn, name: str) -> Document:
    block: Document = {"name": name}
    if draw(st.booleans()):
        block["channels"] = [draw(st.sampled_from(CHANNELS))]
    if draw(st.booleans()):
        leaf = latest_trait()
        block["while"] = draw(
            st.one_of(
                leaf,
                leaf.map(lambda part: {"not": part}),
                st.lists(leaf, min_size=1, max_size=2).map(lambda parts: {"any": parts}),
            )
        )
        return block
    block["from"] = draw(_sign())
    if draw(st.booleans()):
        block["until"] = draw(_sign())
    return block


@st.composite
def _sign(draw: st.DrawFn) -> Document:
    sign: Document = {"event_type": draw(st.sampled_from(EVENT_TYPES))}
    if draw(st.sampled_from((False, False, True))):
        sign["where"] = [draw(comparison())]
    return sign


@st.composite
def _limit(draw: st.DrawFn, name: str) -> Document:
    limit: Document = {"name": name, "at_most": draw(st.integers(1, 3))}
    if draw(st.booleans()):
        limit["channels"] = [draw(st.sampled_from(CHANNELS))]
    if draw(st.sampled_from((False, False, True))):
        limit["templates"] = list(TEMPLATES[: draw(st.integers(1, 2))])
    if draw(st.booleans()):
        limit["hours"] = draw(st.sampled_from(HOURS))
    else:
        limit["calendar"] = draw(st.sampled_from(Period)).value
    return limit


@st.composite
def dense_file(draw: st.DrawFn, as_of: datetime, number: int) -> list[dict[str, Any]]:
    """Some events of one or two users, most of two types, up to two days before a run and half a day after it."""
    steps = st.sampled_from((-48, -25, -24, -13, -12, -1, -0.5, 0, 0, 0.5, 1, 12))
    events = []
    for place in range(draw(st.integers(0, 8))):
        raw: dict[str, Any] = {
            "message_id": f"m{number}-{place}",
            "user_id": draw(st.sampled_from(("u", "u", "v"))),
            "event_type": draw(st.sampled_from((*EVENT_TYPES[:2], *EVENT_TYPES))),
            "event_timestamp": (as_of + timedelta(hours=draw(steps))).isoformat(),
        }
        fields = draw(st.lists(st.sampled_from(sorted(FIELDS)), max_size=3, unique=True))
        for name in fields:
            part, _, key = name.partition(".")
            raw.setdefault(part, {})[key] = draw(st.sampled_from(FIELDS[name]))
        events.append(raw)
    return events
