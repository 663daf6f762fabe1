"""Runs that write at the same time: their places, claims, ids, and signs of life."""

import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager, suppress
from itertools import pairwise

import pytest
from sqlalchemy import insert, make_url, select, text

from src.marketing_messaging_service.errors import DatabaseError, LeaseLostError, RunInProgressError
from src.marketing_messaging_service.infrastructure import schema
from src.marketing_messaging_service.infrastructure.database import (
    create_database_engine,
    foreseeable_errors,
    read_transaction,
    write_transaction,
)
from src.marketing_messaging_service.infrastructure.dialects.postgresql.writers import key_of
from src.marketing_messaging_service.infrastructure.run_lease import read_holder, run_lease
from src.marketing_messaging_service.infrastructure.run_lock import run_lock
from src.marketing_messaging_service.infrastructure.several_writers import (
    PlaceAmongWriters,
    create_engine_beside_others,
    decide_transaction,
    end_lease,
    is_beside_others,
    next_ids,
    place_among_writers,
    writers_of,
)
from src.marketing_messaging_service.models import EventType, Load, SourceFile
from tests.postgresql import Server

pytestmark = pytest.mark.server


@pytest.fixture
def url(postgresql: Server, postgresql_template: str) -> str:
    return postgresql.new_database(postgresql_template)


def not_expected() -> None:
    raise AssertionError


@contextmanager
def placed(
    url: str,
    seconds: float = 0,
    on_wait: Callable[[], None] = not_expected,
    is_ready: Callable[[], bool] = lambda: True,
    make_ready: Callable[[], None] = not_expected,
) -> Iterator[PlaceAmongWriters]:
    with place_among_writers(url, seconds, on_wait, is_ready=is_ready, make_ready=make_ready) as place:
        yield place


def cut(server: Server, url: str, condition: str) -> None:
    """End the sessions of a database that hold some lock, and wait until they have ended."""
    server.execute(
        "SELECT pg_terminate_backend(pid, 10000) FROM pg_locks JOIN pg_database ON pg_database.oid = database "
        f"WHERE locktype = 'advisory' AND datname = '{make_url(url).database}' AND {condition}"
    )


def lock_is(key: int) -> str:
    return f"(CAST(classid AS bigint) << 32) | CAST(objid AS bigint) = {key}"


def test_many_runs_have_a_place_at_once_and_none_that_is_alone_begins(url: str) -> None:
    with placed(url), placed(url), pytest.raises(RunInProgressError), run_lock(url, 0, lambda: None):
        pass
    alone = pytest.raises(RunInProgressError, match="Another run is at work on postgresql://")
    with run_lock(url, 0, not_expected), alone, placed(url):
        pass
    with placed(url):
        pass


def test_a_run_that_waits_for_a_place_has_it_when_the_one_that_is_alone_ends(url: str) -> None:
    waits, has_place = threading.Event(), threading.Event()

    def wait() -> None:
        with placed(url, 20, waits.set):
            has_place.set()

    with ExitStack() as held:
        held.enter_context(run_lock(url, 0, not_expected))
        waiting = threading.Thread(target=wait)
        waiting.start()
        assert waits.wait(20)
        assert not has_place.is_set()
    waiting.join(20)
    assert has_place.is_set()


def test_a_name_is_claimed_by_one_run_and_free_when_it_lets_go_or_is_gone(postgresql: Server, url: str) -> None:
    with placed(url) as one, placed(url) as other:
        assert one.claim({"a", "b"}) == {"a", "b"}
        assert other.claim({"b", "c"}) == {"c"}
        one.let_go({"b"})
        assert other.claim({"b"}) == {"b"}
        assert other.claim({"a"}) == set()
        cut(postgresql, url, lock_is(key_of("a")))
        assert _until(lambda: other.claim({"a"}) == {"a"})
        with pytest.raises(DatabaseError), foreseeable_errors():
            one.claim({"d"})


def test_a_run_that_lost_its_place_while_it_let_go_of_names_says_so_when_it_claims_others(
    postgresql: Server, url: str
) -> None:
    with placed(url) as place:
        assert place.claim({"a"}) == {"a"}
        cut(postgresql, url, lock_is(key_of("a")))
        for _ in range(2):
            place.let_go({"a"})
        with pytest.raises(LeaseLostError, match="with which this run held its place"):
            place.claim({"b"})
        with pytest.raises(LeaseLostError, match="with which this run held its place"):
            place.show_life(1)


def _until(is_so: Callable[[], bool]) -> bool:
    ticks = threading.Event()
    return any(is_so() or ticks.wait(0.1) for _ in range(100))


def test_a_run_whose_place_is_lost_commits_nothing_more(postgresql: Server, url: str) -> None:
    engine = create_engine_beside_others(url)
    with placed(url) as place, place.guarding(engine):
        assert place.claim({"a"})
        with write_transaction(engine) as connection:
            connection.execute(insert(EventType).values(event_type="before"))
        refused = pytest.raises(LeaseLostError, match="with which this run held its place")
        with refused, write_transaction(engine) as connection:
            connection.execute(insert(EventType).values(event_type="after"))
            cut(postgresql, url, lock_is(key_of("a")))
        with read_transaction(engine) as connection:
            assert connection.execute(select(EventType.event_type)).scalars().all() == ["before"]


def test_a_run_that_is_alone_waits_for_what_one_without_a_place_commits_at_its_last_moment(url: str) -> None:
    beside, alone = create_engine_beside_others(url), create_database_engine(url)
    seen: list[str] = []

    def write_alone() -> None:
        with write_transaction(alone) as connection:
            seen.extend(connection.execute(select(EventType.event_type)).scalars())

    with write_transaction(beside) as connection:
        connection.execute(insert(EventType).values(event_type="in time"))
        waiting = threading.Thread(target=write_alone)
        waiting.start()
        waiting.join(0.5)
        assert waiting.is_alive()
    waiting.join(20)
    assert seen == ["in time"]


def test_transactions_of_several_runs_go_on_beside_each_other(url: str) -> None:
    one, other = create_engine_beside_others(url), create_engine_beside_others(url)
    with write_transaction(one) as first:
        first.execute(insert(EventType).values(event_type="one"))
        with write_transaction(other) as second:
            second.execute(insert(EventType).values(event_type="other"))
        # What was committed meanwhile is seen.
        assert first.execute(select(EventType.event_type).order_by(EventType.event_type)).scalars().all() == [
            "one",
            "other",
        ]


def test_one_decides_at_a_time_when_no_other_writes_and_sees_one_moment(url: str) -> None:
    engine = create_engine_beside_others(url)
    begun = threading.Event()

    def decide() -> int:
        with decide_transaction(engine) as connection:
            begun.set()
            return len(connection.execute(select(EventType.event_type)).all())

    with ThreadPoolExecutor(2) as pool:
        with write_transaction(engine) as connection:
            connection.execute(insert(EventType).values(event_type="under way"))
            deciding = pool.submit(decide)
            assert not begun.wait(0.5)
        assert deciding.result(20) == 1
        begun.clear()
        with decide_transaction(engine) as connection:
            deciding = pool.submit(decide)
            with write_transaction(create_engine_beside_others(url)) as other:
                other.execute(insert(EventType).values(event_type="meanwhile"))
            assert len(connection.execute(select(EventType.event_type)).all()) == 1
            assert not begun.wait(0.5)
        assert deciding.result(20) == 2


def test_ids_are_given_once_and_follow_each_other(url: str) -> None:
    engine = create_engine_beside_others(url)

    def take(count: int) -> range:
        with write_transaction(engine) as connection:
            first = next_ids(connection, Load, count)
            return range(first, first + count)

    with ThreadPoolExecutor(4) as pool:
        blocks = sorted(pool.map(take, [1, 5, 2, 7, 1, 3, 9, 4] * 4), key=lambda block: block.start)
    assert blocks[0].start == 1
    assert all(block.stop == following.start for block, following in pairwise(blocks))


def test_ids_go_on_behind_the_rows_of_a_run_that_was_alone_and_never_back(url: str) -> None:
    alone = create_database_engine(url)
    row = text(
        "INSERT INTO source_files (id, content_hash, path, size_bytes, modified_at, file_signature, taken_at, "
        "reader_number, read_at) VALUES (7, 'a', 'a', 1, now(), 's', now(), 1, now())"
    )
    with write_transaction(alone) as connection:
        connection.execute(row)
    first, second = create_engine_beside_others(url), create_engine_beside_others(url)
    with suppress(ZeroDivisionError), write_transaction(first) as connection:
        assert next_ids(connection, SourceFile, 10) == 8
        raise ZeroDivisionError
    with write_transaction(second) as connection:
        assert next_ids(connection, SourceFile, 1) == 18
    with write_transaction(alone) as connection:
        assert next_ids(connection, SourceFile, 1) == 8


def test_the_schema_is_made_by_one_run_alone_and_then_all_have_a_place(postgresql: Server) -> None:
    url = postgresql.new_database()
    migrated: list[str] = []

    def make_ready() -> None:
        migrated.extend(schema.migrate(url))

    def run(_number: int) -> None:
        with placed(url, 30, lambda: None, lambda: schema.is_current(url), make_ready):
            together.wait(30)

    together = threading.Barrier(3)
    with ThreadPoolExecutor(3) as pool:
        list(pool.map(run, range(3)))
    assert len(migrated) == len(set(migrated)) > 0


def test_a_run_shows_its_life_as_long_as_it_has_its_place(postgresql: Server, url: str) -> None:
    engine = create_engine_beside_others(url)
    several = writers_of(engine)
    assert several is not None
    with placed(url) as place:
        place.show_life(3)
        with read_transaction(engine) as connection:
            assert several.living_runs(connection, [2, 3]) == {3}
        cut(postgresql, url, lock_is(key_of("run 3")))

        def is_dead() -> bool:
            with read_transaction(engine) as connection:
                return several.living_runs(connection, [2, 3]) == set()

        assert _until(is_dead)


def test_the_lease_of_a_run_that_was_alone_ends_and_it_writes_nothing_more(url: str) -> None:
    alone, beside = create_database_engine(url), create_engine_beside_others(url)
    lease = run_lease(alone, "hourly", flow_run_id=None, lease_seconds=3600, wait=lambda _: False)
    with lease:
        end_lease(beside)
        assert read_holder(beside) is None
        with pytest.raises(LeaseLostError), write_transaction(alone) as connection:
            connection.execute(insert(EventType).values(event_type="too late"))


def test_only_an_engine_that_was_made_for_it_writes_beside_others(url: str) -> None:
    assert is_beside_others(create_engine_beside_others(url))
    assert not is_beside_others(create_database_engine(url))
    assert writers_of(create_database_engine(url)) is None
