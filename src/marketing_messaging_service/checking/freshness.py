"""Whether events still come in."""

from datetime import datetime

from sqlalchemy import func, literal, or_, select

from src.marketing_messaging_service.infrastructure.database import UtcDateTime
from src.marketing_messaging_service.infrastructure.instants import hours_before
from src.marketing_messaging_service.infrastructure.sql_text import told
from src.marketing_messaging_service.models import Load
from src.marketing_messaging_service.results import Invariant


def fresh_loads(max_load_age_hours: int, now: datetime) -> Invariant:
    """Return the invariant that the newest load is no older than so many hours."""
    newest = func.max(Load.loaded_at)
    limit = literal(hours_before(now, max_load_age_hours), UtcDateTime)
    too_old = select(told("the newest load is of ", newest)).having(or_(newest.is_(None), newest < limit))
    return Invariant("fresh_loads", f"The newest load is not older than {max_load_age_hours} h", lambda _: [too_old])
