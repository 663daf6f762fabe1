"""CONTRIBUTING.md leads to files that exist, and its recipes are as short as it says."""

import re
from pathlib import Path

import pytest

from src.marketing_messaging_service.staging.formats import FORMATS
from src.marketing_messaging_service.views import VIEWS
from src.marketing_messaging_service.vocabulary import Operator, SuppressionMode

ROOT = Path(__file__).parents[1]
PAGE = (ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8")
SOURCE = ROOT / "src" / "marketing_messaging_service"

RECIPES = {
    kind: (changed, after)
    for kind, changed, after in re.findall(r"^\| \*\*([a-z ]+)\*\*[^|]*\| (.+) \| (.+) \|$", PAGE, re.MULTILINE)
}


def paths_in(text: str) -> list[str]:
    """The files and folders that a text names: whatever is in code quotes and has a / or an ending."""
    quoted = re.findall(r"`([^`\s]+)`", text)
    return [each for each in quoted if re.fullmatch(r"[\w./-]+(/|\.(py|md|yaml|example))", each)]


def files_with(word: str) -> set[Path]:
    return {path for path in SOURCE.rglob("*.py") if re.search(word, path.read_text(encoding="utf-8"))}


def test_there_is_a_recipe_for_everything_that_the_product_grows_by() -> None:
    assert list(RECIPES) == [
        "field",
        "operator",
        "once mode",
        "reason code",
        "suppression reason",
        "format",
        "setting",
        "view",
        "canned query",
        "migration",
        "flow",
        "promise",
        "dialect",
    ]


def test_every_path_that_it_names_exists() -> None:
    named = paths_in(PAGE) + re.findall(r"\]\(([^)#]+)", PAGE) + re.findall(r"\btests/[\w/]+\.py\b", PAGE)
    assert len(named) > 30
    assert [path for path in named if not (ROOT / path).exists()] == []


def test_the_map_shows_every_room() -> None:
    rooms = {path.parent.name for path in SOURCE.glob("*/__init__.py")}
    shown = set(re.findall(r"\b([a-z_]+)/", PAGE.split("## The map")[1].split("## Running it")[0]))
    folders = {path.parent.name for top in ("flows", "src") for path in (ROOT / top).rglob("__init__.py")}
    assert rooms <= shown
    assert {name for name in shown - folders if not (ROOT / name).is_dir()} == set()


@pytest.mark.parametrize("kind", RECIPES)
def test_a_recipe_needs_at_most_three_files_of_code(kind: str) -> None:
    assert 1 <= len(paths_in(RECIPES[kind][0])) <= 3


def test_an_operator_is_known_where_it_is_declared_and_nowhere_else() -> None:
    assert files_with(r"class Operator\b") == {SOURCE / "vocabulary" / "operators.py"}
    # Which operators leave only values that can be counted is no part of what an operator is.
    elsewhere = files_with(r"\bOperator\.(?!of\b)[A-Z_]+\b") - {SOURCE / "decisions" / "contradictions.py"}
    assert elsewhere == set()
    assert len(Operator) > 10


def test_a_once_mode_over_a_period_is_known_where_it_is_declared_and_nowhere_else() -> None:
    # The day of UTC has a shorter way of its own, for the sake of speed.
    periods = [mode for mode in SuppressionMode if mode.period and mode is not SuppressionMode.ONCE_PER_CALENDAR_DAY]
    for mode in periods:
        assert files_with(rf"\b({mode.name}|{mode.value})\b") == {SOURCE / "vocabulary" / "once_modes.py"}
    assert periods


def test_a_format_and_a_view_are_recorded_in_one_place() -> None:
    assert files_with(r"\bFileFormat\(") == {SOURCE / "staging" / "formats" / "__init__.py"}
    assert len(FORMATS) > 1
    for view in VIEWS:
        (declared,) = files_with(rf'(?m)^    name="{view.name}",$')
        assert declared.parent == SOURCE / "views"
