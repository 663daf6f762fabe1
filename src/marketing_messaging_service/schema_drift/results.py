"""The result types of a repair."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class RepairedObject:
    """The result for a view or index that was missing or different."""

    kind: str
    """What it is: view or index."""
    name: str
    problem: str = ""
    """Why it could not be made or cannot be used, or nothing."""
    replaced_sql: str = ""
    """The statement of what was in its place, for the person who made it."""
