"""What deciding hands on: how many messages of each rule were decided, and how many suppressed."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class RuleOutcome:
    """What one rule decided in a run."""

    rule_name: str
    template_name: str
    channel: str
    send_count: int
    suppression_count: int


@dataclass(frozen=True, slots=True)
class DecisionResult:
    """What deciding did: events looked at, and the outcome of every enabled rule in file order."""

    ruleset_hash: str
    event_count: int
    seconds: float
    """How long the transaction took."""
    outcomes: tuple[RuleOutcome, ...]
    again: tuple[RuleOutcome, ...] = ()
    """What came of the rules that decided again, on events that had been decided before; apart from `outcomes`."""
    ahead_count: int = 0
    """Events left undecided because they lie too far in the future."""
    waiting_count: int = 0
    """Events left undecided because no rule is enabled."""
    warnings: tuple[str, ...] = ()
    """What is odd about the rules, a sentence each."""
