"""Lines with the message_id of another event: no retries, so that each is kept whole, with a count of its own."""

import json
import os
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import Engine

from src.marketing_messaging_service.earlier_runs import KnownFiles
from src.marketing_messaging_service.errors import LandingError
from src.marketing_messaging_service.infrastructure.database import preview_engine
from src.marketing_messaging_service.loading import load_file, load_files
from src.marketing_messaging_service.loading.results import LoadResult, NotLoaded
from src.marketing_messaging_service.run_options import Window
from src.marketing_messaging_service.staging import discover, stage_files
from tests.loading.conftest import AS_OF, Load
from tests.loading.raw_files import everything, raw, rows, stage
from tests.loading.test_duplicates import FULL, conflicts


def kept(engine: Engine) -> list[tuple[Any, ...]]:
    """The collisions among the rejected rows."""
    return rows(
        engine,
        "SELECT load_id, line_number, raw_line, raw_bytes, field_name, event_id FROM rejected_rows "
        "WHERE reason_code = 'message_id_collision' ORDER BY id",
    )


def differing(engine: Engine) -> list[str]:
    found = rows(engine, "SELECT explanation FROM rejected_rows ORDER BY id")
    return [explanation.partition("differs in ")[2].removesuffix(".") for (explanation,) in found]


def counts(result: LoadResult) -> tuple[int, int, int, int]:
    return result.inserted_count, result.duplicate_count, result.conflict_count, result.collision_count


@pytest.mark.parametrize(
    ("field", "change"),
    [
        ("user_id", {"user_id": "other"}),
        ("event_type", {"event_type": "app_opened"}),
        ("amount", {"properties": FULL["properties"] | {"amount": 9.51}}),
        ("attempt_number", {"properties": FULL["properties"] | {"attempt_number": None}}),
        ("failure_reason", {"properties": FULL["properties"] | {"failure_reason": "card_expired"}}),
        ("email", {"user_traits": FULL["user_traits"] | {"email": ""}}),
        ("country", {"user_traits": FULL["user_traits"] | {"country": "NO"}}),
        ("marketing_opt_in", {"user_traits": FULL["user_traits"] | {"marketing_opt_in": False}}),
        ("risk_segment", {"user_traits": FULL["user_traits"] | {"risk_segment": "high"}}),
    ],
)
def test_a_line_that_differs_in_more_than_the_time_is_kept_whole(
    engine: Engine, load: Load, field: str, change: dict[str, Any]
) -> None:
    load("a.jsonl", raw("m0"), raw("m1", **FULL))
    other = json.dumps(raw("m1", **FULL | change))
    result = load("b.jsonl", raw("m2"), other)
    assert counts(result) == (1, 0, 0, 1)
    assert kept(engine) == [(2, 2, other, None, "message_id", 2)]
    assert differing(engine) == [field]
    assert conflicts(engine) == []


def test_it_says_every_field_that_differs_and_the_event_that_stands(engine: Engine, load: Load) -> None:
    load(
        "a.jsonl",
        raw("m0"),
        raw("m1", properties={"amount": 1}),
        raw("m1", user_id="v", event_timestamp="2026-03-01T12:00:01Z", user_traits={"email": "a@b.c"}),
    )
    assert rows(engine, "SELECT explanation FROM rejected_rows") == [
        (
            "Another event already has the message_id (events.id 2); the line differs in user_id, "
            "event_timestamp, amount, email.",
        )
    ]


def test_the_event_that_came_first_stands(engine: Engine, load: Load) -> None:
    load("a.jsonl", raw("m1", properties={"amount": 1}), raw("m1", user_id="v", user_traits={"email": "a@b.c"}))
    load("b.jsonl", raw("m1", properties={"amount": 2}))
    assert rows(engine, "SELECT message_id, user_id FROM events") == [("m1", "u")]
    assert rows(engine, "SELECT event_id, amount FROM event_properties") == [(1, 1.0)]
    assert rows(engine, "SELECT * FROM user_traits") == []


def test_two_producers_that_count_from_one_lose_nothing(engine: Engine, load: Load) -> None:
    shop = [raw(str(number), user_id=f"shop-{number}") for number in range(40)]
    app = [json.dumps(raw(str(number), user_id=f"app-{number}", event_type="payment_failed")) for number in range(40)]
    load("shop.jsonl", *shop)
    result = load("app.jsonl", *app)
    assert counts(result) == (0, 0, 0, 40)
    assert [raw_line for _, _, raw_line, _, _, _ in kept(engine)] == app


def test_the_same_line_is_kept_once_in_whatever_file_it_comes(engine: Engine, load: Load) -> None:
    load("a.jsonl", raw("m1"), raw("m2"))
    other, third = raw("m1", user_id="v"), raw("m1", user_id="w")
    assert counts(load("b.jsonl", other, other, third)) == (0, 1, 0, 2)
    assert counts(load("c.jsonl", raw("m3"), other, raw("m2", user_id="v"), third)) == (1, 2, 0, 1)
    assert [(load_id, line) for load_id, line, *_ in kept(engine)] == [(2, 1), (2, 3), (3, 3)]


def test_following_the_advice_leads_to_the_event(engine: Engine, load: Load) -> None:
    load("a.jsonl", raw("m1"), raw("m1", user_id="v"))
    assert load("b.jsonl", raw("app-m1", user_id="v"), raw(None, user_id="w")).inserted_count == 2
    assert rows(engine, "SELECT user_id FROM events ORDER BY id") == [("u",), ("v",), ("w",)]


def test_lines_are_found_again_behind_blank_and_rejected_ones_and_in_small_chunks(engine: Engine, load: Load) -> None:
    load("a.jsonl", *(raw(f"m{number}") for number in range(5)))
    others = [json.dumps(raw(f"m{number}", user_id="zoë 🙂"), ensure_ascii=False) for number in range(5)]
    lines = [line for other in others for line in ("", other, "{")]
    result = load("b.jsonl", "{", *lines, chunk_rows=2)
    assert (result.collision_count, result.rejected_count, result.blank_count) == (5, 6, 5)
    assert [(line, raw_line) for _, line, raw_line, *_ in kept(engine)] == [
        (3 * place + 3, other) for place, other in enumerate(others)
    ]


def test_of_files_loaded_together_the_first_one_stands(engine: Engine, tmp_path: Path) -> None:
    for place, name in enumerate(("a", "b", "c")):
        path = tmp_path / f"{name}.jsonl"
        path.write_text("".join(json.dumps(raw(f"m{number}", user_id=name)) + "\n" for number in range(place, 3)))
        os.utime(path, (place, place))
    staged = stage_files(discover(tmp_path, KnownFiles()).new_files)
    with closing(staged.rows):
        results = load_files(engine, staged.files, as_of=AS_OF)
    assert [counts(each) for each in results if isinstance(each, LoadResult)] == [
        (3, 0, 0, 0),
        (0, 0, 0, 2),
        (0, 0, 0, 1),
    ]
    assert [(load_id, line, event_id) for load_id, line, _, _, _, event_id in kept(engine)] == [
        (2, 1, 2),
        (2, 2, 3),
        (3, 1, 3),
    ]


def test_a_file_that_has_changed_since_leaves_nothing_and_says_so(engine: Engine, landing: Path, load: Load) -> None:
    load("a.jsonl", raw("m1"))
    before = everything(engine)
    with closing(stage(landing, "b.jsonl", raw("m2"), raw("m1", user_id="v"))) as staged:
        (landing / "b.jsonl").write_text(json.dumps(raw("m1", user_id="somebody else")) + "\n" * 2)
        with pytest.raises(LandingError, match=r"^b\.jsonl changed while it was read; nothing of it was taken"):
            load_file(engine, staged, as_of=AS_OF)
    assert everything(engine) == before


def test_the_part_of_a_file_that_is_taken_again_keeps_none_twice(engine: Engine, landing: Path, load: Load) -> None:
    load("a.jsonl", raw("m1"))
    lines = (raw("m2", event_timestamp="2026-03-02T12:00:00Z"), raw("m1", user_id="v"))
    window = Window(AS_OF.replace(hour=0), AS_OF.replace(hour=23))
    assert counts(load("b.jsonl", *lines, window=window)) == (0, 0, 0, 1)
    with closing(stage(landing, "b.jsonl", *lines)) as staged:
        assert load_file(engine, staged, as_of=AS_OF, window=window) is NotLoaded.NOTHING_NEW
        result = load_file(engine, staged, as_of=AS_OF)
    assert isinstance(result, LoadResult)
    assert counts(result) == (1, 1, 0, 0)
    assert len(kept(engine)) == 1


def test_a_preview_keeps_none_and_can_look_at_several_files(engine: Engine, landing: Path, load: Load) -> None:
    load("a.jsonl", raw("m1"))
    before = everything(engine)
    with preview_engine(str(engine.url)) as scratch:
        for name in ("b.jsonl", "c.jsonl"):
            with closing(stage(landing, name, raw("m1", user_id=name))) as staged:
                result = load_file(scratch, staged, as_of=AS_OF)
                assert isinstance(result, LoadResult)
                assert result.collision_count == 1
    assert everything(engine) == before


class TestAFieldThatWasDeclaredLater:
    """What an event had under a key that was unknown then was not kept; a redelivery counts as the same."""

    @pytest.fixture(autouse=True)
    def _event_from_before(self, engine: Engine, load: Load) -> None:
        load("a.jsonl", raw("m1", properties={"amount": 1, "order_id": "A"}))
        with engine.begin() as connection:
            connection.exec_driver_sql("UPDATE event_properties SET order_id = NULL")

    def test_is_no_difference_where_the_file_had_the_key(self, engine: Engine, load: Load) -> None:
        with engine.begin() as connection:
            connection.exec_driver_sql("INSERT INTO unknown_keys VALUES (1, 'properties.order_id', 1)")
        assert counts(load("b.jsonl", "", raw("m1", properties={"amount": 1, "order_id": "A"}))) == (0, 1, 0, 0)
        assert counts(load("c.jsonl", raw("m1", properties={"amount": 2, "order_id": "A"}))) == (0, 0, 0, 1)
        assert differing(engine) == ["amount"]

    def test_is_one_where_it_had_not(self, engine: Engine, load: Load) -> None:
        assert counts(load("b.jsonl", "", raw("m1", properties={"amount": 1, "order_id": "A"}))) == (0, 0, 0, 1)
        assert differing(engine) == ["order_id"]
