"""Reads what a run did from the tables alone, so that every past run can be reported."""

from __future__ import annotations

from collections import Counter, defaultdict
from typing import TYPE_CHECKING, Any

from sqlalchemy import ColumnElement, Connection, and_, bindparam, case, func, or_, select

from src.marketing_messaging_service.errors import ReportError
from src.marketing_messaging_service.infrastructure.database import shown_url
from src.marketing_messaging_service.models import (
    ALERT_CHANNEL,
    Batch,
    BatchRule,
    EndedWait,
    Event,
    FlowName,
    FormerSuppression,
    HeldEvent,
    LeftOutValue,
    Load,
    RejectedRow,
    RemarkKind,
    ReplayCount,
    Ruleset,
    RulesetRule,
    Run,
    RunMode,
    RunRemark,
    RunState,
    SendRequest,
    SourceFile,
    Suppression,
    UnknownKey,
    WaitingMatch,
    WaitOutcome,
    takes_everything,
)
from src.marketing_messaging_service.reporting.finding import LISTS_THEM
from src.marketing_messaging_service.reporting.health import (
    failing_loads,
    loads_with_examples,
    too_many_collisions,
    too_many_rejected,
)
from src.marketing_messaging_service.reporting.masking import masked
from src.marketing_messaging_service.reporting.run_report import (
    AheadReport,
    KeyReport,
    LeftFiles,
    LeftOutReport,
    LineCounts,
    LoadReport,
    Problem,
    ReasonReport,
    RejectedExample,
    ReplayReport,
    RuleReport,
    RunReport,
    WaitsReport,
)
from src.marketing_messaging_service.unusual_hours import unusual_hour
from src.marketing_messaging_service.vocabulary import ReasonCode

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from datetime import datetime

    from sqlalchemy import Row

EXAMPLES_A_REASON = 3

LONGEST_READ = 500
"""How many characters of a rejected line are read: more than are shown, so that an address at the cut is noticed."""


def read_run_report(connection: Connection, run_id: int) -> RunReport:
    """Return what one run did. Raises ReportError when there is no such run.

    It reads within the connection's own transaction, so it can also report a preview that is rolled back afterwards.
    """
    row = connection.execute(
        select(Run.__table__, Ruleset.content_hash)
        .join_from(Run, Ruleset, Ruleset.id == Run.ruleset_id, isouter=True)
        .where(Run.id == run_id)
    ).one_or_none()
    if row is None:
        raise ReportError(f"There is no run {run_id}; {LISTS_THEM}")
    remarks = _remarks(connection, run_id)
    loads = _loads(connection, Load.run_id == run_id)
    return RunReport(
        run_id=row.id,
        flow_name=row.flow_name,
        mode=RunMode(row.mode),
        state=RunState(row.state),
        database=shown_url(connection.engine.url),
        source=row.source,
        as_of=row.as_of,
        started_at=row.started_at,
        ended_at=row.ended_at,
        came_in_since=_came_in_since(connection, row),
        window_start_at=row.window_start_at,
        window_end_at=row.window_end_at,
        max_event_age_hours=row.max_event_age_hours,
        max_rejected_percent=row.max_rejected_percent,
        max_event_ahead_hours=row.max_event_ahead_hours,
        flow_run_name=row.flow_run_name,
        version=row.version,
        message=row.message,
        known_file_count=row.known_file_count,
        outside_file_count=row.outside_file_count,
        loads=loads,
        reasons=_reasons(connection, run_id, loads, row.max_rejected_percent),
        replayed=_replayed(connection, run_id),
        unknown_keys=_unknown_keys(connection, run_id),
        left_out=_left_out(connection, run_id),
        held_count=_held_count(connection, run_id),
        ahead_count=_ahead_count(connection, run_id),
        ahead=_ahead(connection, run_id),
        waits=_waits(connection, run_id, row.as_of),
        decided_count=row.decided_count,
        again_rules=_again_rules(connection, run_id),
        again_count=_again_count(connection, run_id),
        decide_seconds=row.decide_seconds,
        ruleset_hash=row.content_hash,
        rules=() if row.ruleset_id is None else _rules(connection, run_id, row.ruleset_id),
        problems=tuple(Problem(each.subject, each.explanation) for each in remarks if each.kind == RemarkKind.PROBLEM),
        warnings=tuple(each.explanation for each in remarks if each.kind == RemarkKind.WARNING),
        unusual=unusual_hour(connection, run_id),
        left=tuple(
            LeftFiles(RemarkKind(each.kind), each.subject, each.explanation, each.file_count)
            for each in remarks
            if each.kind not in {RemarkKind.PROBLEM, RemarkKind.WARNING}
        ),
    )


def _came_in_since(connection: Connection, run: Row[Any]) -> datetime | None:
    """Return when the previous complete hourly run began; it left nothing in the folder."""
    if run.flow_name == FlowName.REPLAY or run.window_start_at is not None or run.window_end_at is not None:
        return None
    return connection.execute(
        select(Run.started_at)
        .where(
            Run.id < run.id,
            takes_everything(),
            Run.source == run.source,
            Run.state == RunState.COMPLETED,
        )
        .order_by(Run.id.desc())
        .limit(1)
    ).scalar_one_or_none()


def _remarks(connection: Connection, run_id: int) -> Sequence[Row[str, str, str, int]]:
    return connection.execute(
        select(RunRemark.kind, RunRemark.subject, RunRemark.explanation, RunRemark.file_count)
        .where(RunRemark.run_id == run_id)
        .order_by(RunRemark.remark_position)
    ).all()


def read_rejection_problems(connection: Connection, run_id: int) -> list[Problem]:
    """Return what is wrong when more lines were rejected than the run allows, in all of its attempts.

    A retried run has the same id in Prefect, and what its previous attempt took is taken.
    """
    run = connection.execute(select(Run.flow_run_id, Run.max_rejected_percent, Run.mode).where(Run.id == run_id)).one()
    attempts = select(Run.id).where(Run.flow_run_id == run.flow_run_id)
    loads = _loads(connection, Load.run_id == run_id if run.flow_run_id is None else Load.run_id.in_(attempts))
    own = set(connection.scalars(select(Load.id).where(Load.run_id == run_id)))
    shown = loads_with_examples(loads, run.max_rejected_percent)
    earlier = frozenset(load.load_id for load in loads) - own
    is_preview = run.mode == RunMode.PREVIEW
    rejected = too_many_rejected(
        loads,
        run.max_rejected_percent,
        _first_examples(connection, shown, RejectedRow.reason_code != ReasonCode.MESSAGE_ID_COLLISION),
        earlier=earlier,
        is_preview=is_preview,
    )
    return rejected + too_many_collisions(
        loads,
        run.max_rejected_percent,
        _first_examples(connection, shown, RejectedRow.reason_code == ReasonCode.MESSAGE_ID_COLLISION),
        _other_files(connection, shown),
        earlier=earlier,
        is_preview=is_preview,
    )


def _other_files(connection: Connection, load_ids: Sequence[int]) -> dict[int, str]:
    """Return, by load, the file that brought most of the events whose message_ids its lines have."""
    of_load = (
        select(SourceFile.path)
        .join_from(RejectedRow, Event, Event.id == RejectedRow.event_id)
        .join(Load, Load.id == Event.load_id)
        .join(SourceFile, SourceFile.id == Load.source_file_id)
        .where(RejectedRow.load_id == bindparam("load_id"))
        .group_by(SourceFile.id)
        .order_by(func.count().desc(), SourceFile.id)
        .limit(1)
    )
    found = {load_id: connection.scalar(of_load, {"load_id": load_id}) for load_id in load_ids}
    return {load_id: path for load_id, path in found.items() if path is not None}


def _first_examples(
    connection: Connection, load_ids: Sequence[int], condition: ColumnElement[bool]
) -> dict[int, RejectedExample]:
    """Return the first line of each load that is kept in rejected_rows under a condition."""
    first = func.min(RejectedRow.line_number)
    firsts = select(RejectedRow.load_id, first.label("line_number")).where(RejectedRow.load_id.in_(load_ids), condition)
    numbered = firsts.group_by(RejectedRow.load_id).subquery()
    rows = connection.execute(
        select(RejectedRow.load_id, *_EXAMPLE)
        .join(
            numbered, (RejectedRow.load_id == numbered.c.load_id) & (RejectedRow.line_number == numbered.c.line_number)
        )
        .join(Load, Load.id == RejectedRow.load_id)
        .join(SourceFile, SourceFile.id == Load.source_file_id)
    )
    return {load_id: _example(*values, is_kept_in_part=in_part) for load_id, *values, in_part in rows}


_EXAMPLE = (
    SourceFile.path,
    RejectedRow.line_number,
    RejectedRow.field_name,
    RejectedRow.explanation,
    func.substr(RejectedRow.raw_line, 1, LONGEST_READ),
    RejectedRow.reason_code.in_([code.value for code in ReasonCode if code.is_kept_in_part]),
)


def _example(
    path: str, line_number: int, field_name: str | None, explanation: str, raw_line: str, *, is_kept_in_part: bool
) -> RejectedExample:
    return RejectedExample(path, line_number, field_name, masked(explanation), masked(raw_line), is_kept_in_part)


def _loads(connection: Connection, condition: ColumnElement[bool]) -> tuple[LoadReport, ...]:
    rows = connection.execute(
        select(
            Load.id,
            SourceFile.path,
            Load.load_seconds,
            Load.read_count,
            Load.inserted_count,
            Load.duplicate_count,
            Load.conflict_count,
            Load.collision_count,
            Load.rejected_count,
            Load.blank_count,
            Load.dropped_count,
            Load.outside_count,
        )
        .join_from(Load, SourceFile, SourceFile.id == Load.source_file_id)
        .where(condition)
        .order_by(Load.id)
    )
    return tuple(LoadReport(load_id, path, LineCounts(*counts), seconds) for load_id, path, seconds, *counts in rows)


def _reasons(
    connection: Connection, run_id: int, loads: Sequence[LoadReport], max_percent: float
) -> tuple[ReasonReport, ...]:
    """Return why lines were rejected: the first few lines of each reason, and the first line of each file."""
    # Only the few examples have their lines read, however many were rejected.
    is_failing = RejectedRow.load_id.in_(failing_loads(loads, max_percent))
    in_order = (is_failing.desc(), RejectedRow.load_id, RejectedRow.line_number)
    in_file = RejectedRow.line_number
    numbered = (
        select(
            RejectedRow.id,
            func.row_number().over(partition_by=RejectedRow.reason_code, order_by=in_order).label("place"),
            func.row_number().over(partition_by=RejectedRow.load_id, order_by=in_file).label("place_in_file"),
            func.count().over(partition_by=RejectedRow.reason_code).label("line_count"),
        )
        .where(RejectedRow.load_id.in_(_load_ids(run_id)))
        .subquery()
    )
    rows = connection.execute(
        select(
            RejectedRow.reason_code,
            numbered.c.line_count,
            *_EXAMPLE,
        )
        .join_from(numbered, RejectedRow, RejectedRow.id == numbered.c.id)
        .join(Load, Load.id == RejectedRow.load_id)
        .join(SourceFile, SourceFile.id == Load.source_file_id)
        .where(
            or_(
                numbered.c.place <= EXAMPLES_A_REASON,
                and_(
                    numbered.c.place_in_file == 1,
                    RejectedRow.load_id.in_(loads_with_examples(loads, max_percent)),
                ),
            )
        )
        .order_by(numbered.c.line_count.desc(), RejectedRow.reason_code, *in_order)
    )
    examples: dict[tuple[str, int], list[RejectedExample]] = {}
    for reason_code, line_count, *values, in_part in rows:
        example = _example(*values, is_kept_in_part=in_part)
        examples.setdefault((reason_code, line_count), []).append(example)
    return tuple(ReasonReport(*reason, tuple(shown)) for reason, shown in examples.items())


def _replayed(connection: Connection, run_id: int) -> tuple[ReplayReport, ...]:
    counts = (ReplayCount.reason_code, ReplayCount.outcome, ReplayCount.line_count)
    rows = select(*counts).where(ReplayCount.run_id == run_id).order_by(ReplayCount.line_count.desc(), *counts)
    return tuple(ReplayReport(*row) for row in connection.execute(rows))


def _unknown_keys(connection: Connection, run_id: int) -> tuple[KeyReport, ...]:
    line_count = func.sum(UnknownKey.occurrence_count)
    rows = connection.execute(
        select(UnknownKey.key_path, line_count)
        .where(UnknownKey.load_id.in_(_load_ids(run_id)))
        .group_by(UnknownKey.key_path)
        .order_by(line_count.desc(), UnknownKey.key_path)
    )
    return tuple(KeyReport(masked(key_path), count) for key_path, count in rows)


def _left_out(connection: Connection, run_id: int) -> tuple[LeftOutReport, ...]:
    event_count = func.count()
    rows = connection.execute(
        select(LeftOutValue.field_path, event_count, func.min(LeftOutValue.explanation))
        .where(LeftOutValue.load_id.in_(_load_ids(run_id)))
        .group_by(LeftOutValue.field_path)
        .order_by(event_count.desc(), LeftOutValue.field_path)
    )
    return tuple(LeftOutReport(path, count, masked(example)) for path, count, example in rows)


def _held_count(connection: Connection, run_id: int) -> int:
    return connection.execute(
        select(func.count())
        .select_from(Load)
        .join(HeldEvent, HeldEvent.event_id.between(Load.first_event_id, Load.last_event_id))
        .join(Run, Run.id == Load.run_id)
        .where(Load.run_id == run_id, Run.mode == RunMode.LOAD_ONLY)
    ).scalar_one()


def _ahead_count(connection: Connection, run_id: int) -> int:
    return connection.execute(select(Batch.ahead_count).where(Batch.run_id == run_id)).scalar() or 0


def _ahead(connection: Connection, run_id: int) -> tuple[AheadReport, ...]:
    event_count = func.count()
    rows = connection.execute(
        select(SourceFile.path, event_count, func.min(HeldEvent.due_at), func.max(HeldEvent.due_at))
        .select_from(Batch)
        .join(Load, Load.batch_id == Batch.id)
        .join(HeldEvent, HeldEvent.event_id.between(Load.first_event_id, Load.last_event_id))
        .join(Event, and_(Event.id == HeldEvent.event_id, Event.load_id == Load.id))
        .join(SourceFile, SourceFile.id == Load.source_file_id)
        .where(Batch.run_id == run_id, Batch.ahead_count > 0, HeldEvent.due_at.is_not(None))
        .group_by(SourceFile.id)
        .order_by(event_count.desc(), SourceFile.path)
    )
    return tuple(AheadReport(path, count, first, last) for path, count, first, last in rows if first and last)


def _waits(connection: Connection, run_id: int, as_of: datetime) -> WaitsReport:
    """Return what the run did with waiting matches, and what waited after it, even if it had nothing to decide."""
    last = connection.execute(
        select(Batch.id, Batch.run_id).where(Batch.run_id <= run_id).order_by(Batch.run_id.desc()).limit(1)
    ).one_or_none()
    if last is None:
        return WaitsReport()
    begun = waiting = late = 0
    for table, waited_on in ((WaitingMatch, ()), (EndedWait, (EndedWait.ended_batch_id > last.id,))):
        is_late = func.coalesce(func.sum(case((table.decide_at < as_of, 1), else_=0)), 0)
        counts = select(func.count(), is_late).where(table.batch_id <= last.id, *waited_on)
        still, still_late = connection.execute(counts).one()
        waiting, late = waiting + still, late + still_late
        begun += connection.execute(select(func.count()).where(table.batch_id == last.id)).scalar_one()
    if last.run_id != run_id:
        return WaitsReport(waiting_count=waiting, late_count=late)
    ended: Counter[str] = Counter()
    lapsed: Counter[str] = Counter()
    of_batch = (
        select(EndedWait.rule_name, EndedWait.outcome, func.count())
        .where(EndedWait.ended_batch_id == last.id)
        .group_by(EndedWait.rule_name, EndedWait.outcome)
        .order_by(EndedWait.rule_name)
    )
    for rule_name, outcome, count in connection.execute(of_batch):
        ended[outcome] += count
        if outcome == WaitOutcome.LAPSED:
            lapsed[rule_name] += count
    decided, no_match = ended[WaitOutcome.DECIDED], ended[WaitOutcome.NO_MATCH]
    return WaitsReport(begun, decided, no_match, tuple(lapsed.items()), waiting, late)


def _again_rules(connection: Connection, run_id: int) -> tuple[str, ...]:
    named = select(BatchRule.rule_name).join(Batch, Batch.id == BatchRule.batch_id).where(Batch.run_id == run_id)
    return tuple(connection.scalars(named.distinct().order_by(BatchRule.rule_name)))


def _again_count(connection: Connection, run_id: int) -> int:
    total = select(func.coalesce(func.sum(Batch.again_count), 0)).where(Batch.run_id == run_id)
    return connection.execute(total).scalar_one()


def _rules(connection: Connection, run_id: int, ruleset_id: int) -> tuple[RuleReport, ...]:
    is_alert = SendRequest.channel == ALERT_CHANNEL
    sends = {
        rule_name: (sent_count, alerted_count)
        for rule_name, sent_count, alerted_count in connection.execute(
            select(SendRequest.rule_name, _count_where(~is_alert), _count_where(is_alert))
            .where(SendRequest.run_id == run_id)
            .group_by(SendRequest.rule_name)
        )
    }
    suppressed = _suppressed(connection, run_id)
    rules = connection.execute(
        select(
            RulesetRule.rule_name,
            RulesetRule.description,
            RulesetRule.trigger_event_type,
            RulesetRule.condition_text,
            RulesetRule.exclusive_group,
            RulesetRule.template_name,
            RulesetRule.channel,
            RulesetRule.suppression_mode,
        )
        .where(RulesetRule.ruleset_id == ruleset_id, RulesetRule.is_enabled)
        .order_by(RulesetRule.rule_position)
    ).all()
    return tuple(
        RuleReport(
            rule_name=rule.rule_name,
            description=rule.description,
            trigger_event_type=rule.trigger_event_type,
            condition_text=rule.condition_text,
            exclusive_group=rule.exclusive_group,
            template_name=rule.template_name,
            channel=rule.channel,
            suppression_mode=rule.suppression_mode,
            sent_count=sends.get(rule.rule_name, (0, 0))[0],
            alerted_count=sends.get(rule.rule_name, (0, 0))[1],
            suppressed=tuple(sorted(suppressed[rule.rule_name].items())),
        )
        for rule in rules
    )


def _suppressed(connection: Connection, run_id: int) -> Mapping[str | None, Mapping[str, int]]:
    """Return how many suppressions a run made, by rule and reason, including those decided again since."""
    found: dict[str | None, Counter[str]] = defaultdict(Counter)
    for table in (Suppression, FormerSuppression):
        reasons = table.rule_name, table.suppression_reason
        counted = select(*reasons, func.count()).where(table.run_id == run_id).group_by(*reasons)
        for rule_name, reason, count in connection.execute(counted):
            found[rule_name][reason] += count
    return found


def _load_ids(run_id: int) -> Any:
    return select(Load.id).where(Load.run_id == run_id)


def _count_where(condition: ColumnElement[bool]) -> ColumnElement[int]:
    return func.count(case((condition, 1)))
