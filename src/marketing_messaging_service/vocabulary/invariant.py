"""A promise of the self-check: decisions and the checks themselves list them."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Connection, Select


@dataclass(frozen=True, slots=True)
class Invariant:
    """Something that must hold in every database, and the queries that find where it does not."""

    name: str
    sentence: str
    queries: Callable[[Connection], Iterable[Select[Any]]]
    """The queries for one database; each gives a row per breach, whose one column says where it is."""
    advice: str = ""
    """What to do when it does not hold, beyond the general advice for breaches, or nothing."""
