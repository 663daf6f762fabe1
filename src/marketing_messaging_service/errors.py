"""Foreseeable failures, each with one sentence that a person can act on."""

import errno
from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

MAY_PASS = frozenset(
    {
        errno.EHOSTDOWN,
        errno.EHOSTUNREACH,
        errno.EIO,
        errno.ENETDOWN,
        errno.ENETUNREACH,
        errno.ENOTCONN,
        errno.ESTALE,
        errno.ETIMEDOUT,
    }
)
"""Error numbers of a network share that is gone and may be back in a moment."""

WHO_DOES_THE_REST = (
    "What was committed stays. If this was an hourly run, the next one finishes the work; start any other run again."
)
"""What happens after a run was cut off. A backfill has a folder and a window that no other run knows."""


class PipelineError(Exception):
    """A failure whose message says what was wrong and what to do; it is shown without a traceback.

    `may_pass` says that the same may well succeed a little later on its own.
    """

    remedy: ClassVar[str] = "Do what the sentence says."
    """What to do about an error of this kind, as docs/operations.md lists it."""

    def __init__(self, message: str, *, may_pass: bool = False) -> None:
        super().__init__(message)
        self.may_pass = may_pass


class SettingsError(PipelineError):
    """A setting is unknown or malformed; the message names the variable and never repeats a secret."""

    remedy = "Correct the setting in the environment or in `.env`, then start the run again."


class ParameterError(PipelineError):
    """A run was asked for something impossible; the message says which parameter to change, and how."""

    remedy = "Correct the parameter, then start the run again; nothing was begun."


class DatabaseError(PipelineError):
    """The database file cannot be opened, migrated or written."""

    remedy = "Do what the sentence says. *hourly* then carries on without help; start any other run again."


class RefusedRowError(PipelineError):
    """The database refused a row because existing rows break one of its constraints."""

    remedy = "Run the self-check, and do what it says."


class LostRowsError(PipelineError):
    """What was written is not there, though the database reported no error: a trigger took it away."""

    remedy = "Remove the trigger that the sentence names, or have its owner change it; then start the run again."


class LandingError(PipelineError):
    """A raw file, or the landing folder itself, cannot be read as it should be."""

    remedy = "Do what the sentence says; the next run takes the file."


class SpoolError(PipelineError):
    """There is no room to keep staged rows until they are loaded."""

    remedy = "Free space for temporary files, or let TMPDIR name another folder; the next run takes the file."


class DaskError(PipelineError):
    """Files cannot be staged on Dask: no scheduler or worker answers, or a worker cannot do its task."""

    remedy = "Do what the sentence says; what was loaded stays, and the next run takes the other files."


class LoadError(PipelineError):
    """The rows of a staged file did not add up when they were loaded; nothing of it was kept."""

    remedy = "Start the run again; if it fails in the same way, report it."


@dataclass(frozen=True, slots=True)
class Fault:
    """One thing that is wrong with or odd about a file that people write."""

    sentence: str
    """What is wrong, without the line and without a full stop."""
    line: int | None = None
    """Its line, counted from 1; None if it has no line."""

    def __str__(self) -> str:
        """Return the sentence with its line, as an error lists it."""
        return self.sentence if self.line is None else f"{self.sentence} (line {self.line})"


class WrittenFileError(PipelineError):
    """A file that people write cannot be used; `faults` lists each thing that is wrong."""

    def __init__(self, message: str, faults: Sequence[Fault] = (), *, may_pass: bool = False) -> None:
        super().__init__(message, may_pass=may_pass)
        self.faults = tuple(faults)


class SourcesError(WrittenFileError):
    """sources.yaml cannot be used; the message names the source or mapping, the key, and what was expected."""

    remedy = "Correct the sources file where the sentence says; the next run takes the files."


class RulesError(WrittenFileError):
    """rules.yaml cannot be used; the message names the rule, the key, what was found and what was expected."""

    remedy = "Correct rules.yaml or sources.yaml where the sentence says; the next run takes what has waited."


class RulesTestsError(WrittenFileError):
    """The file of tests for the rules cannot be used, or one of its events is not an event."""

    remedy = "Correct the file of tests where the sentence says; nothing else depends on it."


class RunInProgressError(PipelineError):
    """Another run holds the database and did not end within the time this one was willing to wait."""

    remedy = "Look at the run that the sentence names. *hourly* carries on without help; start any other run again."


class LeaseLostError(PipelineError):
    """Another run took this one's lease, because this one showed no sign of life for too long; nothing is half done."""

    remedy = "Nothing for *hourly*; start any other run again."


class ExportError(PipelineError):
    """Rejected lines cannot be exported into a file for editing."""

    remedy = "Do what the sentence says; nothing was changed."


class ReportError(PipelineError):
    """The report of a run cannot be found, read or written."""

    remedy = "Do what the sentence says; the run itself is done."
