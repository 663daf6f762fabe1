"""Why a message is suppressed: the reasons, each with everything that is said of it."""

from enum import StrEnum
from typing import Self

from sqlalchemy import ColumnElement, SQLColumnExpression

from src.marketing_messaging_service.vocabulary.once_modes import SuppressionMode

_SEND = "blocked_by_send_request_id"
_EVENT = "blocked_by_event_id"


class SuppressionReason(StrEnum):
    """Why a message must not go out, in the order of docs/rules.md: of those that hold, the first is recorded.

    It is the `suppression_reason`; if it ends in a sign, its beginning, and the name of a mode, block or limit follows.
    """

    what: str
    """What held the message back, as the table of docs/rules.md says it."""
    obstacle: str
    """What stood in the way, as that table says it; empty if nothing that has a row."""
    blocked_by: str
    """The column of suppressions that leads there; empty if none does."""
    meaning: str
    """Read in the explanation of one message; {once} is how often its rule allows it."""
    passed: str
    """What is true of the messages that it let pass, in the funnel of a rule; {name} is the name that follows."""
    step: int
    """Its place among the steps of that funnel."""
    stopped_by: str
    """What stopped the message, in the view who_stops_whom."""

    def __new__(
        cls, reason: str, what: str, in_the_way: tuple[str, str, str], meaning: str, in_funnel: tuple[int, str]
    ) -> Self:
        """Return the reason, as the text that it is, with what it means."""
        member = str.__new__(cls, reason)
        member._value_ = reason
        member.what = what
        member.stopped_by, member.obstacle, member.blocked_by = in_the_way
        member.meaning = meaning
        member.step, member.passed = in_funnel
        return member

    @property
    def has_name(self) -> bool:
        """Whether a name follows."""
        return not self.isalpha()

    @property
    def written(self) -> str:
        """How it stands in suppression_reason, in Markdown."""
        if self is SuppressionReason.ONCE:
            return f"the mode, such as `{SuppressionMode.ONCE_EVER}`"
        return f"`{self}<name>`" if self.has_name else f"`{self}`"

    @classmethod
    def of(cls, suppression_reason: str) -> Self | None:
        """Return the reason of a suppression_reason; None if it is not one."""
        return next((each for each in cls if suppression_reason.startswith(each)), None)

    def holds(self, suppression_reason: SQLColumnExpression[str]) -> ColumnElement[bool]:
        """Return whether it is the reason in a column."""
        if self.has_name:
            return suppression_reason.startswith(self.value, autoescape=True)
        return suppression_reason == self.value

    ONCE = (
        "once_",
        "the message's own once",
        ("rule", "the earliest such send", _SEND),
        "at most {once}",
        (4, "no earlier {template_name} in the way ({reason}: {once})"),
    )
    BLOCKED = (
        "blocked:",
        "blocks, in the order of the file",
        ("block", "the event that blocks", _EVENT),
        "the user was blocked",
        (2, "not blocked by {name}"),
    )
    HOLDOUT = (
        "holdout",
        "holdout",
        ("holdout", "", ""),
        "the user is in the holdout, which gets no messages",
        (3, "not in the holdout, which gets no messages"),
    )
    LIMIT = (
        "limit:",
        "limits, in the order of the file",
        ("limit", "the earliest send that counts", _SEND),
        "the user already had as many messages as it allows",
        (5, "within the limit {name}"),
    )
    EXPIRED = (
        "expired",
        "too late, or too old for the run",
        ("expired", "", ""),
        "it was too late for the message",
        (1, "in time for the message (else expired)"),
    )


_SENTENCES = (
    each.written if each is SuppressionReason.ONCE else f"{each.written} ({each.meaning})" for each in SuppressionReason
)
REASONS_SENTENCE = f"What refused it: {'; '.join(_SENTENCES)}."
"""What the column suppression_reason means."""
