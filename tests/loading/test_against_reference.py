"""Whatever lands, the tables hold what plain Python makes of it, one event at a time."""

import shutil
from contextlib import closing
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from src.marketing_messaging_service.infrastructure.database import create_database_engine
from src.marketing_messaging_service.loading import load_file, new_events
from src.marketing_messaging_service.loading.results import LoadResult
from tests.effort import examples
from tests.loading.conftest import AS_OF
from tests.loading.raw_files import rows, stage
from tests.pipeline import quick_folder
from tests.reference import LoadCounts, Reference, sort_rows
from tests.strategies import RawFile, event_batches

pytestmark = pytest.mark.slow

EVENT_KEYS = "(SELECT row_number() OVER (ORDER BY id) - 1 AS event_key, id FROM events)"
"""Events by their position among all that were inserted, as the reference knows them."""


@pytest.mark.parametrize("smallest_rebuild", [1, 1_000], ids=["indexes rebuilt", "indexes kept"])
@examples(60)
@given(files=event_batches(), chunk_rows=st.sampled_from((1, 3, None)))
def test_the_loaded_tables_equal_the_reference(
    migrated_template: Path,
    monkeypatch: pytest.MonkeyPatch,
    files: list[RawFile],
    chunk_rows: int | None,
    smallest_rebuild: int,
):
    monkeypatch.setattr(new_events, "SMALLEST_REBUILD", smallest_rebuild)
    monkeypatch.setattr(new_events, "LARGEST_STANDING", 3)
    reference = Reference()
    with quick_folder() as folder:
        shutil.copyfile(migrated_template, folder / "test.db")
        engine = create_database_engine(f"sqlite:///{folder}/test.db")
        for number, file in enumerate(files):
            expected = reference.load(file)
            # Each file has a landing folder of its own, so that files with the same content are all loaded.
            with closing(stage(folder / str(number), "a.jsonl", *file, chunk_rows=chunk_rows)) as staged:
                result = load_file(engine, staged, as_of=AS_OF)
            if not isinstance(result, LoadResult):
                assert file in files[:number]
                assert expected.inserted == 0
            else:
                assert result.read_count == len(file)
                counts = (result.inserted_count, result.duplicate_count, result.conflict_count, result.collision_count)
                assert expected == LoadCounts(*counts)
                assert result.rejected_count == result.blank_count == 0

        events = rows(engine, "SELECT message_id, user_id, event_type, event_timestamp FROM events")
        assert sort_rows((_producers_own(row[0]), *row[1:]) for row in events) == reference.events()
        properties = rows(
            engine,
            f"SELECT event_key, amount, attempt_number, failure_reason, order_id, currency FROM event_properties "
            f"JOIN {EVENT_KEYS} AS keys ON keys.id = event_id",
        )
        assert sort_rows(properties) == reference.event_properties()
        traits = rows(
            engine,
            f"SELECT event_key, email, country, marketing_opt_in, risk_segment FROM user_traits "
            f"JOIN {EVENT_KEYS} AS keys ON keys.id = event_id",
        )
        assert sort_rows(traits) == reference.user_traits()
        assert rows(engine, "PRAGMA foreign_key_check") == []


def _producers_own(message_id: str) -> str | None:
    """The message_id that the producer gave, None for one made from the content."""
    return None if message_id.startswith("content:") else message_id
