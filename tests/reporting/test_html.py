"""The report as a file: it opens anywhere, asks nobody for anything, and nothing in it can act."""

import re
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path

import pytest

from src.marketing_messaging_service.errors import ReportError
from src.marketing_messaging_service.models import RunMode, RunState
from src.marketing_messaging_service.reporting import manager_sentence, report_html, write_report
from src.marketing_messaging_service.reporting.check_queries import check_queries
from src.marketing_messaging_service.reporting.run_report import Problem
from tests.reporting.runs import ALERT, AS_OF, NOTHING, WELCOME, run_report
from tests.reporting.test_markdown import HOSTILE, everywhere


class Outline(HTMLParser):
    """Every tag with its attributes but for the look in order, and all text but for the style."""

    def __init__(self, document: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, tuple[str, ...]]] = []
        self.addresses: list[str] = []
        self.text = ""
        self.feed(document)
        self.close()

    def handle_starttag(self, tag, attrs):
        self.tags.append((tag, tuple(name for name, _ in attrs if name != "class")))
        self.addresses += [value for name, value in attrs if name in ("src", "href", "srcset", "action")]

    def handle_data(self, data):
        if self.tags[-1:] != [("style", ())]:
            self.text += data


def test_the_file_tells_the_sentence_the_tables_the_rules_and_the_queries() -> None:
    report = run_report()
    outline = Outline(report_html(report))
    for told in (
        manager_sentence(report),
        "Decisions by rule",
        "user_traits.marketing_opt_in is true",
        "4 matched: 3 sent, 1 suppressed",
        "total of 2 rules",
        "event_timestamp has no UTC offset.",
        "run 17",
        *(query.sql for query in check_queries(report)),
    ):
        assert told in outline.text


def test_the_file_is_whole_in_itself_and_forbids_the_rest() -> None:
    document = report_html(run_report())
    outline = Outline(document)
    assert not {"script", "link", "iframe", "object", "form"} & {tag for tag, _ in outline.tags}
    assert outline.addresses
    assert all(address.startswith("data:image/svg+xml;base64,") for address in outline.addresses)
    assert "content=\"default-src 'none'; img-src data:; style-src 'unsafe-inline'\"" in document
    assert "prefers-color-scheme: dark" in document


@pytest.mark.parametrize("text", HOSTILE)
def test_text_from_outside_stays_text(text: str) -> None:
    clean, hostile = Outline(report_html(everywhere("harmless"))), Outline(report_html(everywhere(text)))
    assert hostile.tags == clean.tags
    shown = "".join(c if c.isprintable() else repr(c)[1:-1] for c in text)
    assert hostile.text.count(shown) >= 15


def test_an_empty_hour_draws_nothing() -> None:
    assert "img" not in {tag for tag, _ in Outline(report_html(run_report(**NOTHING))).tags}


def test_problems_and_a_bad_end_are_reported() -> None:
    text = Outline(report_html(run_report(state=RunState.FAILED, problems=(Problem("b.jsonl", "is no."),)))).text
    assert "b.jsonl: is no." in text
    assert "It ended without a word." in Outline(report_html(run_report(state=RunState.KILLED))).text


def test_a_preview_says_so_and_claims_nothing() -> None:
    document = report_html(run_report(mode=RunMode.PREVIEW))
    text = Outline(document).text
    assert "This is a preview; nothing was kept." in text
    assert "Decisions by rule, as they would be" in text
    assert "would be sent 3" in document
    assert "run 17" not in text
    assert '<span class="state preview">preview</span>' in document
    assert "4 would match: 3 sent, 1 suppressed" in text


def test_of_hundreds_of_rules_a_readable_part_is_drawn() -> None:
    rules = tuple(replace(ALERT, rule_name=f"rule_{n}", alerted_count=1) for n in range(300))
    document = report_html(run_report(rules=rules))
    assert document.count('class="rule"') == 20
    assert "and 280 more rules" in document


def test_rules_of_one_group_stand_in_one_box() -> None:
    first, second = replace(WELCOME, exclusive_group="g"), replace(WELCOME, rule_name="second", exclusive_group="g")
    group = report_html(run_report(rules=(first, ALERT, second))).split('<div class="group">')[1]
    assert re.findall(r"<strong>(\w+)</strong>", group) == ["welcome_email", "second", "high_risk_alert"]
    assert group.index("second") < group.index("\n</div>\n</div>") < group.index("high_risk_alert")


def test_the_file_is_named_by_its_run_and_written_whole(tmp_path: Path) -> None:
    folder = tmp_path / "data" / "reports"
    path = write_report(folder, run_report())
    assert path == folder / "hourly-2026-11-23T1000Z-run-17.html"
    assert path.read_text(encoding="utf-8") == report_html(run_report())
    assert write_report(folder, run_report(decided_count=6)) == path
    assert list(folder.iterdir()) == [path]


def test_the_file_of_a_preview_has_no_run_in_its_name_but_the_time(tmp_path: Path) -> None:
    preview = run_report(mode=RunMode.PREVIEW, flow_name="backfill", started_at=AS_OF.replace(minute=7, second=9))
    assert write_report(tmp_path, preview).name == "backfill-2026-11-23T1000Z-preview-2026-11-23T100709Z.html"


def test_a_name_cannot_lead_out_of_the_folder(tmp_path: Path) -> None:
    assert write_report(tmp_path, run_report(flow_name="../x")).parent == tmp_path


def test_a_folder_that_cannot_be_written_to_is_reported(tmp_path: Path) -> None:
    (tmp_path / "reports").write_text("a file")
    with pytest.raises(ReportError, match=r"REPORTS_PATH names .*reports, which the report cannot be written to"):
        write_report(tmp_path / "reports", run_report())


def test_the_same_report_gives_the_same_bytes() -> None:
    assert report_html(run_report()) == report_html(run_report())
