"""What is known about each user by now."""

from src.marketing_messaging_service.models import Event
from src.marketing_messaging_service.views.view import View, ViewColumn, field_passed_on, passed_on
from src.marketing_messaging_service.vocabulary import TRAITS, DataType, Field

_KEY = "event.event_timestamp || printf('%019d', event.id)"


def _latest(trait: Field) -> str:
    """Return the expression that gives the latest value of a trait.

    Each value is written after the time and id of its event, so that the greatest text is the latest value that is not
    null, for all traits in one pass; 26 characters of time and 19 of id come before it. For a value whose text is not
    exact, the expression gives the id of the event that has it.
    """
    if trait.kind.from_text is None:
        return f"CAST(substr(max(CASE WHEN trait.{trait.name} IS NOT NULL THEN {_KEY} END), 27) AS INTEGER)"
    text = f"substr(max({_KEY} || trait.{trait.name}), 46)"
    return trait.kind.shown(trait.kind.from_text(text), trait)


_EACH_LATEST = "\n".join(f"    {_latest(trait)} AS {trait.name}," for trait in TRAITS.fields)

# Runs from before there was a limit on the future decided everything; once any run has a limit, they count as having
# reached their own time and no further.
_IN_ONE_PASS = f"""\
SELECT
    event.user_id,
{_EACH_LATEST}
    max(event.event_timestamp) AS last_event_timestamp
FROM events AS event
CROSS JOIN user_traits AS trait ON trait.event_id = event.id
WHERE event.event_timestamp <= (
    SELECT
        CASE WHEN max(run.latest_event_at) IS NULL THEN '9999-12-31 23:59:59.999999'
        ELSE max(coalesce(run.latest_event_at, run.as_of)) END
    FROM runs AS run
)
GROUP BY event.user_id
"""


def _looked_up(trait: Field) -> str:
    """Return the column of a SELECT from the latest values, or from the ids of the events that have them."""
    if trait.kind.from_text is not None:
        return f"latest.{trait.name}"
    said = trait.kind.shown(f"said.{trait.name}", trait)
    return f"(SELECT {said} FROM user_traits AS said WHERE said.event_id = latest.{trait.name}) AS {trait.name}"


def _select() -> str:
    if all(trait.kind.from_text for trait in TRAITS.fields):
        return _IN_ONE_PASS
    columns = ("latest.user_id", *map(_looked_up, TRAITS.fields), "latest.last_event_timestamp")
    return "SELECT\n    " + ",\n    ".join(columns) + f"\nFROM (\n{_IN_ONE_PASS}) AS latest\n"


LATEST_USER_TRAITS = View(
    name="latest_user_traits",
    sentence="One row per user with any trait: the latest known value of each, by event_timestamp and then event id; a "
    "later event that does not say a value leaves it as it was. Events further in the future than any run has reached "
    "are left out.",
    columns=(
        passed_on(Event.user_id),
        *map(field_passed_on, TRAITS.fields),
        ViewColumn(
            "last_event_timestamp",
            DataType.TIMESTAMP,
            "When the latest event that gave any of these traits happened, in UTC.",
        ),
    ),
    reads=("events", "user_traits", "runs"),
    select=_select(),
)
