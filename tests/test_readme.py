"""The README cannot lie: its commands are run and what they print is compared with what it shows."""

import gzip
import re
import shutil
import sqlite3
import subprocess
import sys
from collections.abc import Mapping
from io import StringIO
from pathlib import Path

import pyarrow as pa
import pytest

from flows.backtest import main as backtest
from flows.explain import main as explain
from src.marketing_messaging_service.decisions import read_rules
from src.marketing_messaging_service.earlier_runs import KnownFiles
from src.marketing_messaging_service.settings import Settings
from src.marketing_messaging_service.staging import discover
from src.marketing_messaging_service.staging.sources.file import parse_sources
from src.marketing_messaging_service.staging.stage import stage_files
from src.marketing_messaging_service.views import VIEWS
from src.marketing_messaging_service.vocabulary import ReasonCode
from tests.staging.outcomes import parse_line

ROOT = Path(__file__).parents[1]
README = (ROOT / "README.md").read_text(encoding="utf-8")
RAW_EVENTS = (ROOT / "docs" / "raw-events.md").read_text(encoding="utf-8")


def blocks(text: str, language: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```", text, flags=re.MULTILINE | re.DOTALL)


def shown(command: str) -> str:
    """What the README shows that a command prints."""
    (block,) = (block for block in blocks(README, "console") if block.startswith(f"$ {command}\n"))
    return block.removeprefix(f"$ {command}\n")


def recipe(target: str) -> dict[str, str]:
    """The settings that a target of the Makefile gives to the run."""
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
    return dict(re.findall(rf"^{target}: export ([A-Z_]+) := (.*)$", makefile, re.MULTILINE))


def run_hourly(settings: Mapping[str, str], folder: Path) -> subprocess.CompletedProcess[str]:
    own = {"HOME": str(folder), "PREFECT_HOME": str(folder / "prefect"), "REPORTS_PATH": str(folder / "reports")}
    environment = {"PATH": "/usr/bin:/bin", **own, **settings}
    return subprocess.run(
        [sys.executable, "-m", "flows.hourly"],
        cwd=ROOT,
        env=environment,
        capture_output=True,
        text=True,
        timeout=180,
        check=False,
    )


@pytest.fixture(scope="module")
def demo(tmp_path_factory: pytest.TempPathFactory) -> tuple[subprocess.CompletedProcess[str], Path]:
    """What `make demo` runs, on a database in a folder of its own."""
    folder = tmp_path_factory.mktemp("demo")
    settings = recipe("demo")
    assert settings["DATABASE_URL"].endswith(",sqlite:///./demo.db)")
    result = run_hourly({**settings, "DATABASE_URL": f"sqlite:///{folder}/demo.db"}, folder)
    return result, folder / "demo.db"


def test_the_demo_prints_what_the_readme_shows(demo: tuple[subprocess.CompletedProcess[str], Path]) -> None:
    result, database = demo
    assert result.returncode == 0, result.stderr
    printed = result.stdout.replace(f"sqlite:///{database}", "sqlite:///./demo.db")
    as_of = re.compile(r"^Run as of \S+ \S+ UTC")
    assert as_of.sub("Run as of …", printed) == as_of.sub("Run as of …", shown("make demo"))


def test_the_demo_logs_one_line_a_step_and_no_traceback(
    demo: tuple[subprocess.CompletedProcess[str], Path],
) -> None:
    result, _ = demo
    lines = [line.split(" - ", 1)[1] for line in result.stderr.splitlines() if "Flow run '" in line]
    beginnings = [line.split()[0] for line in lines]
    assert beginnings == [
        "Beginning",
        "Migrated",
        "Discovered",
        "Staged",
        *["Loaded"] * 6,
        "180",
        "Report:",
        "6",
        "Finished",
    ]
    assert "Traceback" not in result.stderr


def questions() -> list[str]:
    return [block for block in blocks(README, "console") if block.startswith("$ sqlite3 demo.db")]


def test_the_readme_asks_the_three_questions() -> None:
    assert len(questions()) == 3


@pytest.mark.parametrize("block", questions(), ids=["sent", "refused", "not read"])
def test_the_database_answers_as_the_readme_shows(
    demo: tuple[subprocess.CompletedProcess[str], Path], block: str
) -> None:
    _, database = demo
    command, sql, answer = block.split('"', 2)
    assert command == "$ sqlite3 demo.db "
    connection = sqlite3.connect(database)
    rows = connection.execute(sql).fetchall()
    connection.close()
    assert "\n".join("|".join(str(value) for value in row) for row in rows) == answer.strip()


EXPLAIN = "$ DATABASE_URL=sqlite:///./demo.db .venv/bin/python -m flows.explain "


@pytest.mark.parametrize(
    "block", [block for block in blocks(README, "console") if block.startswith(EXPLAIN)], ids=["cleo", "Germany"]
)
def test_why_and_why_not_are_explained_as_the_readme_shows(
    demo: tuple[subprocess.CompletedProcess[str], Path],
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    block: str,
) -> None:
    arguments, answer = block.removeprefix(EXPLAIN).split("\n", 1)
    monkeypatch.setenv("DATABASE_URL", f"sqlite:///{demo[1]}")
    monkeypatch.setenv("RULES_PATH", str(ROOT / "data" / "rules.yaml"))
    monkeypatch.setenv("LANDING_PATH", str(ROOT / "data" / "landing"))
    assert explain(arguments.split()) == 0
    run = re.compile(r"\[run of [^\]]*\]")
    assert run.sub("[…]", capsys.readouterr().out) == run.sub("[…]", answer)


def test_what_a_weekly_once_would_change_is_answered_as_the_readme_shows(
    demo: tuple[subprocess.CompletedProcess[str], Path],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    command = "$ sed 's/once_per_calendar_day/once_per_calendar_week/' data/rules.yaml | "
    (block,) = (block for block in blocks(README, "console") if block.startswith(command))
    monkeypatch.setenv("DATABASE_URL", f"sqlite:///{demo[1]}")
    monkeypatch.setenv("RULES_PATH", str(ROOT / "data" / "rules.yaml"))
    monkeypatch.setenv("REPORTS_PATH", str(tmp_path / "reports"))
    rules = (ROOT / "data" / "rules.yaml").read_text(encoding="utf-8")
    monkeypatch.setattr("sys.stdin", StringIO(rules.replace("once_per_calendar_day", "once_per_calendar_week")))
    assert backtest(["--rules", "-"]) == 0
    assert capsys.readouterr().out.split("\n")[0] == block.split("\n")[1]


def test_the_example_of_a_raw_event_is_one() -> None:
    (example,) = blocks(README, "json")
    assert parse_line(example.encode()).unknown_keys == ()


def test_the_example_of_a_rule_is_one_of_those_that_ship(tmp_path: Path) -> None:
    example = blocks((ROOT / "docs" / "rules.md").read_text(encoding="utf-8"), "yaml")[0]
    (tmp_path / "rules.yaml").write_text(example, encoding="utf-8")
    (rule,) = read_rules(tmp_path / "rules.yaml").rules
    assert rule in read_rules(ROOT / "data" / "rules.yaml").rules


def test_every_reason_code_is_in_the_docs() -> None:
    told = re.findall(r"^\| `([a-z_0-9]+)` \|", RAW_EVENTS.split("## Why a line was rejected")[1], re.MULTILINE)
    assert told == [code.value for code in ReasonCode]


def test_every_setting_stands_in_the_readme_with_its_default_and_in_the_example_file() -> None:
    in_readme = dict(re.findall(r"^\| `([A-Z_]+)` \|(?: `([^`]+)`)? \|", README, re.MULTILINE))
    in_example = dict(re.findall(r"^([A-Z_]+)=(.*)$", (ROOT / ".env.example").read_text(), re.MULTILINE))
    defaults = {name.upper(): str(field.default) for name, field in Settings.model_fields.items()}
    assert in_readme == in_example == defaults


def test_every_make_target_that_the_readme_names_exists() -> None:
    targets = set(re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(encoding="utf-8"), re.MULTILINE))
    named = set(re.findall(r"`make ([a-z-]+)", README)) | {"demo", "test"}
    listed = README.rsplit("`make help` lists the other commands:", 1)[1]
    assert named | set(re.findall(r"`([a-z-]+)`", listed)) <= targets


def test_a_failed_run_exits_with_1_and_says_what_to_do(
    demo: tuple[subprocess.CompletedProcess[str], Path], tmp_path: Path
) -> None:
    settings = {"DATABASE_URL": f"sqlite:///{tmp_path}/messaging.db", "LANDING_PATH": str(tmp_path / "nowhere")}
    # Prefect's own database takes 5 s of CPU to make.
    shutil.copytree(demo[1].parent / "prefect", tmp_path / "prefect")
    result = run_hourly(settings, tmp_path)
    assert result.returncode == 1
    assert "nowhere, which is not a folder; create it, or correct LANDING_PATH." in result.stderr
    assert "Traceback" not in result.stderr


@pytest.mark.server
def test_a_wrong_setting_is_reported_before_prefect_starts(tmp_path: Path) -> None:
    result = run_hourly({"RUN_LOCK_TIMEOUT_SECONDS": "soon"}, tmp_path)
    assert result.returncode == 1
    assert result.stderr.startswith("RUN_LOCK_TIMEOUT_SECONDS: ")
    assert len(result.stderr.splitlines()) == 1


def test_an_archive_and_a_spreadsheet_are_read_by_the_sources_that_it_shows(tmp_path: Path) -> None:
    (shown_sources,) = blocks(README, "yaml")
    sources = parse_sources(shown_sources, "sources.yaml")
    call = '{"type": "track", "event": "Signed Up", "userId": "ana", "messageId": "m1", "anonymousId": "a1", '
    call += (
        '"timestamp": "2026-11-03T10:00:00Z", "properties": {"revenue": 3}, "context": {"traits": {"country": "FR"}}}'
    )
    archive = tmp_path / "segment-logs" / "src" / "1795392000000"
    archive.mkdir(parents=True)
    (archive / "1795395600123.0f3a9c.gz").write_bytes(
        gzip.compress(f"{call}\n{call.replace('ana', '')}\n{call.replace('Signed Up', 'page')}".encode())
    )
    (tmp_path / "shop-2026.csv").write_bytes(
        b"\xef\xbb\xbfCustomer;Event;When;Total;Newsletter;Order;Shop\r\n"
        b'007;order_placed;03.11.2026 11:00;12,50;Yes;A-1;"Paris; ""Nord"""\r\n'
    )

    found = stage_files(discover(tmp_path, KnownFiles(), sources=sources).new_files, sources=sources)

    assert [file.dropped_count for file in found.files] == [2, 0]
    [event, order] = pa.Table.from_batches(found.rows.event_batches()).to_pylist()
    assert (event["event_type"], event["amount"], event["country"]) == ("signup_completed", 3.0, "FR")
    assert (order["user_id"], order["amount"], order["order_id"]) == ("007", 12.5, "A-1")
    assert order["marketing_opt_in"] is True
    assert order["event_timestamp"] == event["event_timestamp"]
    assert found.files[1].unknown_keys == {"Shop": 1}
    found.rows.close()


PAGES = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", ROOT / "CHANGELOG.md", *sorted((ROOT / "docs").glob("*.md"))]


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_every_link_and_picture_of_a_page_leads_somewhere(page: Path) -> None:
    for link in re.findall(r"\]\((?!https?:)([^)]+)\)", page.read_text(encoding="utf-8")):
        path, _, anchor = link.partition("#")
        target = page.parent / path if path else page
        assert target.exists(), link
        if anchor:
            headings = re.findall(r"^#+ (.+)$", target.read_text(encoding="utf-8"), re.MULTILINE)
            assert anchor in {re.sub(r"[^\w -]", "", each.lower()).replace(" ", "-") for each in headings}, link


def test_pictures_are_small() -> None:
    assert all(picture.stat().st_size < 150_000 for picture in (ROOT / "docs" / "images").glob("*.png"))


def test_every_view_is_named_for_analysts() -> None:
    assert [view.name for view in VIEWS if f"`{view.name}`" not in README] == []
