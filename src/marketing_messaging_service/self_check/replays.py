"""What must be true of replayed rejected lines: each once, by a load of its own file, and counted."""

from collections.abc import Iterator
from typing import Any

from sqlalchemy import Connection, Select, exists, func, not_, or_, select
from sqlalchemy.orm import aliased

from src.marketing_messaging_service.infrastructure.sql_text import told
from src.marketing_messaging_service.models import (
    FlowName,
    Load,
    RejectedRow,
    ReplayCount,
    ReplayOutcome,
    Run,
    SourceFile,
)
from src.marketing_messaging_service.vocabulary import Invariant, ReasonCode

_home = aliased(SourceFile, name="home")
"""The file of the load that rejected a line."""


def _wrongly_replayed(_connection: Connection) -> Iterator[Select[Any]]:
    rejecting = aliased(Load, name="rejecting")
    in_part = [code.value for code in ReasonCode if code.is_kept_in_part]
    facts = (RejectedRow.reason_code, ", replayed by loads.id ", RejectedRow.replayed_load_id)
    yield (
        select(told("rejected_rows.id ", RejectedRow.id, ": ", *facts))
        .join(rejecting, rejecting.id == RejectedRow.load_id)
        .join(_home, _home.id == rejecting.source_file_id)
        .join(Load, Load.id == RejectedRow.replayed_load_id)
        .join(SourceFile, SourceFile.id == Load.source_file_id)
        .where(
            or_(
                SourceFile.replayed_file_id.is_distinct_from(func.coalesce(_home.replayed_file_id, _home.id)),
                Load.id <= rejecting.id,
                # These are not kept as whole lines.
                RejectedRow.reason_code.in_(in_part),
            )
        )
    )


def _replays_without_their_lines(_connection: Connection) -> Iterator[Select[Any]]:
    """The loads of replays without lines, with counts that a replay cannot have, or of another flow."""
    marked = select(func.count()).where(RejectedRow.replayed_load_id == Load.id).correlate(Load).scalar_subquery()
    facts = (Load.read_count, " lines of ", marked, " rejected ones")
    of_replay = Load.run_id.in_(select(Run.id).where(Run.flow_name == FlowName.REPLAY))
    yield (
        select(told("loads.id ", Load.id, ": ", *facts))
        .join(SourceFile, SourceFile.id == Load.source_file_id)
        .where(
            SourceFile.replayed_file_id.is_not(None),
            # One line may hold several events.
            or_(
                marked == 0, marked > Load.read_count, Load.rejected_count > 0, Load.outside_count > 0, not_(of_replay)
            ),
        )
    )
    yield (
        select(told("loads.id ", Load.id, " of a replay: no file of rejected lines"))
        .join(SourceFile, SourceFile.id == Load.source_file_id)
        .where(SourceFile.replayed_file_id.is_(None), of_replay)
    )


def _wrong_replay_counts(_connection: Connection) -> Iterator[Select[Any]]:
    taken = (
        select(func.count())
        .select_from(RejectedRow)
        .join(Load, Load.id == RejectedRow.replayed_load_id)
        .where(Load.run_id == ReplayCount.run_id, RejectedRow.reason_code == ReplayCount.reason_code)
        .correlate(ReplayCount)
        .scalar_subquery()
    )
    codes = [code.value for code in ReasonCode]
    place = told(
        "replay_counts of runs.id ", ReplayCount.run_id, ", ", ReplayCount.reason_code, ", ", ReplayCount.outcome
    )
    yield select(place + told(": ", ReplayCount.line_count, ", rows ", taken)).where(
        ReplayCount.outcome == ReplayOutcome.TAKEN, ReplayCount.line_count != taken
    )
    of_replay = exists().where(Run.id == ReplayCount.run_id, Run.flow_name == FlowName.REPLAY)
    yield select(place).where(
        or_(
            ReplayCount.reason_code.not_in(codes),
            ReplayCount.outcome.not_in([*codes, *(outcome.value for outcome in ReplayOutcome)]),
            not_(of_replay),
        )
    )


REPLAY_INVARIANTS = (
    Invariant(
        "replayed_lines",
        "Every replayed line was kept whole, and was taken by a later load of its own file's lines",
        _wrongly_replayed,
    ),
    Invariant(
        "replaying_loads",
        "Every load of a replay took rejected lines, no more than it read, and rejected none of them again",
        _replays_without_their_lines,
    ),
    Invariant(
        "replay_counts",
        "Every replay took as many rejected lines as it says, and counts them under known reasons",
        _wrong_replay_counts,
    ),
)
