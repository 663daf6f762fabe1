"""The views, one a file, declared beside what each of their columns means."""

from collections.abc import Mapping
from importlib import import_module

from src.marketing_messaging_service.views.daily_messages import DAILY_MESSAGES
from src.marketing_messaging_service.views.event_dates import EVENT_DATES
from src.marketing_messaging_service.views.event_volumes import EVENT_VOLUMES
from src.marketing_messaging_service.views.latest_user_traits import LATEST_USER_TRAITS
from src.marketing_messaging_service.views.load_history import LOAD_HISTORY
from src.marketing_messaging_service.views.rejected_lines import REJECTED_LINES
from src.marketing_messaging_service.views.rejected_lines_by_reason import REJECTED_LINES_BY_REASON
from src.marketing_messaging_service.views.rule_funnel import RULE_FUNNEL
from src.marketing_messaging_service.views.suppressions_by_reason import SUPPRESSIONS_BY_REASON
from src.marketing_messaging_service.views.user_timeline import USER_TIMELINE
from src.marketing_messaging_service.views.view import View, ViewColumn
from src.marketing_messaging_service.views.waiting_events import WAITING_EVENTS
from src.marketing_messaging_service.views.waiting_messages import WAITING_MESSAGES
from src.marketing_messaging_service.views.who_stops_whom import WHO_STOPS_WHOM

VIEWS = (
    USER_TIMELINE,
    LATEST_USER_TRAITS,
    DAILY_MESSAGES,
    SUPPRESSIONS_BY_REASON,
    WHO_STOPS_WHOM,
    RULE_FUNNEL,
    WAITING_MESSAGES,
    EVENT_VOLUMES,
    EVENT_DATES,
    LOAD_HISTORY,
    WAITING_EVENTS,
    REJECTED_LINES,
    REJECTED_LINES_BY_REASON,
)
"""Every view, in reading order."""


def selects_for(dialect_name: str) -> Mapping[str, str]:
    """Return the SELECT of each view, by name, as the module here that is named like the kind of database has it."""
    selects: Mapping[str, str] = import_module(f"{__name__}.{dialect_name}").SELECTS
    return selects


__all__ = ["VIEWS", "View", "ViewColumn", "selects_for"]
