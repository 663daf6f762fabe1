"""What the product grows by is said once: the models declare the fields, and nobody lists them a second time."""

from collections.abc import Iterator
from enum import StrEnum
from importlib import import_module
from pathlib import Path
from pkgutil import walk_packages
from typing import Any

import pytest
from sqlalchemy import Column, Float, ForeignKey, Integer, LargeBinary, MetaData, String, Table

from src.marketing_messaging_service.decisions.shard import HexNumber
from src.marketing_messaging_service.infrastructure.dialects.choice import DIALECTS
from src.marketing_messaging_service.infrastructure.dialects.dialect import Dialect
from src.marketing_messaging_service.infrastructure.sql_function import SqlFunction
from src.marketing_messaging_service.models import EventProperties, Suppression, UserTraits
from src.marketing_messaging_service.models.taken import Taken, taken
from src.marketing_messaging_service.staging.formats import FORMATS
from src.marketing_messaging_service.views import VIEWS, selects_for
from src.marketing_messaging_service.vocabulary import (
    KINDS,
    PAYLOAD,
    Operator,
    ReasonCode,
    RunEnding,
    SuppressionMode,
    SuppressionReason,
    payload_of,
)

SOURCE = Path(__file__).parents[2] / "src"
MODELS = {
    "properties": SOURCE / "marketing_messaging_service" / "models" / "event_properties.py",
    "user_traits": SOURCE / "marketing_messaging_service" / "models" / "user_traits.py",
}

NAMES_OF_OTHER_THINGS = {"amount", "email", "country"}
"""Fields whose names are words that code uses of other things too."""


def table(name: str, *columns: Column[Any]) -> Table:
    metadata = MetaData()
    Table("events", metadata, Column("id", Integer, primary_key=True))
    return Table(
        name,
        metadata,
        Column("id", Integer, primary_key=True),
        Column("event_id", ForeignKey("events.id")),
        *columns,
    )


@pytest.mark.parametrize(
    "field", [field for field in PAYLOAD.fields if field.name not in NAMES_OF_OTHER_THINGS], ids=str
)
def test_a_field_stands_in_its_model_and_nowhere_else_in_the_source(field):
    part = field.path.partition(".")[0]
    files = {path for path in SOURCE.rglob("*.py") if field.name in path.read_text(encoding="utf-8")}
    assert files == {MODELS[part]}


def test_the_fields_are_the_columns_of_the_models_but_their_keys():
    for part, model in zip(PAYLOAD.parts, (EventProperties, UserTraits), strict=True):
        assert part.table is model.__table__
        assert [field.name for field in part.fields] == [c.name for c in part.table.columns][2:]


def test_a_field_says_how_its_values_are_taken():
    payload = payload_of(
        {"p": table("t", Column("a", Integer, info=taken(least=1, from_text=True)), Column("b", Float))}
    )
    assert [field.taken for field in payload.fields] == [Taken(1, True), Taken(None, False)]


def test_a_name_that_two_tables_have_or_an_event_itself_is_reported_with_its_part():
    payload = payload_of(
        {
            "properties": table("p", Column("plan", String(8)), Column("amount", Float)),
            "user_traits": table("t", Column("plan", String(8)), Column("user_id", String(8))),
        }
    )
    staged = [field.staged_name for field in payload.fields]
    assert staged == ["properties.plan", "amount", "user_traits.plan", "user_traits.user_id"]


def test_a_column_of_a_type_that_is_not_a_kind_is_refused_with_the_types_that_are():
    with pytest.raises(TypeError, match=r"LargeBinary.* can hold no field; the types that can are .*String, Boolean"):
        payload_of({"p": table("t", Column("photo", LargeBinary))})


@pytest.mark.parametrize(
    ("kind", "parts"),
    [
        (Operator, ("words",)),
        (SuppressionMode, ("words",)),
        (ReasonCode, ("meaning", "remedy")),
        (RunEnding, ("state", "meaning", "remedy")),
        (SuppressionReason, ("what", "meaning", "passed", "stopped_by")),
    ],
)
def test_every_record_of_a_kind_says_all_there_is_to_say(kind: type[StrEnum], parts: tuple[str, ...]):
    assert [(each.name, part) for each in kind for part in parts if not getattr(each, part).strip()] == []


def test_a_reason_code_fits_its_column():
    assert all(len(code) <= 32 for code in ReasonCode)


def test_no_two_once_modes_reach_equally_far():
    reaches = [(mode.period, mode.needs_hours) for mode in SuppressionMode if mode.period or mode.needs_hours]
    assert len(set(reaches)) == len(reaches) > 1


def test_each_mode_that_refuses_is_the_reason_once_and_no_text_is_two_reasons():
    modes = [mode for mode in SuppressionMode if mode is not SuppressionMode.NONE]
    assert {SuppressionReason.of(mode) for mode in modes} == {SuppressionReason.ONCE}
    for reason in SuppressionReason:
        assert [each for each in SuppressionReason if reason.startswith(each)] == [reason]


def test_a_suppression_reason_has_a_place_of_its_own_in_the_funnel_and_a_column_for_what_stood_in_the_way():
    assert sorted(reason.step for reason in SuppressionReason) == list(range(1, len(SuppressionReason) + 1))
    columns = Suppression.__table__.c
    assert all(each.blocked_by in columns if each.obstacle else not each.blocked_by for each in SuppressionReason)


def test_every_format_has_endings_of_its_own_and_a_line_in_the_docs():
    endings = [ending for each in FORMATS.values() for ending in each.endings]
    assert len(set(endings)) == len(endings)
    assert all(each.endings and all(ending.startswith(".") for ending in each.endings) for each in FORMATS.values())
    page = (SOURCE.parent / "docs" / "sources.md").read_text(encoding="utf-8")
    assert [each.name for each in FORMATS.values() if f"`{each.name}`" not in page] == []


@pytest.mark.parametrize("dialect", DIALECTS, ids=lambda dialect: dialect.name)
def test_every_kind_of_database_has_the_select_of_every_view(dialect: Dialect):
    assert set(selects_for(dialect.name)) == {view.name for view in VIEWS}


@pytest.mark.parametrize("dialect", DIALECTS, ids=lambda dialect: dialect.name)
def test_every_kind_of_database_spells_every_function(dialect: Dialect):
    for module in walk_packages([str(SOURCE / "marketing_messaging_service")], "src.marketing_messaging_service."):
        import_module(module.name)
    functions = {each.__name__ for each in leaves(SqlFunction)}
    only_on_servers = set() if dialect.several_writers else {HexNumber.__name__}
    assert set(dialect.spellings) == functions - only_on_servers


def leaves(base: type[Any]) -> Iterator[type[Any]]:
    for each in base.__subclasses__():
        yield from leaves(each) if each.__subclasses__() else [each]


def test_every_kind_holds_something_of_its_own():
    for attribute in ("column_type", "holds"):
        assert len({getattr(kind, attribute) for kind in KINDS}) == len(KINDS)
