"""Checks that blocks, the holdout, limits and expiry stopped what they are said to have stopped. Reads only.

A run knew the events that it or an earlier run had loaded. Where runs are recorded, each promise is checked both ways:
what was refused had to be refused, and what was sent was allowed to go out.
"""

from collections import defaultdict
from collections.abc import Hashable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal
from typing import Any

from sqlalchemy import (
    ColumnElement,
    Connection,
    Integer,
    Select,
    and_,
    case,
    exists,
    false,
    func,
    literal,
    literal_column,
    not_,
    or_,
    select,
    tuple_,
)
from sqlalchemy.orm import aliased

from src.marketing_messaging_service.decisions.audit_limits import wrong_limits
from src.marketing_messaging_service.decisions.blocks_and_holdout import is_held_out
from src.marketing_messaging_service.decisions.conditions import latest_traits
from src.marketing_messaging_service.decisions.parts import seconds_of
from src.marketing_messaging_service.decisions.recorded_rules import usable_files
from src.marketing_messaging_service.decisions.rules import Block, Exemption, Rule, Rules, Sign
from src.marketing_messaging_service.decisions.shard import shard_number
from src.marketing_messaging_service.decisions.sql_time import SecondsAfter
from src.marketing_messaging_service.decisions.truth import Looks, MatchRow, holds
from src.marketing_messaging_service.infrastructure.dialects.choice import dialect_named
from src.marketing_messaging_service.infrastructure.sql_text import told
from src.marketing_messaging_service.models import (
    ALERT_CHANNEL,
    Batch,
    BatchShard,
    EndedWait,
    Event,
    Load,
    RulesetRule,
    Run,
    SendRequest,
    Suppression,
    UserTraits,
)
from src.marketing_messaging_service.vocabulary import PAYLOAD, Field, Invariant, SuppressionReason

DecisionTable = type[SendRequest] | type[Suppression]

MOST_NAMED = 1_000
"""How many users one statement names; there are none unless something is wrong."""


def _place(table: DecisionTable) -> ColumnElement[str]:
    return told(f"{table.__tablename__}.id ", table.id, ": ", table.rule_name, " on events.id ", table.event_id)


def _by_name(whole: Rules) -> Mapping[str, Rule]:
    return {rule.name: rule for rule in whole.rules if rule.enabled and not rule.action.is_alert}


# ---- which reasons a rule can have ----


_OF_THE_FILE = (SuppressionReason.BLOCKED, SuppressionReason.HOLDOUT, SuppressionReason.LIMIT)


def _unknown_reasons(connection: Connection) -> Iterator[Select[Any]]:
    """The suppressions by a block, limit or holdout that their file does not have, or does not apply to their rule."""
    files = dict(usable_files(connection))
    reasons = (
        select(Suppression.ruleset_id, Suppression.rule_name, Suppression.suppression_reason)
        .where(or_(*(each.holds(Suppression.suppression_reason) for each in _OF_THE_FILE)))
        .distinct()
    )
    for ruleset_id, rule_name, reason in connection.execute(reasons):
        whole = files.get(ruleset_id or 0)
        rule = _by_name(whole).get(rule_name or "") if whole else None
        # Another invariant reports a missing rule.
        if whole and rule and reason not in _possible_reasons(whole, rule):
            yield select(_place(Suppression) + literal(f": {reason}, which does not stand against it")).where(
                Suppression.ruleset_id == ruleset_id,
                Suppression.rule_name == rule_name,
                Suppression.suppression_reason == reason,
            )


def _possible_reasons(whole: Rules, rule: Rule) -> Iterator[str]:
    if Exemption.BLOCKS not in rule.exempt_from:
        yield from (f"{SuppressionReason.BLOCKED}{block.name}" for block in whole.blocks if block.covers(rule.action))
    if Exemption.HOLDOUT not in rule.exempt_from and whole.holdout is not None:
        yield SuppressionReason.HOLDOUT
    if Exemption.LIMITS not in rule.exempt_from:
        yield from (f"{SuppressionReason.LIMIT}{limit.name}" for limit in whole.limits if limit.covers(rule.action))


# ---- the holdout ----


def _wrong_holdout(connection: Connection) -> Iterator[Select[Any]]:
    """The suppressions by the holdout of users who are not in it, and the sends to users who are."""
    for whole, ruleset_ids in _alike(connection, lambda whole: whole.holdout and (whole.holdout, _exempt(whole))):
        holdout = whole.holdout
        if holdout is None:
            continue
        held_to_it = [rule.name for rule in _by_name(whole).values() if Exemption.HOLDOUT not in rule.exempt_from]
        is_held_to_it = SendRequest.rule_name.in_(held_to_it), SendRequest.channel != ALERT_CHANNEL
        is_refused = (SuppressionReason.HOLDOUT.holds(Suppression.suppression_reason),)
        ways: tuple[tuple[DecisionTable, tuple[ColumnElement[bool], ...], bool], ...] = (
            (Suppression, is_refused, True),
            (SendRequest, is_held_to_it, False),
        )
        for table, conditions, is_in in ways:
            asked = (table.ruleset_id.in_(ruleset_ids), *conditions)
            users = connection.execute(select(table.user_id).where(*asked).distinct()).scalars()
            wrong = [user_id for user_id in users if is_held_out(holdout, user_id) != is_in][:MOST_NAMED]
            if wrong:
                said = " to the user " if is_in else " in spite of the holdout to the user "
                yield select(_place(table) + told(said, table.user_id)).where(*asked, table.user_id.in_(wrong))


def _exempt(whole: Rules) -> Hashable:
    return tuple((rule.name, rule.exempt_from, rule.action) for rule in _by_name(whole).values())


def _alike(connection: Connection, key: Any) -> Iterable[tuple[Rules, Sequence[int]]]:
    """Return each distinct value that the recorded files have for something, with the rulesets that have it."""
    files: dict[Hashable, Rules] = {}
    ruleset_ids: dict[Hashable, list[int]] = defaultdict(list)
    for ruleset_id, whole in usable_files(connection):
        if asked := key(whole):
            files.setdefault(asked, whole)
            ruleset_ids[asked].append(ruleset_id)
    return [(whole, ruleset_ids[asked]) for asked, whole in files.items()]


# ---- blocks ----


def _blocks_key(whole: Rules) -> Hashable:
    return whole.blocks and (*(block.model_dump_json() for block in whole.blocks), _exempt(whole))


@dataclass(frozen=True, slots=True)
class _Asked:
    """A user at a run; the same check serves all decisions that share them."""

    user_id: ColumnElement[str]
    run_id: ColumnElement[int]
    as_of: ColumnElement[Any]
    last_load_id: ColumnElement[int | None]
    event_id: ColumnElement[int]
    """The event named as the blocking one, for a refusal."""


def _wrong_blocks(connection: Connection) -> Iterator[Select[Any]]:
    """The suppressions by blocks that did not hold, or by another event, and the sends to users who were blocked."""
    for whole, ruleset_ids in _alike(connection, _blocks_key):
        rules = [rule for rule in _by_name(whole).values() if Exemption.BLOCKS not in rule.exempt_from]
        for block in whole.blocks:
            names = [rule.name for rule in rules if block.covers(rule.action)]
            reason = f"{SuppressionReason.BLOCKED}{block.name}"
            refused = _asked(connection, Suppression, ruleset_ids, names, Suppression.suppression_reason == reason)
            yield _told(
                Suppression, refused, not_(func.coalesce(_was_blocked(block, _row(refused), by=True), false())), reason
            )
            sent = _asked(connection, SendRequest, ruleset_ids, names)
            yield _told(SendRequest, sent, _was_blocked(block, _row(sent), by=False), f"in spite of {reason}")


def _asked(
    connection: Connection,
    table: DecisionTable,
    ruleset_ids: Sequence[int],
    names: Sequence[str],
    *conditions: ColumnElement[bool],
) -> Any:
    """Return each pair of user and run once, so that one user's many matches cost one look."""
    said: Any = Suppression.blocked_by_event_id if table is Suppression else literal(0)
    # Not a parameter: a server would take two of them for different values in the grouping.
    said_id = func.coalesce(said, literal_column("0", Integer))
    has_shards = dialect_named(connection.dialect.name).several_writers is not None
    # A shard that was decided later than the others knew more; a decision belongs to its user's shard.
    last_load_id = func.coalesce(BatchShard.last_load_id, Batch.last_load_id) if has_shards else Batch.last_load_id
    keys = (table.user_id, table.run_id, Batch.as_of, last_load_id.label("last_load_id"))
    asked = (
        select(*keys, said_id.label("said_id"), func.min(table.id).label("id"))
        .join(Batch, Batch.run_id == table.run_id)
        .where(table.ruleset_id.in_(ruleset_ids), table.rule_name.in_(names), Batch.as_of.is_not(None), *conditions)
    )
    if has_shards:
        own = BatchShard.shard_number == shard_number(table.user_id, Batch.shard_count)
        asked = asked.outerjoin(BatchShard, and_(BatchShard.batch_id == Batch.id, own))
    else:
        # Moved here from a server; its hash of users does not exist here.
        knew_more = exists().where(BatchShard.batch_id == Batch.id, BatchShard.last_load_id != Batch.last_load_id)
        asked = asked.where(~knew_more)
    return asked.group_by(table.user_id, table.run_id, Batch.as_of, last_load_id, said_id).subquery("asked")


def _row(asked: Any) -> _Asked:
    return _Asked(asked.c.user_id, asked.c.run_id, asked.c.as_of, asked.c.last_load_id, asked.c.said_id)


def _told(table: DecisionTable, asked: Any, is_wrong: ColumnElement[bool], what: str) -> Select[Any]:
    return (
        select(_place(table) + literal(f": {what}"))
        .select_from(asked)
        .join(table, table.id == asked.c.id)
        .where(is_wrong)
    )


def _was_blocked(block: Block, asked: _Asked, *, by: bool) -> ColumnElement[bool]:
    """Return whether a block held a user back at a run; with `by`, whether it did so by the event named."""
    if block.while_ is not None:
        traits = list(dict.fromkeys(path.field for path in latest_traits(block.while_)))
        looks = Looks(_nothing_else, lambda trait, _: _latest(trait, asked, trait.column))
        row = MatchRow(literal(0), asked.user_id, asked.as_of, asked.as_of, ())
        held = holds(block.while_, row, looks)
        if not by:
            return held
        gave = [_latest(trait, asked, Event.id) for trait in traits]
        no_giver = and_(asked.event_id == 0, *(giver.is_(None) for giver in gave))
        return and_(held, or_(no_giver, asked.event_id.in_(gave)))
    if block.from_ is None:
        raise AssertionError("a block has from or while")
    begin = _Signs(block.from_, "begin")
    last = begin.there(asked)
    if block.until is not None:
        end = _Signs(block.until, "finish")
        ended = end.there(asked).where(end.effective <= asked.as_of, end.effective > begin.effective)
        last = last.where(~exists(ended.correlate_except(*end.tables)))
    if by:
        later = _Signs(block.from_, "later")
        is_later = tuple_(later.effective, later.event.event_timestamp, later.event.id) > tuple_(
            begin.effective, begin.event.event_timestamp, begin.event.id
        )
        last = last.where(
            begin.event.id == asked.event_id,
            ~exists(later.there(asked).where(is_later).correlate_except(*later.tables)),
        )
    return exists(last.correlate_except(*begin.tables))


class _Signs:
    """The events that begin or end a block, as an alias of their own."""

    def __init__(self, sign: Sign, name: str) -> None:
        self._sign = sign
        self.event, self._load = aliased(Event, name=name), aliased(Load, name=f"{name}_load")
        self._payload = {part.table: part.table.alias(f"{name}_{part.key}") for part in PAYLOAD.parts}
        self.effective: Any = _effective_time(self._load, self.event)

    @property
    def tables(self) -> tuple[Any, ...]:
        """The tables that they are read from."""
        return self.event.__table__, self.event, self._load, *self._payload.values()

    def there(self, asked: _Asked) -> Select[Any]:
        """The ones of a user that a run knew."""
        found = (
            select(literal(1))
            .select_from(self.event)
            .outerjoin(self._load, self._load.id == self.event.load_id)
            .where(
                self.event.user_id == asked.user_id,
                self.event.event_type == self._sign.event_type,
                _was_there(self._load, asked),
            )
        )
        if self._sign.where:
            for table in self._payload.values():
                found = found.outerjoin(table, table.c.event_id == self.event.id)
        columns = {
            field.path: self._payload[part.table].c[field.name] for part in PAYLOAD.parts for field in part.fields
        }
        return found.where(*(each.compared(columns[each.field.field.path]) for each in self._sign.where))


def _effective_time(load: Any, event: Any) -> ColumnElement[Any]:
    return case((load.as_of < event.event_timestamp, load.as_of), else_=event.event_timestamp)


def _was_there(load: Any, asked: _Asked) -> ColumnElement[bool]:
    return case(
        (asked.last_load_id.is_(None), func.coalesce(load.run_id, 0) <= asked.run_id),
        else_=func.coalesce(load.id, 0) <= asked.last_load_id,
    )


def _latest(trait: Field, asked: _Asked, wanted: Any) -> Any:
    """Return the last value of a trait that a run knew for a user, or another column of the event that gave it."""
    effective = _effective_time(Load, Event)
    return (
        select(wanted)
        .select_from(Event)
        .join(UserTraits, UserTraits.event_id == Event.id)
        .outerjoin(Load, Load.id == Event.load_id)
        .where(
            Event.user_id == asked.user_id,
            trait.column.is_not(None),
            effective <= asked.as_of,
            _was_there(Load, asked),
        )
        .order_by(effective.desc(), Event.event_timestamp.desc(), Event.id.desc())
        .limit(1)
        .correlate_except(Event, UserTraits, Load)
        .scalar_subquery()
    )


def _nothing_else(*_: Any) -> ColumnElement[bool]:
    raise AssertionError("a block looks at latest_traits alone")


# ---- expiry ----


def _wrongly_late(connection: Connection) -> Iterator[Select[Any]]:
    """The sends that came too late or too old, and the expired suppressions that had not expired."""
    ended = aliased(EndedWait, name="ended")
    hours = connection.execute(
        select(RulesetRule.expires_after_hours).where(RulesetRule.expires_after_hours.is_not(None)).distinct()
    ).scalars()
    lengths = {number: seconds_of(Decimal(str(number))) for number in hours}
    has_waits = connection.execute(select(EndedWait.event_id).limit(1)).first() is not None
    if not lengths and not has_waits:
        return
    waited_too_old = func.coalesce(ended.is_too_old, false())
    for table in (SendRequest, Suppression):
        decided_for = func.coalesce(table.decision_time, table.event_timestamp)
        is_late = or_(
            *(
                and_(RulesetRule.expires_after_hours == number, SecondsAfter(decided_for, seconds) < Batch.as_of)
                for number, seconds in lengths.items()
            ),
            false(),
        )
        if table is SendRequest:
            is_wrong = and_(SendRequest.channel != ALERT_CHANNEL, or_(is_late, waited_too_old))
        else:
            is_wrong = and_(
                SuppressionReason.EXPIRED.holds(Suppression.suppression_reason),
                not_(or_(is_late, waited_too_old, _may_be_too_old())),
            )
        yield (
            select(_place(table) + told(" for ", decided_for, " at ", Batch.as_of))
            .select_from(table)
            .join(Batch, Batch.run_id == table.run_id)
            .join(
                RulesetRule,
                and_(RulesetRule.ruleset_id == table.ruleset_id, RulesetRule.rule_name == table.rule_name),
            )
            .join(Event, Event.id == table.event_id)
            .outerjoin(Load, Load.id == Event.load_id)
            .outerjoin(Run, Run.id == Load.run_id)
            .outerjoin(
                ended,
                and_(
                    ended.event_id == table.event_id,
                    ended.rule_name == table.rule_name,
                    table.decision_time.is_not(None),
                ),
            )
            .where(
                Batch.as_of.is_not(None),
                or_(RulesetRule.expires_after_hours.is_not(None), table.decision_time.is_not(None)),
                is_wrong,
            )
        )


def _may_be_too_old() -> ColumnElement[bool]:
    """Return whether an age limit may have made a suppression that did not wait expire.

    Where the rule sets none, another invariant checks which of the limits held.
    """
    return and_(
        Suppression.decision_time.is_(None),
        or_(
            RulesetRule.expires_after_hours.is_(None),
            func.coalesce(Suppression.event_timestamp < Run.oldest_event_at, false()),
            func.coalesce(Suppression.event_timestamp < Batch.oldest_event_at, false()),
        ),
    )


AUDIT_OF_REFUSALS = (
    Invariant(
        "reasons_of_the_file",
        "Every suppression by a block, a limit or the holdout is by one that the rules file has for its rule",
        _unknown_reasons,
    ),
    Invariant(
        "holdout_is_its_share",
        "Every user refused by the holdout is in it, and nobody in it got a message that was not exempt",
        _wrong_holdout,
    ),
    Invariant(
        "blocks_held",
        "Every suppression by a block names the event that blocked the user then, and no blocked user got a message",
        _wrong_blocks,
    ),
    Invariant(
        "limits_held",
        "Every suppression by a limit came when the send that it names had filled it, and no send went beyond a limit",
        wrong_limits,
    ),
    Invariant(
        "late_is_expired",
        "Every suppression that expired came too late or was too old, and no send did or was",
        _wrongly_late,
    ),
)
"""What must be true of blocks, the holdout, limits and expiry."""
