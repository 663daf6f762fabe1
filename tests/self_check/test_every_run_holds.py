"""Whatever events and rules come, what the pipeline leaves behind holds; the check raises no false alarm."""

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from src.marketing_messaging_service.decisions import AUDIT
from src.marketing_messaging_service.infrastructure.database import url_of
from src.marketing_messaging_service.self_check import INVARIANTS, check_database
from tests import strategies
from tests.effort import examples
from tests.pipeline import Pipeline, quick_folder
from tests.strategies import RawFile, RulesDocument, Told

pytestmark = pytest.mark.slow


@examples(15)
@given(
    files=strategies.event_batches(),
    documents=st.lists(strategies.rules_documents(), min_size=1, max_size=4),
    files_a_run=st.integers(1, 3),
)
def test_every_run_leaves_a_database_in_which_everything_holds(
    migrated_template: Path, files: list[RawFile], documents: list[RulesDocument], files_a_run: int
) -> None:
    runs = [files[start : start + files_a_run] for start in range(0, len(files), files_a_run)]
    with quick_folder() as folder:
        pipeline = Pipeline(folder, migrated_template)
        for number, run in enumerate(runs):
            pipeline.run(run, documents[number % len(documents)])
        pipeline.engine.dispose()
        assert check_database(url_of(pipeline.database_path), (*INVARIANTS, *AUDIT)).broken == ()


@examples(15)
@given(
    files=strategies.event_batches(),
    rules=strategies.rules_documents(),
    told=st.lists(strategies.run_orders(), min_size=2, max_size=6),
)
def test_hourly_runs_and_backfills_in_any_order_leave_a_database_in_which_everything_holds(
    migrated_template: Path, files: list[RawFile], rules: RulesDocument, told: list[Told]
) -> None:
    with quick_folder() as folder:
        pipeline = Pipeline(folder, migrated_template)
        for number, run in enumerate(told):
            for file in files[number :: len(told)]:
                pipeline.land(file)
            pipeline.do(pipeline.told(run), rules)
        pipeline.engine.dispose()
        assert check_database(url_of(pipeline.database_path), (*INVARIANTS, *AUDIT)).broken == ()
