"""What a repair hands on."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class RepairedObject:
    """What became of a view or index that was missing or another than it should be."""

    kind: str
    """What it is: view or index."""
    name: str
    problem: str = ""
    """Why it could not be made or cannot be used, or nothing."""
    replaced_sql: str = ""
    """The statement of what was in its place, for whoever made it."""
