"""What names a user and is no event."""

import gzip
import os

from src.marketing_messaging_service.explaining.not_taken import files_not_taken, lines_not_taken
from src.marketing_messaging_service.infrastructure.database import read_transaction
from src.marketing_messaging_service.settings import Settings
from tests.decisions.helpers import event, rule
from tests.pipeline import AS_OF, Pipeline

LINE = '{"message_id": "x%s", "user_id": "%s", "event_type": "paid", "event_timestamp": "soon"}\n'


def lines(pipeline: Pipeline, user_id: str = "ana") -> list[str]:
    with read_transaction(pipeline.engine) as connection:
        return list(lines_not_taken(connection, user_id))


def files(pipeline: Pipeline) -> list[str]:
    settings = Settings(database_url=f"sqlite:///{pipeline.database_path}", landing_path=pipeline.landing)
    return list(files_not_taken(pipeline.engine, settings, "ana"))


def test_rejected_lines_that_name_the_user_are_reported_and_those_of_a_longer_name_are_not(pipeline: Pipeline) -> None:
    (pipeline.landing / "bad.jsonl").write_text("".join(LINE % (each, each) for each in ("ana", "anab", "ana-2", "z")))
    pipeline.do(pipeline.options(as_of=AS_OF), {"rules": [rule()]})
    (said,) = lines(pipeline)
    assert said.startswith("Line 1 of bad.jsonl names the user and was rejected by the run of 2026-11-23 10:00: ")
    assert lines(pipeline, "nobody") == []


def test_a_redelivery_with_another_time_is_reported(pipeline: Pipeline) -> None:
    pipeline.land([event("a"), event("a", at="2026-03-01T12:00:01Z")])
    pipeline.do(pipeline.options(as_of=AS_OF), {"rules": [rule()]})
    (said,) = lines(pipeline)
    assert "delivered a again with another event_timestamp; the event that came first is kept." in said


def test_files_that_no_run_took_are_reported_by_what_became_of_them(pipeline: Pipeline) -> None:
    landing = pipeline.landing
    (landing / "new.jsonl.gz").write_bytes(gzip.compress((LINE % ("1", "ana")).encode()))
    (landing / "of-others.jsonl").write_text(LINE % ("2", "bob"))
    (landing / "copy.bak").write_text(LINE % ("3", "ana"))
    (landing / "_hidden.jsonl").write_text(LINE % ("4", "ana"))
    for path in landing.iterdir():
        os.utime(path, (0, 0))
    said = files(pipeline)
    assert said[0] == "new.jsonl.gz in landing names the user, and no run has taken it yet; the next one will."
    assert sorted(each.split()[0] for each in said) == ["_hidden.jsonl", "copy.bak", "new.jsonl.gz"]


def test_a_landing_that_is_not_there_is_reported_and_no_error(pipeline: Pipeline) -> None:
    pipeline.landing.rename(pipeline.landing.with_name("moved"))
    (said,) = files(pipeline)
    assert said.startswith("Whether files wait in landing could not be checked: ")
