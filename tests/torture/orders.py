"""What a victim is to do; it imports nothing large, because both sides need it."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True, slots=True)
class Order:
    """What a victim is to run, and what is to happen to it on the way."""

    folder: str
    job: str = "hourly"
    fault: str | None = None
    """One of FAULTS, or None."""
    at: int = 0
    """The number of the point at which the fault happens, counted from 0."""
    at_label: str = ""
    """The name of the point at which it happens instead, every time."""
    target: str = ""
    """The file that the fault happens to."""
    start_at: float = 0.0
    """The time on the monotonic clock at which to begin, so that several begin at once."""
    host_name: str = ""
    """The machine that it takes itself to be on, whose lock files hold no other one back; empty for the true one."""
    user_id: int | None = None
    """The user to become before anything is opened."""
    settings: Mapping[str, str] = field(default_factory=dict)
    """Settings other than the scene's."""
    busy_timeout_seconds: int = 60
    renewals_a_lease: float = 4
    most_pages: int | None = None
    """How large the database may become, in pages of SQLite."""
    is_traced: bool = True
    """Whether it waits for a point; what it does on a server has none."""
    is_watched: bool = False
    """Whether the files that it opens and the statements that it executes are reported."""
    seed: int = 0
    """What the hostile lines follow from."""
    count: int = 0
    """How many hostile lines to stage."""
    chunk_lines: int = 10
    """How many lines make a chunk: few, so that a small file is loaded in several."""
    read_bytes: int = 2_048
    most_files: int = 11
    """How many small files are staged and loaded together at most."""
    spool_bytes: int = 16 << 20
    longest_seconds: int = 300
    """After this long the victim ends by SIGALRM: it hangs."""


AS_IN_EARNEST: Mapping[str, Any] = {"chunk_lines": 50_000, "read_bytes": 1 << 20, "most_files": 1_000}
"""The sizes that the pipeline has when nobody makes them small."""
