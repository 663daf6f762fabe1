"""The comparison sees what differs, and refuses what it does not know."""

from pathlib import Path

import pytest

from tests.decisions.helpers import event, rule
from tests.pipeline import Pipeline
from tests.torture.compare import UnknownPartError, differences, everything, run_record_breaches
from tests.torture.kills import Start, replay_check
from tests.torture.scene import Scene


@pytest.fixture
def scene(starts: dict[str, Start], tmp_path: Path) -> Scene:
    """A scene after a run."""
    return Scene(starts["taken before"].undisturbed.parent).copy_to(tmp_path / "scene")


def test_a_database_is_equal_to_itself(scene: Scene) -> None:
    assert differences(scene.database, scene.database) == []


@pytest.mark.parametrize(
    ("statement", "table"),
    [
        ("UPDATE events SET user_id = 'eve' WHERE id = 7", "events"),
        ("DELETE FROM suppressions WHERE id = 1", "suppressions"),
        ("UPDATE suppressions SET blocked_by_send_request_id = 2", "suppressions"),
        ("UPDATE loads SET first_event_id = first_event_id + 1 WHERE id = 2", "loads"),
        ("UPDATE loads SET run_id = NULL WHERE id = 2", "loads"),
        ("INSERT INTO held_events (event_id) VALUES (7)", "held_events"),
        ("DROP VIEW user_timeline", "(schema)"),
    ],
)
def test_what_differs_is_reported_with_its_table(
    scene: Scene, starts: dict[str, Start], statement: str, table: str
) -> None:
    scene.execute(statement)
    assert table in [told.partition(":")[0] for told in differences(scene.database, starts["taken before"].undisturbed)]


def test_ids_and_clocks_make_no_difference(scene: Scene, starts: dict[str, Start]) -> None:
    scene.execute(
        "UPDATE event_properties SET id = id + 1000",
        "UPDATE loads SET loaded_at = '2030-01-01 00:00:00.000000', load_seconds = 9.0",
        "UPDATE send_requests SET decided_at = '2030-01-01 00:00:00.000000'",
    )
    assert differences(scene.database, starts["taken before"].undisturbed) == []


def test_which_run_did_something_makes_no_difference(scene: Scene, starts: dict[str, Start]) -> None:
    scene.execute("UPDATE send_requests SET run_id = 1", "UPDATE runs SET known_file_count = 9")
    assert differences(scene.database, starts["taken before"].undisturbed) == []


@pytest.mark.parametrize(
    ("statement", "killed", "told"),
    [
        ("UPDATE runs SET state = 'running' WHERE id = 1", 0, "runs: run 1 is recorded as running"),
        ("UPDATE runs SET state = 'killed' WHERE id = 2", 1, "runs: run 2 is killed and has an end and a message"),
        ("UPDATE runs SET message = NULL WHERE id = 2", 0, "runs: run 2 is completed and lacks an end and a message"),
        ("DELETE FROM run_remarks", 1, "runs: 1 were killed and the record says completed, completed"),
        (
            "INSERT INTO run_leases VALUES (1, 'h', 'hourly', NULL, 'here', 1, '', '', '')",
            0,
            "run_leases: hourly holds the lease still",
        ),
    ],
)
def test_what_the_record_of_runs_must_not_say_is_reported(scene: Scene, statement: str, killed: int, told: str) -> None:
    scene.execute(statement)
    assert run_record_breaches(scene.database, killed=killed) == [told]


def test_rows_in_another_order_of_ids_are_reported(scene: Scene, starts: dict[str, Start]) -> None:
    scene.execute("UPDATE event_properties SET id = -id")
    assert differences(scene.database, starts["taken before"].undisturbed) == ["event_properties: another order"]


@pytest.mark.parametrize(
    ("statement", "told"),
    [
        ("CREATE TABLE parcels (id INTEGER)", "does not know the table parcels"),
        ("ALTER TABLE events ADD COLUMN colour TEXT", "has events with other columns than the database: colour"),
        ("ALTER TABLE events DROP COLUMN created_at", "has events with other columns than the database: created_at"),
    ],
)
def test_a_table_or_column_that_nobody_has_said_how_to_compare_is_an_error(
    scene: Scene, statement: str, told: str
) -> None:
    views = [row[1] for row in everything(scene.database)["(schema)"] if row[0] == "view"]
    scene.execute(*(f"DROP VIEW {name}" for name in views), statement)
    with pytest.raises(UnknownPartError, match=told):
        everything(scene.database)


def test_a_decision_that_its_batch_would_make_and_that_is_gone_is_seen(tmp_path: Path, migrated_template: Path) -> None:
    pipeline = Pipeline(tmp_path, migrated_template)
    pipeline.land([event("a"), event("b", user_id="bob")])
    pipeline.do(pipeline.options(), {"rules": [rule("r")]})
    assert replay_check(pipeline.database_path) == []

    pipeline.execute("DELETE FROM send_requests WHERE user_id = 'bob'")
    pipeline.engine.dispose()
    assert replay_check(pipeline.database_path) == [
        "replay: 1 decisions are others than those that stand, such as r on b"
    ]
