"""A backtest from the command line and under Prefect: what it prints, returns and leaves behind."""

import json
from io import StringIO
from pathlib import Path

import pytest
from prefect.client.orchestration import get_client
from prefect.client.schemas.filters import ArtifactFilter, ArtifactFilterKey

from flows.backtest import backtest, main
from src.marketing_messaging_service.backtesting import Difference
from src.marketing_messaging_service.backtesting.difference import Counts
from tests.backtesting.histories import event, lived, rule
from tests.pipeline import Pipeline

DAILY = {"rules": [rule()]}
WEEKLY = json.dumps({"rules": [rule(suppression={"mode": "once_per_calendar_week"})]})
SENTENCE = (
    "With {} in place of the rules in force, 1 message would have gone out between 2026-11-02 08:10 and "
    "2026-11-03 09:00 UTC instead of 2: 1 gone; 1 user would get other messages."
)


@pytest.fixture
def reports(tmp_path: Path, migrated_template: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The folder of reports, beside a small history and the rules that decided it."""
    pipeline = Pipeline(tmp_path / "run", migrated_template)
    lived(pipeline, [event("e1", "02T08:10"), event("e2", "03T08:10")], DAILY)
    pipeline.engine.dispose()
    monkeypatch.setenv("DATABASE_URL", pipeline.database_url)
    monkeypatch.setenv("RULES_PATH", str(pipeline.rules_path))
    monkeypatch.setenv("REPORTS_PATH", str(tmp_path / "reports"))
    return tmp_path / "reports"


def test_it_prints_the_difference_and_says_where_the_files_are(
    reports: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    new = tmp_path / "weekly.yaml"
    new.write_text(WEEKLY, encoding="utf-8")
    assert main(["--rules", str(new)]) == 0
    printed = capsys.readouterr()
    assert printed.out.startswith(SENTENCE.format(new))
    assert printed.err.startswith("Deciding 2 events twice, from 2026-11-02 08:10 to 2026-11-03 09:00 UTC: some 1 s, ")
    assert {path.suffix for path in reports.iterdir()} == {".html", ".csv"}


@pytest.mark.usefixtures("reports")
def test_rules_from_standard_input_are_compared_as_json(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("sys.stdin", StringIO(WEEKLY))
    assert main(["--rules", "-", "--json"]) == 0
    form = json.loads(capsys.readouterr().out)
    assert form["version"] == 1
    assert form["sends"] == {"before": 2, "after": 1}
    assert [(each["message_id"], each["before"], each["after"]) for each in form["changes"]] == [
        ("e2", "send", "suppressed:once_per_calendar_week")
    ]


@pytest.mark.usefixtures("reports")
@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        ([], "There are no new rules to try: name their file with --rules, or paste them into"),
        (["--rules", "no.yaml"], "no.yaml cannot be read: No such file or directory."),
        (["--rules", "-", "--against", "decided"], "Against decided, the rules are those that decided"),
    ],
)
def test_what_is_no_question_is_refused_with_what_to_do(
    arguments: list[str], sentence: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("sys.stdin", StringIO(WEEKLY))
    assert main(arguments) == 1
    assert sentence in capsys.readouterr().err


@pytest.mark.usefixtures("_prefect")
def test_rules_pasted_into_the_form_leave_a_report_on_the_page_of_the_run(reports: Path) -> None:
    state = backtest(rules=WEEKLY, return_state=True)
    sentence = SENTENCE.format("the new rules")
    assert (state.is_completed(), state.message) == (True, sentence)
    result = state.result()
    assert isinstance(result, Difference)
    assert result.sends == Counts(2, 1)
    with get_client(sync_client=True) as client:
        [artifact] = client.read_artifacts(artifact_filter=ArtifactFilter(key=ArtifactFilterKey(any_=["backtest"])))
    assert artifact.description == sentence
    assert "### Messages by rule" in str(artifact.data)
    assert str(reports) in str(artifact.data)


@pytest.mark.usefixtures("_prefect", "reports")
def test_a_form_with_rules_in_two_places_fails_with_a_sentence() -> None:
    state = backtest(rules=WEEKLY, rules_path="weekly.yaml", return_state=True)
    assert state.is_failed()
    assert state.message == "Both rules and rules_path name the new rules; leave one of them empty."
