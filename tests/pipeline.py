"""The real stages joined as flows/ joins them, without Prefect, on a database of their own; and its rows to compare."""

import json
import os
import shutil
import tempfile
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, nullcontext
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from functools import lru_cache
from pathlib import Path
from typing import Any

from sqlalchemy import Connection, text

from src.marketing_messaging_service.decisions import RulesFile, decide, decide_pending
from src.marketing_messaging_service.decisions.results import DecisionResult
from src.marketing_messaging_service.decisions.rules_file import parse_rules
from src.marketing_messaging_service.infrastructure.database import (
    create_database_engine,
    read_transaction,
    write_transaction,
)
from src.marketing_messaging_service.loading import (
    choose_rejected_lines,
    close_run,
    known_files,
    load_file,
    load_files,
    note_replay,
    open_run,
)
from src.marketing_messaging_service.loading.results import LoadResult, NotLoaded, Unreadable
from src.marketing_messaging_service.models import RunMode, RunState
from src.marketing_messaging_service.run_options import ReplayChoice, RunOptions, Window
from src.marketing_messaging_service.staging import SourcesFile, discover, next_files, stage_file, stage_files
from src.marketing_messaging_service.staging.sources.file import SHIPPED_SOURCES
from src.marketing_messaging_service.vocabulary import ReasonCode
from tests.postgresql import ServerTemplate
from tests.reference import Row, sort_rows
from tests.strategies import Told

AS_OF = datetime(2026, 11, 23, 10, tzinfo=UTC)

# Events are numbered by their place among all that were inserted, whatever ids they have.
_KEYED = "WITH keyed AS (SELECT id, row_number() OVER (ORDER BY id) - 1 AS event_key FROM events) "


IN_MEMORY = Path("/dev/shm")  # noqa: S108  where Linux keeps files in memory
"""Where databases of property tests are kept, if it exists: on a disk a quarter of their time went to syncing."""


@contextmanager
def quick_folder() -> Iterator[Path]:
    """Yield a temporary folder for what is made hundreds of times."""
    with tempfile.TemporaryDirectory(dir=IN_MEMORY if os.access(IN_MEMORY, os.W_OK) else None) as folder:
        yield Path(folder)


Template = Path | ServerTemplate
"""A migrated database to be copied: a SQLite file, or one on a server."""


class Pipeline:
    """A landing folder and a database; each `run` is what one hourly run does."""

    def __init__(self, folder: Path, template: Template, database_url: str | None = None) -> None:
        """Begin with a copy of a template, or with a migrated database of any kind that a URL names."""
        self.landing = folder / "landing"
        self.landing.mkdir(parents=True)
        self.rules_path = folder / "rules.yaml"
        self.sources = SHIPPED_SOURCES
        self.database_path = folder / "messaging.db"
        if database_url is not None:
            self.database_url = database_url
        elif isinstance(template, Path):
            self.database_url = f"sqlite:///{shutil.copyfile(template, self.database_path)}"
        else:
            self.database_url = template.copy()
        self.engine = create_database_engine(self.database_url)
        self.shard_count = 1
        self._file_count = 0
        self._reading: Connection | None = None

    def land(self, raw_events: Sequence[Mapping[str, Any]]) -> Path:
        """Write a raw file into landing, a minute younger than the one before."""
        return self.land_bytes("".join(json.dumps(event) + "\n" for event in raw_events).encode())

    def land_bytes(self, content: bytes) -> Path:
        """Write the bytes of a raw file into landing, a minute younger than the one before."""
        path = self.landing / f"{self._file_count:04d}.jsonl"
        path.write_bytes(content)
        modified = (AS_OF - timedelta(days=1) + timedelta(minutes=self._file_count)).timestamp()
        os.utime(path, (modified, modified))
        self._file_count += 1
        return path

    def take(self) -> list[LoadResult]:
        """Stage and load everything in landing that was not taken yet."""
        results = []
        for file in discover(self.landing, known_files(self.engine), sources=self.sources).new_files:
            staged = stage_file(file, sources=self.sources)
            result = load_file(self.engine, staged, as_of=AS_OF)
            staged.close()
            assert isinstance(result, LoadResult)
            results.append(result)
        return results

    def do(
        self, options: RunOptions, rules: Mapping[str, Any], sources: SourcesFile | None = None
    ) -> list[LoadResult | NotLoaded | Unreadable]:
        """Do a run as it is ordered, and return what became of each file that was not known."""
        run_id = open_run(self.engine, options)
        results: list[LoadResult | NotLoaded | Unreadable] = []
        rejected = choose_rejected_lines(self.engine, options.replay) if options.replay else None
        still: Counter[tuple[ReasonCode, ReasonCode]] = Counter()
        if rejected is None:
            files = discover(options.source, known_files(self.engine), sources=sources or self.sources).new_files
        else:
            numbered = ((file, (sources or self.sources).number_of(file.display_path)) for file in rejected.files)
            files = tuple(replace(file, source_number=number) for file, number in numbered if number is not None)
        while len(results) < len(files):
            staged = stage_files(next_files(files[len(results) :]), sources=sources or self.sources)
            assert not staged.failures
            for each in staged.files:
                still.update(each.replayed.still_rejected if each.replayed else {})
            is_held = options.mode is RunMode.LOAD_ONLY
            results += load_files(
                self.engine, staged.files, as_of=options.as_of, run_id=run_id, window=options.window, is_held=is_held
            )
            staged.rows.close()
        if rejected is not None:
            note_replay(self.engine, run_id, rejected, still, {})
        if options.mode is not RunMode.LOAD_ONLY:
            decide(
                self.engine,
                self._read(rules),
                decided_at=AS_OF,
                options=options,
                run_id=run_id,
                shard_count=self.shard_count,
            )
        with write_transaction(self.engine) as connection:
            close_run(connection, run_id, RunState.COMPLETED)
        return results

    def options(
        self,
        window: Window | None = None,
        mode: RunMode = RunMode.LOAD_AND_DECIDE,
        max_event_age_hours: int = 0,
        *,
        as_of: datetime = AS_OF,
        max_event_ahead_hours: int | None = None,
        decide_again: Sequence[str] = (),
    ) -> RunOptions:
        """Return options to take landing: as the hourly job without a window, as a backfill with one."""
        return RunOptions(
            "hourly" if window is None else "backfill",
            mode,
            as_of,
            self.landing,
            window,
            max_event_age_hours,
            max_event_ahead_hours=max_event_ahead_hours,
            decide_again=tuple(decide_again),
        )

    def replay(
        self, rules: Mapping[str, Any], choice: ReplayChoice | None = None, sources: SourcesFile | None = None
    ) -> list[LoadResult | NotLoaded | Unreadable]:
        """Replay rejected lines, all of them unless some are chosen, and return what became of each file."""
        options = replace(self.options(), flow_name="replay", replay=choice or ReplayChoice())
        return self.do(options, rules, sources)

    def told(self, run: Told, decide_again: Sequence[str] = ()) -> RunOptions:
        """Return the options of a run of some strategy."""
        return self.options(
            run.window and Window(*run.window),
            RunMode(run.mode),
            run.max_event_age_hours,
            as_of=run.as_of,
            max_event_ahead_hours=run.max_event_ahead_hours,
            decide_again=decide_again,
        )

    def decide(self, rules: Mapping[str, Any]) -> DecisionResult:
        """Decide by a rules document everything that was not decided yet."""
        return decide_pending(self.engine, self._read(rules), decided_at=AS_OF)

    def _read(self, rules: Mapping[str, Any]) -> RulesFile:
        text_of_file = json.dumps(rules, ensure_ascii=False)
        self.rules_path.write_text(text_of_file, encoding="utf-8")
        return _parsed(text_of_file)

    def run(self, files: Sequence[Sequence[Mapping[str, Any]]], rules: Mapping[str, Any]) -> None:
        """Land files, take them and decide, as one run."""
        for file in files:
            self.land(file)
        self.take()
        self.decide(rules)

    def execute(self, sql: str) -> None:
        """Do something by hand that the pipeline never would."""
        with write_transaction(self.engine) as connection:
            connection.execute(text(sql))

    @contextmanager
    def reading(self) -> Iterator[None]:
        """Read everything inside over one connection; two in three of a property test's were opened to read."""
        if self._reading:
            yield
            return
        with read_transaction(self.engine) as connection:
            self._reading = connection
            try:
                yield
            finally:
                self._reading = None

    def rows(self, sql: str) -> list[Row]:
        """Return the rows of a query as plain tuples, in the reference's order."""
        with nullcontext(self._reading) if self._reading else read_transaction(self.engine) as connection:
            return sort_rows(tuple(map(_as_sqlite_has_it, row)) for row in connection.execute(text(sql)))

    def events(self) -> list[Row]:
        """Rows of (message_id or None where the producer gave none, user_id, event_type, event_timestamp)."""
        return self.rows(
            "SELECT CASE WHEN message_id NOT LIKE 'content:%' THEN message_id END, user_id, event_type, "
            "event_timestamp FROM events"
        )

    def event_properties(self) -> list[Row]:
        """Rows of (event key, amount, attempt_number, failure_reason, order_id, currency)."""
        return self.rows(
            _KEYED + "SELECT event_key, amount, attempt_number, failure_reason, order_id, currency "
            "FROM event_properties JOIN keyed ON keyed.id = event_id"
        )

    def user_traits(self) -> list[Row]:
        """Rows of (event key, email, country, marketing_opt_in, risk_segment)."""
        return self.rows(
            _KEYED + "SELECT event_key, email, country, marketing_opt_in, risk_segment "
            "FROM user_traits JOIN keyed ON keyed.id = event_id"
        )

    def send_requests(self) -> list[Row]:
        """Rows of (event key, user_id, template_name, channel, reason, rule_name, event_timestamp)."""
        return self.rows(
            _KEYED + "SELECT event_key, user_id, template_name, channel, reason, rule_name, event_timestamp "
            "FROM send_requests JOIN keyed ON keyed.id = event_id"
        )

    def suppressions(self) -> list[Row]:
        """Rows of (event key, user_id, template_name, mode, rule_name, event_timestamp, (blocker's key, its rule))."""
        return sort_rows(
            (*row[:6], None if row[6] is None else (row[6], row[7]))
            for row in self.rows(
                _KEYED + "SELECT keyed.event_key, s.user_id, s.template_name, s.suppression_reason, s.rule_name, "
                "s.event_timestamp, blocker.event_key, r.rule_name FROM suppressions s "
                "JOIN keyed ON keyed.id = s.event_id LEFT JOIN send_requests r ON r.id = s.blocked_by_send_request_id "
                "LEFT JOIN keyed blocker ON blocker.id = r.event_id"
            )
        )

    def former_suppressions(self) -> list[Row]:
        """Rows as those of suppressions, of what had expired and was decided again."""
        return self.rows(
            _KEYED + "SELECT event_key, user_id, template_name, suppression_reason, rule_name, event_timestamp, NULL "
            "FROM former_suppressions JOIN keyed ON keyed.id = event_id"
        )

    def latest_traits(self) -> list[Row]:
        """Rows of (user_id, email, country, marketing_opt_in, risk_segment)."""
        return self.rows("SELECT user_id, email, country, marketing_opt_in, risk_segment FROM latest_user_traits")

    def waiting(self) -> list[Row]:
        """Rows of (event key, what it waits for)."""
        return self.rows(_KEYED + "SELECT event_key, waits_for FROM waiting_events JOIN keyed ON keyed.id = event_id")

    def everything(self) -> dict[str, list[Row]]:
        """All rows that a run leaves, by table, without ids and clock columns."""
        with self.reading():
            return {
                "events": self.events(),
                "event_properties": self.event_properties(),
                "user_traits": self.user_traits(),
                "send_requests": self.send_requests(),
                "suppressions": self.suppressions(),
                "former_suppressions": self.former_suppressions(),
            }


@lru_cache(maxsize=16)
def _parsed(rules: str) -> RulesFile:
    """Parse the text of a rules file, once for all the runs of an example; it cannot be changed."""
    return parse_rules(rules, "rules.yaml")


def _as_sqlite_has_it(value: Any) -> Any:
    if isinstance(value, datetime):
        return value.isoformat(sep=" ", timespec="microseconds")
    return int(value) if isinstance(value, bool) else value
