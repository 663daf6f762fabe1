"""What a self-check hands on: what it looked at, and what it found."""

from collections.abc import Mapping
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Finding:
    """What checking one invariant found."""

    invariant: str
    sentence: str
    breach_count: int
    examples: tuple[str, ...]
    """The first few breaches."""
    problem: str = ""
    """Why it could not be checked to the end, or nothing."""
    advice: str = ""
    """What to do about it, or nothing."""

    @property
    def holds(self) -> bool:
        """Whether it was checked to the end and no breach was found."""
        return self.breach_count == 0 and not self.problem


@dataclass(frozen=True, slots=True)
class CheckReport:
    """What a self-check looked at, and what it found of every invariant."""

    database: str
    copy_command: str
    """The command that keeps a copy of the database."""
    revision: str
    """The schema's."""
    row_counts: Mapping[str, int]
    """Rows by table, as far as they can be counted, for telling how much was checked."""
    findings: tuple[Finding, ...]
    warnings: tuple[str, ...] = ()
    """What breaks no promise and is odd all the same, a sentence each."""

    @property
    def broken(self) -> tuple[Finding, ...]:
        """The findings of what does not hold, or could not be checked."""
        return tuple(finding for finding in self.findings if not finding.holds)
