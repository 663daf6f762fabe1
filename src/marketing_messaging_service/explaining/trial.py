"""Trial runs in their own database: the same code that decides for real, on made-up events."""

import json
import shutil
from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from sqlalchemy import Engine, case, func, literal, select, union_all
from sqlalchemy.orm import aliased

from src.marketing_messaging_service import decisions, loading, staging
from src.marketing_messaging_service.errors import RulesTestsError
from src.marketing_messaging_service.explaining.explain_text import explanation_lines
from src.marketing_messaging_service.explaining.one_user import explain_user
from src.marketing_messaging_service.explaining.outline import shown_lines
from src.marketing_messaging_service.infrastructure import schema
from src.marketing_messaging_service.infrastructure.database import (
    create_database_engine,
    read_transaction,
    write_transaction,
)
from src.marketing_messaging_service.models import (
    ALERT_CHANNEL,
    Event,
    RejectedRow,
    RunMode,
    RunState,
    SendRequest,
    Suppression,
    WaitingMatch,
)
from src.marketing_messaging_service.run_options import RunOptions


@dataclass(frozen=True, slots=True)
class Outcome:
    """The outcome of an event and a rule, by its name in a tests file."""

    kind: str
    """sends, alerts, suppressions or waiting."""
    event: str
    """The message_id."""
    rule: str
    reason: str = ""
    """Of a suppression."""
    because_of: str = ""
    """The message_id of the event that was in the way, or of the event of the send that was."""


class Trial:
    """A database and a landing folder that nothing else knows about."""

    def __init__(self, folder: Path, engine: Engine) -> None:
        self._landing = folder / "landing"
        self._landing.mkdir()
        self._engine = engine
        self._run_count = 0

    def run(self, raw_events: Sequence[Mapping[str, Any]], rules: decisions.RulesFile, as_of: datetime) -> None:
        """Take events and decide, as an hourly run of that logical time does.

        Raises RulesTestsError for an event that would be a rejected line.
        """
        options = RunOptions("trial", RunMode.LOAD_AND_DECIDE, as_of, self._landing)
        run_id = loading.open_run(self._engine, options)
        self._run_count += 1
        if raw_events:
            path = self._landing / f"{self._run_count:06}.jsonl"
            path.write_text("".join(f"{json.dumps(event)}\n" for event in raw_events), encoding="utf-8")
            self._take(raw_events, options, run_id)
        decisions.decide_pending(self._engine, rules, decided_at=as_of, options=options, run_id=run_id)
        with write_transaction(self._engine) as connection:
            loading.close_run(connection, run_id, RunState.COMPLETED)

    def _take(self, raw_events: Sequence[Mapping[str, Any]], options: RunOptions, run_id: int) -> None:
        files = staging.discover(self._landing, loading.known_files(self._engine)).new_files
        staged = staging.stage_files(files)
        with closing(staged.rows):
            loading.load_files(self._engine, staged.files, as_of=options.as_of, run_id=run_id)
        with read_transaction(self._engine) as connection:
            rejected = connection.execute(select(RejectedRow.line_number, RejectedRow.explanation).limit(1)).first()
        if rejected is not None:
            event_id = raw_events[rejected.line_number - 1]["message_id"]
            raise RulesTestsError(f"The event {event_id} would be rejected: {rejected.explanation}")

    def explained(self, user_id: str, message_id: str, rule_name: str, rules: decisions.RulesFile) -> tuple[str, ...]:
        """Return the explanation of an event and a rule as lines, indented by depth."""
        with read_transaction(self._engine) as connection:
            found = explain_user(connection, user_id, rules.whole, rule_name=rule_name, message_id=message_id)
        # Below the event itself, which the reader knows.
        below = (line for line in explanation_lines(found) if line[0])
        return tuple(f"{'  ' * (depth - 1)}{text}" for depth, text in shown_lines(below))

    def outcomes(self) -> list[Outcome]:
        """Return all outcomes of the events so far."""
        blocker, said = aliased(Event), aliased(Event)
        kind = case((SendRequest.channel == ALERT_CHANNEL, "alerts"), else_="sends")
        sent = select(kind, Event.message_id, SendRequest.rule_name, literal(""), literal("")).join_from(
            SendRequest, Event, Event.id == SendRequest.event_id
        )
        refused = (
            select(
                literal("suppressions"),
                Event.message_id,
                Suppression.rule_name,
                Suppression.suppression_reason,
                func.coalesce(blocker.message_id, said.message_id, ""),
            )
            .join_from(Suppression, Event, Event.id == Suppression.event_id)
            .outerjoin(SendRequest, SendRequest.id == Suppression.blocked_by_send_request_id)
            .outerjoin(blocker, blocker.id == SendRequest.event_id)
            .outerjoin(said, said.id == Suppression.blocked_by_event_id)
        )
        waits = select(
            literal("waiting"), Event.message_id, WaitingMatch.rule_name, literal(""), literal("")
        ).join_from(WaitingMatch, Event, Event.id == WaitingMatch.event_id)
        with read_transaction(self._engine) as connection:
            rows = connection.execute(union_all(sent, refused, waits)).all()
        return [Outcome(*row) for row in rows]


class Trials:
    """Makes trials, each on a copy of one empty database."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._template = folder / "empty.db"
        schema.migrate(f"sqlite:///{self._template}")
        self._count = 0

    @contextmanager
    def trial(self) -> Iterator[Trial]:
        """Yield an empty trial, which is gone afterwards."""
        self._count += 1
        folder = self._folder / str(self._count)
        folder.mkdir()
        shutil.copyfile(self._template, folder / "trial.db")
        engine = create_database_engine(f"sqlite:///{folder / 'trial.db'}")
        try:
            yield Trial(folder, engine)
        finally:
            engine.dispose()
            shutil.rmtree(folder)


@contextmanager
def trials() -> Iterator[Trials]:
    """Yield what makes trials, in a temporary folder."""
    with TemporaryDirectory(prefix="trial-") as folder:
        yield Trials(Path(folder))
