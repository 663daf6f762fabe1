"""Names a column so that the planner does not use it to find rows."""

from src.marketing_messaging_service.infrastructure.sql_function import SameValue


class NotByIndex(SameValue):
    """A column whose comparisons choose among rows already found, and do not find rows.

    The new events are found by the range of their ids. With the statistics of ANALYZE, and with few users and many
    types of event, SQLite's planner would rather read every event of the type in the whole history, user by user; a
    unary plus keeps it from doing so. It changes no value.
    """

    inherit_cache = True
