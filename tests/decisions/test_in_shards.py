"""Deciding in shards: the same decisions as in one transaction, also where a run was cut off in between."""

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import cache
from hashlib import md5
from itertools import count
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from sqlalchemy import select, text, update

from src.marketing_messaging_service.decisions import in_shards
from src.marketing_messaging_service.decisions.decide import Pending
from src.marketing_messaging_service.decisions.shard import Shard
from src.marketing_messaging_service.infrastructure.database import (
    create_database_engine,
    create_read_only_engine,
    read_transaction,
    write_transaction,
)
from src.marketing_messaging_service.infrastructure.several_writers import create_engine_beside_others
from src.marketing_messaging_service.models import Batch, BatchShard, Load, LoadState, Ruleset, SendRequest
from src.marketing_messaging_service.run_options import RunOptions
from src.marketing_messaging_service.self_check import check
from src.marketing_messaging_service.vocabulary import SuppressionReason
from tests import strategies
from tests.effort import examples
from tests.language_strategies import Document, language_documents
from tests.pipeline import Pipeline
from tests.postgresql import Server, ServerTemplate
from tests.self_check.databases import broken
from tests.strategies import RawFile, Told
from tests.test_language_equals_reference import LanguageReference, decided, dense_runs, expected
from tests.test_pipeline_equals_reference import fresh_pipeline

pytestmark = [pytest.mark.server, pytest.mark.slow]

SHARDS = (1, 2, 4)


@pytest.fixture
def on_server(postgresql: Server, postgresql_template: str) -> ServerTemplate:
    return ServerTemplate(postgresql, postgresql_template)


@dataclass(frozen=True, slots=True)
class OfOneName(ServerTemplate):
    """A template whose copies all have one name, so that there is one at a time."""

    copy_name: str

    def copy(self) -> str:
        self.server.execute(f"CREATE DATABASE {self.copy_name} TEMPLATE {self.name}")
        return self.server.url_of(self.copy_name)


@pytest.fixture
def for_examples(postgresql: Server, postgresql_template: str, monkeypatch: pytest.MonkeyPatch) -> ServerTemplate:
    """A template for examples; each reuses the previous one's engines.

    An engine compiles a statement once, and compiling was half of an example's work.
    """
    monkeypatch.setattr(check, "create_read_only_engine", cache(create_read_only_engine))
    return OfOneName(postgresql, postgresql_template, f"examples_{next(_numbers)}")


_numbers = count(1)
_engine_beside_others = cache(create_engine_beside_others)


@contextmanager
def sharded(template: ServerTemplate, shard_count: int) -> Iterator[Pipeline]:
    with fresh_pipeline(template) as pipeline:
        pipeline.engine = _engine_beside_others(pipeline.database_url)
        pipeline.shard_count = shard_count
        yield pipeline


@pytest.mark.parametrize("shard_count", SHARDS)
@examples(20)
@given(runs=dense_runs())
def test_every_decision_is_that_of_the_reference_however_many_shards(
    for_examples: ServerTemplate, shard_count: int, runs: list[tuple[datetime, RawFile, Document]]
) -> None:
    reference = LanguageReference()
    with sharded(for_examples, shard_count) as pipeline:
        files: list[RawFile] = []
        for as_of, file, document in runs:
            pipeline.land(file)
            files.append(file)
            options = pipeline.options(as_of=as_of)
            reference.run(files, document, options)
            pipeline.do(options, document)
            assert decided(pipeline) == expected(reference)
        assert broken(pipeline.database_url) == {}


@examples(20)
@given(
    files=strategies.event_batches(),
    documents=st.lists(language_documents(), min_size=1, max_size=3),
    orders=st.lists(strategies.run_orders(), min_size=1, max_size=4),
)
def test_windows_held_events_and_events_of_the_future_are_decided_in_shards_as_in_one(
    for_examples: ServerTemplate, files: list[RawFile], documents: list[Document], orders: list[Told]
) -> None:
    reference = LanguageReference()
    with sharded(for_examples, 3) as pipeline:
        for number, told in enumerate(orders):
            document = documents[number % len(documents)]
            for file in files[number :: len(orders)]:
                pipeline.land(file)
            landed = [file for earlier in range(number + 1) for file in files[earlier :: len(orders)]]
            options = pipeline.told(told)
            reference.run(landed, document, options)
            pipeline.do(options, document)
            assert decided(pipeline) == expected(reference)
        assert broken(pipeline.database_url) == {}


# ---- cut off ----


def document(template_name: str = "WELCOME") -> dict[str, Any]:
    return {
        "rules": [
            {
                "name": "welcome",
                "trigger": {"event_type": "signup_completed"},
                "action": {"type": "send", "template_name": template_name, "delivery_method": "email"},
                "suppression": {"mode": "once_ever"},
            },
            {
                "name": "reminder",
                "trigger": {"event_type": "order_created"},
                "wait": {"hours": 2},
                "action": {"type": "send", "template_name": "REMINDER", "delivery_method": "email"},
            },
            {
                "name": "late_payer",
                "trigger": {"event_type": "payment_failed"},
                "conditions": {"prior_event": {"event_type": "signup_completed", "hours": 24}},
                "action": {"type": "send", "template_name": "PAY", "delivery_method": "sms"},
                "suppression": {"mode": "once_per_calendar_day"},
            },
        ]
    }


def events(first: int, last: int, event_type: str = "signup_completed") -> list[dict[str, Any]]:
    at = datetime(2026, 11, 23, 8, tzinfo=UTC)
    return [
        {
            "message_id": f"{event_type}-{number}",
            "user_id": f"u{number % 15}",
            "event_type": event_type,
            "event_timestamp": (at + timedelta(seconds=number)).isoformat(),
        }
        for number in range(first, last)
    ]


class CutOffError(Exception):
    """What ends a run in the middle of deciding."""


@pytest.fixture
def cut(monkeypatch: pytest.MonkeyPatch) -> set[int]:
    """The shards that are cut off, by number."""
    cut: set[int] = set()
    real = in_shards._decide_shard

    def decide_shard(begin: Any, batch_id: int, number: int) -> Any:
        if number in cut:
            raise CutOffError
        return real(begin, batch_id, number)

    monkeypatch.setattr(in_shards, "_decide_shard", decide_shard)
    return cut


def options(pipeline: Pipeline, hour: int = 10) -> RunOptions:
    return pipeline.options(as_of=datetime(2026, 11, 23, hour, tzinfo=UTC))


def left_in_part(pipeline: Pipeline, cut: set[int]) -> None:
    """Cut a run off after two of three shards, one of which had something waiting."""
    pipeline.land(events(0, 30, "order_created"))
    pipeline.do(options(pipeline, 9), document())
    pipeline.land([*events(0, 40), *events(0, 40, "payment_failed")])
    cut.add(2)
    with pytest.raises(CutOffError):
        pipeline.do(options(pipeline, 13), document())
    cut.clear()


def undisturbed(template: ServerTemplate, shard_count: int = 1) -> tuple[list[Any], list[Any]]:
    with sharded(template, shard_count) as pipeline:
        pipeline.land(events(0, 30, "order_created"))
        pipeline.do(options(pipeline, 9), document())
        pipeline.land([*events(0, 40), *events(0, 40, "payment_failed")])
        pipeline.do(options(pipeline, 13), document())
        pipeline.land(events(40, 60))
        pipeline.do(options(pipeline, 14), document("OTHER"))
        return pipeline.send_requests(), pipeline.suppressions()


@pytest.mark.parametrize("next_count", [1, 4])
@pytest.mark.parametrize("is_beside", [True, False])
def test_a_batch_that_was_cut_off_is_ended_as_it_was_begun_before_anything_new(
    on_server: ServerTemplate, cut: set[int], next_count: int, is_beside: bool
) -> None:
    with sharded(on_server, 3) as pipeline:
        left_in_part(pipeline, cut)
        with read_transaction(pipeline.engine) as connection:
            assert connection.execute(select(Batch.is_complete).order_by(Batch.id)).scalars().all() == [True, False]
            done = select(BatchShard.shard_number).where(BatchShard.decided_at.is_not(None), BatchShard.batch_id == 2)
            assert sorted(connection.execute(done).scalars()) == [1, 3]
            waiting = select(Load.id).where(Load.state == LoadState.LOADED)
            assert connection.execute(waiting).scalars().all() == [2]
        assert broken(pipeline.database_url) == {}
        # With other rules, another time and another number.
        pipeline.land(events(40, 60))
        pipeline.shard_count = next_count
        if not is_beside:
            pipeline.engine = create_database_engine(pipeline.database_url)
        pipeline.do(options(pipeline, 14), document("OTHER"))
        assert broken(pipeline.database_url) == {}
        with read_transaction(pipeline.engine) as connection:
            assert connection.execute(select(Batch.is_complete)).scalars().all() == [True] * 3
            assert connection.execute(select(Batch.shard_count).order_by(Batch.id)).scalars().all()[1] == 3
            by_ruleset = (
                select(SendRequest.template_name)
                .join(Ruleset, Ruleset.id == SendRequest.ruleset_id)
                .where(Ruleset.id == 1)
                .distinct()
            )
            assert set(connection.execute(by_ruleset).scalars()) == {"WELCOME", "PAY", "REMINDER"}
        assert (pipeline.send_requests(), pipeline.suppressions()) == undisturbed(on_server)


def test_the_self_check_knows_what_each_shard_knew_of_blocks(on_server: ServerTemplate, cut: set[int]) -> None:
    blocked = {**document(), "blocks": [{"name": "opted_out", "from": {"event_type": "opted_out"}}]}
    with sharded(on_server, 3) as pipeline:
        pipeline.land(events(0, 40))
        cut.add(2)
        with pytest.raises(CutOffError):
            pipeline.do(options(pipeline), blocked)
        cut.clear()
        # One shard knows of these, and the other two did not.
        pipeline.land(events(0, 15, "opted_out"))
        pipeline.take()
        in_shards.end_batches(pipeline.engine)
        assert any(f"{SuppressionReason.BLOCKED}opted_out" in each for each in pipeline.suppressions())
        assert pipeline.send_requests()
        assert broken(pipeline.database_url) == {}
        for number in (1, 2):
            with write_transaction(pipeline.engine) as connection:
                shard = (BatchShard.batch_id == 1, BatchShard.shard_number == number)
                knew = connection.execute(select(BatchShard.last_load_id).where(*shard)).scalar_one()
                connection.execute(update(BatchShard).where(*shard).values(last_load_id=3 - knew))
            assert "blocks_held" in broken(pipeline.database_url), number
            with write_transaction(pipeline.engine) as connection:
                connection.execute(update(BatchShard).where(*shard).values(last_load_id=knew))


def test_what_is_loaded_while_a_batch_is_decided_is_seen_by_none_of_its_shards(
    on_server: ServerTemplate, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = in_shards._decide_shards
    with sharded(on_server, 3) as pipeline:
        pipeline.land(events(0, 40, "payment_failed"))

        def decide_shards(*arguments: Any) -> Any:
            # Had a shard seen these, its users would have had their prior event.
            pipeline.land(events(0, 40))
            pipeline.take()
            return real(*arguments)

        monkeypatch.setattr(in_shards, "_decide_shards", decide_shards)
        pipeline.do(options(pipeline), document())
        monkeypatch.undo()
        assert pipeline.send_requests() == []
        pipeline.do(options(pipeline), document())
        assert len(pipeline.send_requests()) == 15
        assert broken(pipeline.database_url) == {}


def test_every_user_is_of_one_shard_which_is_that_of_the_first_bits_of_its_md5(on_server: ServerTemplate) -> None:
    with sharded(on_server, 3) as pipeline, read_transaction(pipeline.engine) as connection:
        users = text("SELECT 'u' || number AS user_id FROM generate_series(1, 100) AS number").columns(
            user_id=SendRequest.user_id.type
        )
        user_id = users.subquery().c.user_id
        found = [
            set(connection.execute(select(user_id).where(Shard(n, 3).holds(user_id))).scalars()) for n in (1, 2, 3)
        ]
        assert sum(map(len, found)) == len(set.union(*found)) == 100
        first_bits = {user: int(md5(user.encode(), usedforsecurity=False).hexdigest()[:8], 16) for user in found[0]}
        assert {bits % 3 for bits in first_bits.values()} == {0}


def test_of_many_rules_those_of_types_that_are_not_there_are_left_out_in_shards_too(
    on_server: ServerTemplate, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys.modules[Pending.__module__], "FEW_RULES", 0)
    assert undisturbed(on_server, 3) == undisturbed(on_server)


def test_an_hour_with_nothing_to_decide_has_no_shards(on_server: ServerTemplate) -> None:
    with sharded(on_server, 3) as pipeline:
        pipeline.do(options(pipeline), document())
        with read_transaction(pipeline.engine) as connection:
            assert connection.execute(select(Batch.id)).all() == []
