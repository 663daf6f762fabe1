"""A run that takes its files from a bucket, and one that publishes into it."""

import sqlite3
from pathlib import Path

import pytest

from flows.publish import publish
from src.marketing_messaging_service.infrastructure import buckets
from src.marketing_messaging_service.paths import Bucket
from tests.flows.test_hourly import GOOD_LINE, count, run
from tests.object_stores import put


def test_a_run_takes_the_objects_of_a_bucket_once(
    landing: Path, bucket: Bucket, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("LANDING_PATH", str(bucket))
    put(bucket, "a.jsonl", GOOD_LINE.encode())
    put(bucket, "b.csv", b"message_id,user_id,event_type,event_timestamp\nm2,bob,login,2026-11-23T10:00:00Z\n")
    assert str(run().message).startswith("2 files: 3 lines = 2 inserted")
    assert str(run().message).startswith("Nothing new: 2 files in landing, all taken before.")
    assert (count(landing, "events"), count(landing, "send_requests")) == (2, 1)


def test_a_bucket_that_is_not_there_fails_the_run_with_a_sentence(
    landing: Path, bucket: Bucket, monkeypatch: pytest.MonkeyPatch
) -> None:
    state = run(landing_path=f"s3://no-{bucket.name}")
    assert f"LANDING_PATH names s3://no-{bucket.name}, which cannot be listed: there is no such bucket" in str(
        state.message
    )


def test_what_is_published_into_a_bucket_can_be_read_from_there(
    landing: Path, bucket: Bucket, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    (landing / "a.jsonl").write_text(GOOD_LINE)
    run()
    published = bucket / "published"
    state = publish(publish_path=str(published), return_state=True)
    assert str(state.message).endswith(f"in {published}.")
    buckets.client().download_file(bucket.name, f"{published.beginning}messaging.db", str(tmp_path / "copy.db"))
    with sqlite3.connect(tmp_path / "copy.db") as connection:
        assert connection.execute("SELECT user_id FROM send_requests").fetchall() == [("ada",)]
    keys = {each["Key"].removeprefix(published.beginning) for each in buckets.listed(published)}
    assert {"messaging.db", "events.parquet", "send_requests.parquet"} <= keys


def test_publishing_into_the_bucket_that_raw_files_land_in_is_refused(
    landing: Path, bucket: Bucket, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("LANDING_PATH", f"s3://{bucket.name}")
    state = publish(publish_path=str(bucket), return_state=True)
    assert "which is in" in str(state.message)
    assert str(state.message).endswith("Nothing was written.")
