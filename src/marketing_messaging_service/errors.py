"""Foreseeable failures, each told as one sentence that a person can act on."""

import errno

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
"""What the operating system says of a network share that has gone, and that may be back in a moment."""

WHO_DOES_THE_REST = (
    "What was committed stays. If this was an hourly run, the next one finishes the work; start any other run again."
)
"""What becomes of a run that was cut off. A backfill has a folder and a window that no other run knows of."""


class PipelineError(Exception):
    """A failure whose message says what was wrong and what to do; it is shown without a traceback.

    `may_pass` says that the same may well succeed a little later, without anybody doing anything.
    """

    def __init__(self, message: str, *, may_pass: bool = False) -> None:
        super().__init__(message)
        self.may_pass = may_pass


class SettingsError(PipelineError):
    """A setting is unknown or malformed; the message names the variable and never repeats a secret."""


class ParameterError(PipelineError):
    """A run was asked for something that cannot be; the message says which parameter to change, and how."""


class DatabaseError(PipelineError):
    """The database file cannot be opened, migrated or written."""


class RefusedRowError(PipelineError):
    """The database refused a row because existing rows break one of its constraints."""


class LostRowsError(PipelineError):
    """What was written does not stand, though the database reported no error: a trigger took it away."""


class LandingError(PipelineError):
    """A raw file, or the landing folder itself, cannot be read as it should be."""


class SpoolError(PipelineError):
    """There is no room for staged rows to wait in until they are loaded."""


class LoadError(PipelineError):
    """A staged file did not load as it was counted; nothing of it was kept."""


class SourcesError(PipelineError):
    """sources.yaml cannot be used; the message names the source or mapping, the key, and what was expected."""


class RulesError(PipelineError):
    """rules.yaml cannot be used; the message names the rule, the key, what stood there and what was expected."""


class RunInProgressError(PipelineError):
    """Another run holds the database and did not end within the time this one was willing to wait."""


class LeaseLostError(PipelineError):
    """Another run took the lease of this one, which stood still for too long; nothing of it is half done."""


class ReportError(PipelineError):
    """The report of a run cannot be found, read or written."""
