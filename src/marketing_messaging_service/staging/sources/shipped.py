"""The mappings that come with the project."""

from collections.abc import Mapping

from src.marketing_messaging_service.staging.sources.mapping import Place, SourceMapping
from src.marketing_messaging_service.vocabulary import PAYLOAD

NATIVE = SourceMapping(
    name="native",
    user_id=(Place(("user_id",)),),
    event_type=(Place(("event_type",)),),
    event_timestamp=(Place(("event_timestamp",)),),
    message_id=(Place(("message_id",)),),
    parts={part.key: (Place((part.key,)),) for part in PAYLOAD.parts},
)
"""Our own words."""

SEGMENT = SourceMapping(
    name="segment",
    user_id=(Place(("userId",)),),
    # A track call has the name of its event; identify, page, screen, group and alias are what they are.
    event_type=(Place(("event",)), Place(("type",))),
    # `timestamp` is when it happened, set right for the error of the device's clock, which the other one is not.
    event_timestamp=(Place(("timestamp",)), Place(("originalTimestamp",))),
    message_id=(Place(("messageId",)),),
    parts={
        "properties": (Place(("properties",)),),
        # In a group call `traits` are those of the group.
        "user_traits": (Place(("traits",), frozenset({"identify"})), Place(("context", "traits"))),
    },
    anonymous_id=(Place(("anonymousId",)),),
    # As their clients post them: {"batch": [...], "sentAt": ...}.
    batch="batch",
)
"""What Segment and RudderStack write into their archives.

Sources: the Segment Spec, "Common fields" (segment.com/docs/connections/spec/common), and RudderStack's event spec.
"""

SHIPPED: Mapping[str, SourceMapping] = {mapping.name: mapping for mapping in (NATIVE, SEGMENT)}
