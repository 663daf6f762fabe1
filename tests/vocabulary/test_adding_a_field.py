"""Adding a field is one line in its model, one command for the migration and one for the docs: tried on a copy."""

import json
import os
import re
import shutil
import sqlite3
import subprocess
import sys
from collections.abc import Sequence
from contextlib import closing
from pathlib import Path

import pytest

from src.marketing_messaging_service.vocabulary import KINDS, ReasonCode

ROOT = Path(__file__).parents[2]
MODELS = Path("src/marketing_messaging_service/models")

LINES = {
    "String": '{0}: Mapped[str | None] = mapped_column(String(12), comment="Text of {0}.")',
    "Integer": '{0}: Mapped[int | None] = mapped_column(Integer, comment="Count of {0}.", info=taken(least=1))',
    "Float": '{0}: Mapped[float | None] = mapped_column(Float, comment="Measure of {0}.", info=taken(from_text=True))',
    "Boolean": '{0}: Mapped[bool | None] = mapped_column(Boolean, comment="Whether {0}.")',
    "UtcDateTime": '{0}: Mapped[datetime | None] = mapped_column(UtcDateTime, comment="Time of {0}.")',
    "CalendarDate": '{0}: Mapped[date | None] = mapped_column(CalendarDate, comment="Date of {0}.")',
    "Money": '{0}: Mapped[Decimal | None] = mapped_column(Money(2), comment="Price of {0}.")',
}
"""The one line of a field of each type."""

IMPORTS = """\
from datetime import date, datetime
from decimal import Decimal
from sqlalchemy import Boolean, Float, Integer, String
from src.marketing_messaging_service.infrastructure.column_types import CalendarDate, Money
from src.marketing_messaging_service.infrastructure.database import UtcDateTime
from src.marketing_messaging_service.models.taken import taken
"""

RAW = {
    "String": "A-17",
    "Integer": 3,
    "Float": "0.30000000000000004",
    "Boolean": True,
    "UtcDateTime": "2026-11-03T12:00:00.5+02:00",
    "CalendarDate": "1999-12-31",
    "Money": "1234567.89",
}
STORED = {
    "String": "A-17",
    "Integer": 3,
    "Float": 0.30000000000000004,
    "Boolean": 1,
    "UtcDateTime": "2026-11-03 10:00:00.500000",
    "CalendarDate": "1999-12-31",
    "Money": 123456789,
}
SHOWN = STORED | {"Money": 1234567.89}
CONDITIONS = {
    "String": ("equals", "A-17"),
    "Integer": ("gte", 3),
    "Float": ("gt", 0.3),
    "Boolean": ("equals", True),
    "UtcDateTime": ("lt", "2026-11-03T10:00:01Z"),
    "CalendarDate": ("lte", "1999-12-31"),
    "Money": ("gt", 1234567.88),
}

MENDED_VALUES = {
    ReasonCode.INVALID_DATE: ("CalendarDate", "2026-02-29", "2026-02-28"),
    ReasonCode.TOO_MANY_DECIMALS: ("Money", "19.999", "19.99"),
    ReasonCode.NUMBER_TOO_SMALL: ("Integer", 0, None),
}
"""For each reason code of a kind that no field has yet: the type of such a field, what is refused in it, and what
following the advice makes of that."""

RUN = """
import sys
from datetime import UTC, datetime
from pathlib import Path
from src.marketing_messaging_service.self_check import INVARIANTS, check_database
from src.marketing_messaging_service.decisions import AUDIT, decide_pending, read_rules
from src.marketing_messaging_service.infrastructure.database import create_database_engine
from src.marketing_messaging_service.infrastructure.schema import migrate
from src.marketing_messaging_service.loading import known_files, load_file
from src.marketing_messaging_service.staging import discover, stage_file

url, as_of = "sqlite:///messaging.db", datetime(2026, 11, 23, tzinfo=UTC)
migrate(url)
engine = create_database_engine(url)
for file in discover(Path("landing"), known_files(engine)).new_files:
    staged = stage_file(file)
    print(load_file(engine, staged, as_of=as_of))
    staged.close()
decide_pending(engine, read_rules(Path("rules.yaml")), decided_at=as_of)
print(list(check_database("sqlite:///messaging.db", (*INVARIANTS, *AUDIT)).broken))
"""


def names(part: str) -> dict[str, str]:
    """A name for a field of each type."""
    return {type_: f"new_{type_.lower()}_{part}" for type_ in LINES}


def declare(model: Path, part: str) -> None:
    """Write the lines of a field of each type below the other fields of a model, and what they import."""
    text = model.read_text(encoding="utf-8")
    lines = "".join(f"    {line.format(names(part)[type_])}\n" for type_, line in LINES.items())
    head, imports, rest = text.partition("from typing import TYPE_CHECKING\n")
    model.write_text(head + imports + IMPORTS + rest.replace("\n    event: Mapped", f"{lines}\n    event: Mapped"))


@pytest.fixture(scope="module")
def project_copy(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy of the project to which a property and a trait of each type were added by the recipe of docs/fields.md."""
    folder = tmp_path_factory.mktemp("copy")
    for name in ("src", "alembic", "data", "docs", "tests", "flows"):
        shutil.copytree(ROOT / name, folder / name, ignore=shutil.ignore_patterns("__pycache__"))
    for name in ("alembic.ini", "pyproject.toml", "Makefile"):
        shutil.copy(ROOT / name, folder / name)
    declare(folder / MODELS / "event_properties.py", "p")
    declare(folder / MODELS / "user_traits.py", "t")
    run(folder, "-m", "alembic", "revision", "--autogenerate", "-m", "add many fields")
    docs = re.search(r"^docs:.*\n\t@\$\(BIN\)/python (.*)$", (ROOT / "Makefile").read_text(), re.MULTILINE)
    assert docs is not None
    run(folder, *docs[1].split())
    return folder


def run(folder: Path, *arguments: str, fails: bool = False) -> str:
    """Run Python in a folder, as a person would, and return what it prints."""
    environment = {name: value for name, value in os.environ.items() if name != "DATABASE_URL"}
    done = subprocess.run(
        [sys.executable, *arguments], cwd=folder, env=environment, capture_output=True, text=True, check=False
    )
    assert (done.returncode != 0) == fails, done.stdout + done.stderr
    return done.stdout + done.stderr


def test_there_is_a_line_here_for_every_kind() -> None:
    assert set(LINES) == {kind.column_type.__name__ for kind in KINDS}


@pytest.mark.slow
class TestACopyWithAFieldOfEachType:
    def test_has_a_migration_that_is_complete_and_tidy(self, project_copy: Path) -> None:
        before = len(list((ROOT / "alembic" / "versions").glob("*.py")))
        [path] = (project_copy / "alembic" / "versions").glob(f"{before + 1:04d}_add_many_fields.py")
        text = path.read_text(encoding="utf-8")
        for name in (*names("p").values(), *names("t").values()):
            assert text.count(f'"{name}"') == 2
        assert re.findall(r'create_view\("(\w+)"', text) == ["user_timeline", "latest_user_traits"] * 2
        assert run(project_copy, "-m", "ruff", "check", str(path))
        assert run(project_copy, "-m", "ruff", "format", "--check", str(path))

    def test_needs_no_second_migration(self, project_copy: Path) -> None:
        before = frozen_files(project_copy)
        run(project_copy, "-m", "alembic", "revision", "--autogenerate", "-m", "nothing")
        assert frozen_files(project_copy) == before

    def test_passes_the_tests_of_schema_views_dictionary_and_docs(self, project_copy: Path) -> None:
        tests = ("tests/dictionary", "tests/views", "tests/vocabulary/test_one_place.py", "tests/models")
        of_migrations = "tests/infrastructure/test_migrations.py"
        # In one go, because a start takes 8 s of CPU.
        chosen = ("-k", "not test_migrations.py or TestModels or TestTheHistory or one_step")
        run(project_copy, "-m", "pytest", "-q", "-p", "no:cacheprovider", *tests, of_migrations, *chosen)

    def test_loads_shows_and_decides_by_all_of_them(self, project_copy: Path) -> None:
        rules = [
            rule(f"{part}_{type_}", f"{key}.{name}", *CONDITIONS[type_])
            for key, part in (("properties", "p"), ("user_traits", "t"))
            for type_, name in names(part).items()
        ]
        write(project_copy, rules, [event("m1")])
        found = run(project_copy, "-c", RUN)
        assert "inserted_count=1" in found
        assert found.endswith("[]\n")
        with closing(sqlite3.connect(project_copy / "messaging.db")) as database:
            for table, view, part in (
                ("event_properties", "user_timeline", "p"),
                ("user_traits", "latest_user_traits", "t"),
            ):
                columns = ", ".join(names(part).values())
                assert database.execute(f"SELECT {columns} FROM {table}").fetchall() == [tuple(STORED.values())]
                shown = database.execute(f"SELECT {columns} FROM {view} LIMIT 1").fetchall()
                assert shown == [tuple(SHOWN.values())]
            sent = database.execute("SELECT rule_name FROM send_requests ORDER BY rule_name").fetchall()
            assert sent == sorted((f"{part}_{type_}",) for part in "pt" for type_ in LINES)

    def test_decides_by_money_dates_and_instants_wherever_a_rule_may_name_a_field(self, project_copy: Path) -> None:
        price, day, seen = (f"properties.{names('p')[type_]}" for type_ in ("Money", "CalendarDate", "UtcDateTime"))
        born = names("t")["CalendarDate"]

        def compared(path: str, operator: str, *value: object) -> dict[str, object]:
            return {"field": path, "operator": operator, **({"value": value[0]} if value else {})}

        def before(**keys: object) -> dict[str, object]:
            return {"happened": {"event_type": "seen", **keys}}

        conditions: dict[str, dict[str, object]] = {
            "exact": compared(price, "equals", 0.3),
            "not one cent more": compared(price, "gte", 0.31),
            "among": compared(price, "in", [0.29, 0.3]),
            "day": compared(day, "lte", "2024-02-29"),
            "day before": compared(day, "lt", "2024-02-29"),
            "not a day": {"not": compared(day, "gt", "2024-02-28")},
            "instant": compared(seen, "equals", "2024-02-29T23:30:00+05:45"),
            "a microsecond more": compared(seen, "gt", "2024-02-29T17:45:00Z"),
            "same price": before(same=[price]),
            "same all": before(same=[price, day, seen]),
            "where": before(where=[compared(price, "lt", 0.31), compared(day, "equals", "2024-02-29")]),
            "none": before(at_most=0, where=[compared(seen, "gt", "2024-02-29T17:45:00Z")]),
            "latest": compared(f"latest_traits.{born}", "equals", "2024-02-29"),
            "not latest": {"not": compared(f"latest_traits.{born}", "lt", "2024-03-01")},
        }
        rules = [rule(name, price, "exists", None) | {"conditions": conditions[name]} for name in conditions]
        once = {"suppression": {"mode": "once_ever", "per": [price, day, seen]}}
        rules += [rule("once", price, "exists", None) | {"conditions": {"all": []}} | once]
        values = {"Money": "0.30", "CalendarDate": "2024-02-29", "UtcDateTime": "2024-02-29T17:45:00Z"}
        other = {**values, "Money": 0.3, "UtcDateTime": "2024-02-29T18:45:00+01:00"}
        again = {"event_timestamp": "2026-11-22T11:00:00Z", "message_id": "again"}
        events = [
            event("seen", **values) | {"event_type": "seen", "event_timestamp": "2026-11-22T09:00:00Z"},
            event("here", **other),
            event("again", **values) | again,
        ]
        for each in events:
            each["user_id"] = "bea"
            if each is not events[0]:
                each["user_traits"] = {}
        write(project_copy, rules, events, name="money.jsonl")
        assert run(project_copy, "-c", RUN).endswith("[]\n")
        decided = (
            "SELECT e.message_id, d.rule_name FROM events e JOIN (SELECT event_id, rule_name FROM send_requests "
            "UNION ALL SELECT event_id, rule_name || ' again' FROM suppressions) d ON d.event_id = e.id"
        )
        with closing(sqlite3.connect(project_copy / "messaging.db")) as database:
            found = database.execute(decided).fetchall()
        hold = {"exact", "among", "day", "instant", "same price", "same all", "where", "none", "latest"}
        assert {name for message_id, name in found if message_id == "here"} == {*hold, "once"}
        assert {name for message_id, name in found if message_id == "again"} == {*hold, "once again"}

    def test_keeps_a_redelivery_that_says_something_else_and_calls_it_by_its_name(self, project_copy: Path) -> None:
        changed = {"String": "B", "Integer": 4, "Float": 1, "Boolean": False, "CalendarDate": "2000-01-01"}
        changed |= {"UtcDateTime": "2026-11-03T12:00:00.6+02:00", "Money": 1234567.9}
        # Tests of one class may run in processes of their own, so that this one cannot rely on the one before.
        write(project_copy, [], [event("m1")])
        run(project_copy, "-c", RUN)
        for number, (type_, value) in enumerate(changed.items()):
            write(project_copy, [], [event("m1", **{type_: value})], name=f"again{number}.jsonl")
        run(project_copy, "-c", RUN)
        with closing(sqlite3.connect(project_copy / "messaging.db")) as database:
            found = [row[0] for row in database.execute("SELECT explanation FROM rejected_rows ORDER BY load_id")]
        told = [explanation.partition("the line differs in ")[2] for explanation in found]
        assert told == [f"{names('p')[type_]}, {names('t')[type_]}." for type_ in changed]

    @pytest.mark.parametrize("code", MENDED_VALUES)
    def test_takes_a_line_whose_value_was_mended_as_its_reason_code_advises(
        self, project_copy: Path, code: ReasonCode
    ) -> None:
        type_, refused, mended = MENDED_VALUES[code]
        rules = [rule("thanks", f"properties.{names('p')['String']}", "equals", RAW["String"])]
        write(project_copy, rules, [event(code, **{type_: refused})], name=f"{code}.jsonl")
        run(project_copy, "-c", RUN)
        rejected = "SELECT r.reason_code FROM rejected_rows r WHERE r.raw_line LIKE ?"
        sent = "SELECT s.rule_name FROM events e LEFT JOIN send_requests s ON s.event_id = e.id WHERE e.message_id = ?"
        with closing(sqlite3.connect(project_copy / "messaging.db")) as database:
            assert database.execute(rejected, (f'%"{code}"%',)).fetchall() == [(code,)]
            assert database.execute(sent, (code,)).fetchall() == []

        write(project_copy, rules, [event(code, **{type_: mended})], name=f"{code} again.jsonl")
        run(project_copy, "-c", RUN)
        with closing(sqlite3.connect(project_copy / "messaging.db")) as database:
            assert database.execute(sent, (code,)).fetchall() == [("thanks",)]


def frozen_files(folder: Path) -> list[Path]:
    """The migrations and the frozen texts of views."""
    return sorted(path for ending in ("*.py", "*.sql") for path in (folder / "alembic").rglob(ending))


def event(message_id: str, **changed: object) -> dict[str, object]:
    values = RAW | changed
    return {
        "message_id": message_id,
        "user_id": "ana",
        "event_type": "paid",
        "event_timestamp": "2026-11-22T10:00:00Z",
        "properties": {name: values[type_] for type_, name in names("p").items()},
        "user_traits": {name: values[type_] for type_, name in names("t").items()},
    }


def rule(name: str, field: str, operator: str, value: object) -> dict[str, object]:
    condition = {"field": field, "operator": operator, **({} if value is None else {"value": value})}
    return {
        "name": name,
        "trigger": {"event_type": "paid"},
        "conditions": {"all": [condition]},
        "action": {"type": "send", "template_name": name, "delivery_method": "email"},
    }


def write(folder: Path, rules: Sequence[object], events: Sequence[object], name: str = "first.jsonl") -> None:
    """Write rules.yaml, and a raw file into landing."""
    (folder / "rules.yaml").write_text(json.dumps({"rules": list(rules)}), encoding="utf-8")
    (folder / "landing").mkdir(exist_ok=True)
    (folder / "landing" / name).write_text("".join(json.dumps(each) + "\n" for each in events), encoding="utf-8")
