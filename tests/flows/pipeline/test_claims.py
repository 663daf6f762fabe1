"""Which files a run takes beside others, in which order, and which it leaves to them."""

import logging
from collections.abc import Collection, Iterator, Sequence
from contextlib import closing, contextmanager
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import pytest
from sqlalchemy import Engine, select

from flows.pipeline import claims as claims_module
from flows.pipeline.claims import Claims
from flows.pipeline.stopping import StopRequest
from src.marketing_messaging_service import loading, staging
from src.marketing_messaging_service.infrastructure.database import read_transaction
from src.marketing_messaging_service.loading.ledger import FileHistory
from src.marketing_messaging_service.models import RejectedRow
from src.marketing_messaging_service.staging.landing_folder import FolderFile
from src.marketing_messaging_service.staging.results import LandingFile


class Place:
    """A place whose names some other run has, until it lets go of them."""

    def __init__(self, of_others: Collection[str] = ()) -> None:
        self.of_others = set(of_others)
        self.own: set[str] = set()
        self.asked: list[set[str]] = []

    def claim(self, names: Collection[str]) -> set[str]:
        self.asked.append(set(names))
        assert not self.own & set(names), "a name is claimed once"
        had = set(names) - self.of_others
        self.own |= had
        return had

    def let_go(self, names: Collection[str]) -> None:
        self.own -= set(names)

    def show_life(self, run_id: int) -> None:
        del run_id

    @contextmanager
    def guarding(self, engine: Engine) -> Iterator[None]:
        del engine
        yield


def file(name: str, *grown_from: str, size_bytes: int = 10) -> LandingFile:
    return LandingFile(None, name, name, size_bytes, datetime(2026, 1, 1, tzinfo=UTC), "s", grown_from)


@pytest.fixture
def known(monkeypatch: pytest.MonkeyPatch) -> dict[str, FileHistory]:
    """What is known of contents; what was refused before the run began is none of them."""
    known: dict[str, FileHistory] = {}
    monkeypatch.setattr(loading, "refused_contents", lambda _: frozenset({"refused before"}))
    monkeypatch.setattr(
        loading, "known_contents", lambda _, asked: {each: known[each] for each in asked if each in known}
    )
    monkeypatch.setattr(claims_module, "LOOK_UP_SECONDS", 0)
    return known


def claims(place: Place, engine: Engine, *, wait_seconds: float = 60, groups_at_once: int = 1) -> Claims:
    log = logging.getLogger("claims")
    return Claims(place, engine, StopRequest(), log=log, wait_seconds=wait_seconds, groups_at_once=groups_at_once)


def names(portion: Sequence[LandingFile]) -> list[str]:
    return [each.display_path for each in portion]


@pytest.mark.usefixtures("known")
def test_files_are_claimed_as_they_are_staged_and_let_go_when_the_next_are_asked_for(engine: Engine) -> None:
    place = Place()
    files = [file("a"), file("b"), file("large", size_bytes=100 << 20), file("c")]
    found = []
    for portion in claims(place, engine).portions(files):
        assert place.own == {f"file {each.content_hash}" for each in portion}
        found.append(names(portion))
    assert found == [["a", "b"], ["large"], ["c"]]
    assert place.own == set()


@pytest.mark.usefixtures("known")
def test_several_groups_are_claimed_at_once_for_workers(engine: Engine) -> None:
    files = [file(f"{number}", size_bytes=100 << 20) for number in range(5)]
    found = [names(each) for each in claims(Place(), engine, groups_at_once=3).portions(files)]
    assert found == [["0", "1", "2"], ["3", "4"]]


@pytest.mark.usefixtures("known")
def test_no_more_than_so_many_are_claimed_at_once(engine: Engine) -> None:
    place = Place()
    files = [file(f"{number}") for number in range(claims_module.MOST_CLAIMED + 1)]
    assert [len(each) for each in claims(place, engine).portions(files)] == [claims_module.MOST_CLAIMED, 1]


def test_a_file_that_another_run_takes_is_passed_over_and_then_found_taken(
    engine: Engine, known: dict[str, FileHistory]
) -> None:
    place = Place({"file b"})
    own = claims(place, engine)
    found = []
    for portion in own.portions([file("a"), file("b"), file("c")]):
        found.append(names(portion))
        place.of_others.clear()
        known["b"] = FileHistory(1, is_taken=True)
    assert found == [["a", "c"]]
    assert (own.taken_count, own.left) == (1, ())


@pytest.mark.usefixtures("known")
def test_the_file_of_a_run_that_was_killed_is_taken_at_the_end(engine: Engine) -> None:
    place = Place({"file b"})
    found = []
    for portion in claims(place, engine).portions([file("a"), file("b"), file("c")]):
        found.append(names(portion))
        place.of_others.clear()
    assert found == [["a", "c"], ["b"]]


@pytest.mark.usefixtures("known")
def test_what_another_run_has_for_too_long_is_left_to_it(engine: Engine, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    own = claims(Place({"file b"}), engine, wait_seconds=0.01)
    assert [names(each) for each in own.portions([file("a"), file("b")])] == [["a"]]
    assert names(own.left) == ["b"]
    assert caplog.messages == ["1 file is being taken by another run right now; this run will look at it again."]


@pytest.mark.usefixtures("known")
def test_a_file_is_claimed_with_those_that_it_has_grown_from(engine: Engine) -> None:
    place = Place({"file beginning"})
    own = claims(place, engine, wait_seconds=0.01)
    grown = [file("a", "beginning"), file("b"), replace(file("c"), grown_from=("b",))]
    assert [names(each) for each in own.portions(grown)] == [["b", "c"]]
    assert names(own.left) == ["a"]


def test_what_another_run_found_it_cannot_read_is_not_read_again_unless_it_was_delivered_again(
    engine: Engine, known: dict[str, FileHistory]
) -> None:
    known["refused before"] = FileHistory(1, is_refused=True)
    known["refused now"] = FileHistory(2, is_refused=True)
    known["in part"] = FileHistory(3)
    own = claims(Place(), engine)
    files = [file("refused before"), file("refused now"), file("in part")]
    assert [names(each) for each in own.portions(files)] == [["refused before", "in part"]]
    assert own.taken_count == 1


BEGINNING = (
    b"no event\n"
    b'{"message_id": "m1", "user_id": "ada", "event_type": "login", "event_timestamp": "2026-01-01T00:00:00Z"}\n'
)
WHOLE = BEGINNING + b"nor this one\n"


@pytest.fixture
def growing(tmp_path: Path) -> Path:
    """A file whose first line is not an event."""
    (tmp_path / "landing").mkdir()
    path = tmp_path / "landing" / "growing.jsonl"
    path.write_bytes(BEGINNING)
    return path


def found(path: Path, engine: Engine) -> LandingFile:
    [each] = staging.discover(path.parent, loading.known_files(engine)).new_files
    return each


def load(each: LandingFile, engine: Engine) -> None:
    with closing(staging.stage_file(each)) as staged:
        loading.load_file(engine, staged, as_of=datetime(2026, 1, 1, tzinfo=UTC))


def test_what_another_run_took_of_a_file_before_it_went_on_growing_is_not_kept_twice(
    growing: Path, engine: Engine
) -> None:
    beginning = found(growing, engine)
    growing.write_bytes(WHOLE)
    whole = found(growing, engine)
    assert whole.grown_from == ()
    place = Place({f"path {whole.display_path}"})
    portions = claims(place, engine).portions([whole, file("other")])
    assert names(next(portions)) == ["other"]
    growing.write_bytes(BEGINNING)
    load(replace(beginning, file_signature=growing_signature(growing)), engine)
    growing.write_bytes(WHOLE)
    place.of_others.clear()
    [[taken]] = list(portions)
    assert taken.grown_from == (beginning.content_hash,)
    load(replace(taken, file_signature=growing_signature(growing)), engine)
    with read_transaction(engine) as connection:
        kept = connection.execute(select(RejectedRow.raw_line).order_by(RejectedRow.id)).scalars().all()
    assert kept == ["no event", "nor this one"]


def test_what_another_run_took_of_a_file_before_it_was_renamed_and_went_on_growing_is_not_kept_twice(
    growing: Path, engine: Engine
) -> None:
    load(found(growing, engine), engine)
    growing.write_bytes(WHOLE)
    whole = found(growing, engine)
    with closing(staging.stage_file(whole)) as staged:
        # Now the other run has read it.
        rotated = growing.rename(growing.with_name("growing.jsonl.1"))
        rotated.write_bytes(WHOLE + b"and not this one\n")
        last = found(rotated, engine)
        assert last.grown_from == whole.grown_from
        # Each claims what both have grown from, so that they take turns.
        place = Place({f"file {content_hash}" for content_hash in whole.grown_from})
        portions = claims(place, engine).portions([last, file("other")])
        assert names(next(portions)) == ["other"]
        loading.load_file(engine, staged, as_of=datetime(2026, 1, 1, tzinfo=UTC))
    place.of_others.clear()
    [[taken]] = list(portions)
    assert taken.grown_from == (*whole.grown_from, whole.content_hash)
    load(taken, engine)
    with read_transaction(engine) as connection:
        kept = connection.execute(select(RejectedRow.raw_line).order_by(RejectedRow.id)).scalars().all()
    assert kept == ["no event", "nor this one", "and not this one"]


def growing_signature(path: Path) -> str:
    """What a file is known by as it is now."""
    return FolderFile(path).signature()


def test_a_file_that_has_changed_since_it_was_found_is_said_to_have_grown_from_nothing(
    growing: Path, engine: Engine
) -> None:
    beginning = found(growing, engine)
    load(beginning, engine)
    growing.write_bytes(WHOLE)
    whole = replace(found(growing, engine), grown_from=())
    growing.write_bytes(b"quite another\nfile\n")
    assert [list(each) for each in claims(Place(), engine).portions([whole])] == [[whole]]
