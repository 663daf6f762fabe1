"""The floor ends in the rows that ours ends in, or it would be no floor of it."""

import shutil
import sqlite3
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from benchmarks.process import run_job
from benchmarks.sections import FLOOR, WHOLE_RUN
from benchmarks.workbench import Workbench

QUERIES = {
    "events": "SELECT id, message_id, user_id, event_type, event_timestamp FROM events ORDER BY id",
    "event_properties": "SELECT event_id, amount, attempt_number, failure_reason FROM event_properties ORDER BY 1",
    "user_traits": "SELECT event_id, email, country, marketing_opt_in, risk_segment FROM user_traits ORDER BY 1",
    "send_requests": "SELECT event_id, rule_name, user_id, template_name, channel, reason, event_timestamp, dedupe_key "
    "FROM send_requests ORDER BY 1, 2",
    "suppressions": "SELECT s.event_id, s.rule_name, s.user_id, s.template_name, s.suppression_reason, "
    "s.event_timestamp, b.event_id FROM suppressions s "
    "JOIN send_requests b ON b.id = blocked_by_send_request_id ORDER BY 1, 2",
}


def tables(path: Path) -> dict[str, list[tuple[Any, ...]]]:
    """What a database says, ids of decisions and clocks aside."""
    with closing(sqlite3.connect(path)) as connection:
        return {name: connection.execute(sql).fetchall() for name, sql in QUERIES.items()}


@pytest.mark.slow
def test_ours_and_the_floor_end_in_the_same_rows_without_a_history_and_with_one(tmp_path):
    bench = Workbench(tmp_path / "bench", 1)
    bench.folder.mkdir()
    start = bench.empty_database()
    for day in range(2):
        file = bench.history_file(day, 3_000)
        rows_file = bench.ready_rows(f"day-{day}", start, file)
        databases = []
        for job, source in ((WHOLE_RUN, file.path), (FLOOR, rows_file)):
            database = tmp_path / f"{job.partition(':')[0]}-{day}.db"
            shutil.copyfile(start, database)
            run_job(job, source, database)
            databases.append(database)
        ours, floor = databases

        found = tables(ours)
        assert tables(floor) == found
        assert min(len(rows) for rows in found.values()) > 20
        start = ours
