"""A copy is put back: what docs/operations.md promises to message senders holds, and row ids mean nothing."""

import os
import shutil
from pathlib import Path

from src.marketing_messaging_service.infrastructure.database import url_of
from src.marketing_messaging_service.published_copies import publish
from tests.pipeline import Pipeline
from tests.published_copies.test_publish import silent
from tests.self_check.databases import EVER, event, rule

RULES = {"rules": [rule("welcome", "signup", suppression=EVER), rule("receipt", "paid")]}

ONCE = "SELECT user_id, template_name, dedupe_key FROM send_requests WHERE dedupe_key NOT LIKE 'event:%'"

EVERY_TIME = (
    "SELECT e.message_id, s.rule_name FROM send_requests AS s JOIN events AS e ON e.id = s.event_id "
    "WHERE s.dedupe_key LIKE 'event:%'"
)

BY_ROW = "SELECT s.id, s.dedupe_key, e.message_id FROM send_requests AS s JOIN events AS e ON e.id = s.event_id"


def test_what_was_decided_after_the_copy_is_known_by_the_same_keys_and_not_by_the_same_ids(
    migrated_template: Path, tmp_path: Path
) -> None:
    pipeline = Pipeline(tmp_path / "pipeline", migrated_template)
    pipeline.run([[event("m1", "ada", "signup", "10:00")]], RULES)
    publish(url_of(pipeline.database_path), tmp_path / "published", silent)
    pipeline.run([[event("m2", "bob", "paid", "11:00"), event("m3", "eve", "signup", "11:10")]], RULES)
    once, every_time, by_row = (pipeline.rows(sql) for sql in (ONCE, EVERY_TIME, BY_ROW))

    shutil.copyfile(tmp_path / "published" / "messaging.db", pipeline.database_path)
    # Older than what was taken before, and so taken before it this time.
    late = pipeline.land([event("m4", "kim", "paid", "09:00"), event("m5", "ada", "signup", "09:10")])
    os.utime(late, (0, 0))
    pipeline.run([], RULES)

    assert set(once) <= set(pipeline.rows(ONCE))
    assert set(every_time) <= set(pipeline.rows(EVERY_TIME))
    assert (2, "event:2:receipt", "m2") in by_row
    assert (2, "event:2:receipt", "m4") in pipeline.rows(BY_ROW)
