"""Mappings as anybody may write them."""

from dataclasses import replace
from typing import Any
from zoneinfo import ZoneInfo

from hypothesis import strategies as st

from src.marketing_messaging_service.staging.sources.mapping import FieldSource, Place, SourceMapping
from src.marketing_messaging_service.staging.sources.shipped import NATIVE, SEGMENT
from src.marketing_messaging_service.staging.sources.times import from_epoch, in_format, naive_in
from src.marketing_messaging_service.vocabulary import Payload

PARIS = ZoneInfo("Europe/Paris")
OWN_KEYS = ("message_id", "user_id", "event_type", "event_timestamp")
OTHER_KEYS = ("userId", "event", "type", "when", "ids.user", "anonymousId", "context.traits", "context", "total", "x")


def places(*names: str) -> tuple[Place, ...]:
    return tuple(Place(tuple(name.split("."))) for name in names)


_places = st.lists(st.sampled_from((*OWN_KEYS, *OTHER_KEYS)), min_size=1, max_size=2, unique=True).map(
    lambda names: places(*names)
)
_parts = st.fixed_dictionaries(
    {
        "properties": st.sampled_from((places("properties"), places("x", "properties"))),
        "user_traits": st.sampled_from(
            (
                places("user_traits"),
                places("context.traits", "user_traits"),
                (Place(("x",), frozenset({"identify"})), *places("user_traits")),
            )
        ),
    }
)
_times = st.sampled_from(
    (
        None,
        None,
        from_epoch(1),
        from_epoch(1000),
        naive_in(PARIS),
        in_format("%d.%m.%Y %H:%M", PARIS),
        in_format("%Y-%m-%dT%H:%M:%S%z", None),
    )
)


@st.composite
def mappings(draw: st.DrawFn, payload: Payload) -> SourceMapping:
    """Our own words, Segment's, or those of any producer."""
    base = draw(st.sampled_from((NATIVE, replace(NATIVE, name="shop"), SEGMENT)))
    if base is NATIVE:
        return base
    changes: dict[str, Any] = {}
    for name in OWN_KEYS:
        if draw(st.booleans()):
            changes[name] = draw(_places)
    if base is not SEGMENT and draw(st.booleans()):
        changes["parts"] = draw(_parts)
    fields = [
        FieldSource(field.part, field.name, draw(st.one_of(st.just(()), _places)), draw(st.booleans()))
        for field in payload.fields
        if draw(st.integers(0, 2)) == 0
    ]
    return replace(
        base,
        fields=tuple(fields),
        anonymous_id=draw(st.sampled_from(((), places("anonymousId"), places("x")))),
        anonymous_user=draw(st.sampled_from(("reject", "take", "drop"))),
        read_time=draw(_times),
        renamed_types=draw(st.sampled_from(({}, {"signup": 'Sign "up"', "3": "three"}))),
        dropped_types=draw(st.sampled_from((frozenset(), frozenset({"page", "signup"})))),
        default_type=draw(st.sampled_from(("", "order"))),
        message_id_prefix=draw(st.sampled_from(("", 'shop-é"-'))),
        left_out_of_content_id=draw(st.sampled_from((frozenset(), frozenset({("x",), ("context", "traits")})))),
        **changes,
    )
