"""What the Prefect UI shows of a run."""

import re
from dataclasses import replace

import pytest

from src.marketing_messaging_service.models import RemarkKind, RunMode, RunState
from src.marketing_messaging_service.reporting import manager_sentence, rejected_table, report_markdown
from src.marketing_messaging_service.reporting.run_report import (
    KeyReport,
    LeftFiles,
    Problem,
    RejectedExample,
    RunReport,
)
from src.marketing_messaging_service.reporting.run_tables import keys_table
from src.marketing_messaging_service.reporting.tables import WORD_JOINER, code, escaped, markdown_table, table_of
from tests.reporting.runs import ALERT, LOAD, NAIVE, NOTES, NOTHING, WAITING, WELCOME, run_report

HOSTILE = (
    "a|b",
    "`code`",
    "```\nfence",
    "<script>alert(1)</script>",
    "&lt;b&gt;",
    "](javascript:alert(1))",
    "![x](http://evil.example/x.png)",
    "[x]: http://evil.example",
    "https://evil.example www.evil.example",
    "**bold** _it_ __x__ ~~no~~",
    "line\r\nbreak\u2028and\x00NUL",
    "trailing\\",
    "\\|",
    '"]; click rule1 "javascript:alert(1)"',
    "end\nsubgraph x",
    "%%{init: {}}%%",
    "$$x$$",
    "# heading",
    "- item",
    "1. item",
    "\x1b[31mred\u202eder",
    "{{ 7 * 7 }}{% raw %}",
)


def everywhere(text: str) -> RunReport:
    """A report with a text in every place that data or rules can put one."""
    rule = replace(
        WELCOME,
        rule_name=text,
        description=text,
        trigger_event_type=text,
        condition_text=text,
        exclusive_group=text,
        template_name=text,
        channel=text,
        suppressed=((text, 1),),
    )
    example = RejectedExample(text, 1, text, text, text)
    return run_report(
        loads=(replace(LOAD, path=text),),
        reasons=(replace(NAIVE, reason_code=text, examples=(example,)),),
        unknown_keys=(KeyReport(text, 1),),
        rules=(rule,),
        problems=(Problem(text, text), Problem("Deciding", text)),
        left=(LeftFiles(RemarkKind.WAITING, text, ""), LeftFiles(RemarkKind.IGNORED, text, text)),
        source=text,
        database=text,
        flow_name=text,
        flow_run_name=text,
        state=RunState.FAILED,
        message=text,
    )


def without_code(markdown: str) -> str:
    """Markdown without its fenced blocks, its code, the address of its picture, and every escaped sign."""
    text = re.sub(r"\(data:[^)]*\)", "()", re.sub(r"^```.*?^```$", "", markdown, flags=re.MULTILINE | re.DOTALL))
    text = re.sub(r"(?<![\\`])(`+)(?!`).*?(?<!`)\1(?!`)", "", text)
    return re.sub(r"\\[!-/:-@[-`{-~]", "", text)


def test_the_report_begins_with_the_sentence_and_has_its_parts_in_order() -> None:
    markdown = report_markdown(run_report(left=(NOTES, WAITING)))
    assert markdown.startswith(f"## {manager_sentence(run_report())}\n\n![From lines to messages: lines read 10, ")
    assert re.findall(r"^### (.*)$", markdown, re.MULTILINE) == [
        "Decisions by rule",
        "The rules as they were applied",
        "Files taken, problem files first",
        "Files left where they are",
        "Lines kept aside, by reason",
        "Lines kept aside: the first three of each reason, and the first of each file",
        "Unknown keys (values not kept)",
        "This run",
        "The rules as they were applied, in Mermaid",
        "The SQL that checks every number",
    ]
    assert "| welcome_email | 4 | 3 | 0 | 1 | 1 |" in markdown
    assert "| **total of 2 rules** | **5** | **3** | **1** | **1** | **1** |" in markdown
    assert "| a.jsonl | 10 | 5 | 2 | 1 | 2 | 1 |" in markdown


def test_a_key_of_the_payload_that_is_not_kept_is_reported_with_what_keeps_it() -> None:
    keys = (KeyReport("app_version", 9000), KeyReport("properties.order_ref", 4012), KeyReport("user_traits.x", 3))
    table = keys_table(run_report(unknown_keys=keys))
    assert table.remark == "properties.order_ref was on 4,012 lines; docs/fields.md says how to keep it"
    assert keys_table(run_report(unknown_keys=keys[:1])).remark == ""
    many = (*keys[1:2], *(KeyReport(f"k{number}", 1) for number in range(30)))
    assert keys_table(run_report(unknown_keys=many)).remark == (
        "and 6 more; properties.order_ref was on 4,012 lines; docs/fields.md says how to keep it"
    )


def test_an_empty_hour_is_short_and_draws_nothing() -> None:
    markdown = report_markdown(run_report(**NOTHING))
    assert "data:image" not in markdown
    assert "mermaid" not in markdown
    assert re.findall(r"^### (.*)$", markdown, re.MULTILINE) == ["This run", "The SQL that checks every number"]


def test_problems_come_before_everything_else() -> None:
    markdown = report_markdown(run_report(problems=(Problem("b.jsonl", "cannot be read: no. Mend it."),)))
    assert markdown.split("\n\n")[1:3] == ["### Problems", "1. b.jsonl: cannot be read: no. Mend it."]
    killed = report_markdown(run_report(state=RunState.KILLED))
    assert "### Problems\n\n1. It ended without a word." in killed


def test_numbers_are_written_with_their_thousands_apart() -> None:
    many = replace(WELCOME, sent_count=1_234_567)
    assert "| 1,234,568 | 1,234,567 | 0 | 1 | 1 |" in report_markdown(run_report(rules=(many,)))


def test_a_preview_speaks_in_the_conditional() -> None:
    markdown = report_markdown(run_report(mode=RunMode.PREVIEW))
    assert "### Decisions by rule, as they would be\n" in markdown
    assert "events to insert 5, matches of a rule 5, would be sent 3" in markdown
    assert "### The rules as they would be applied\n" in markdown
    assert "- **run**: none, a preview" in markdown


@pytest.mark.parametrize("text", HOSTILE)
def test_text_from_outside_stays_text(text: str) -> None:
    clean, hostile = report_markdown(everywhere("harmless")), report_markdown(everywhere(text))
    assert hostile.replace("\n", "").replace(WORD_JOINER, "").isprintable()
    assert len(hostile.splitlines()) == len(clean.splitlines())
    assert re.findall(r"^ *```.*", hostile, re.MULTILINE) == re.findall(r"^ *```.*", clean, re.MULTILINE)
    for line, twin in zip(without_code(hostile).splitlines(), without_code(clean).splitlines(), strict=True):
        assert line.count("|") == twin.count("|")
        for sign in "<>`[]!@$*\\":
            assert line.count(sign) == twin.count(sign)
        assert not re.search(r"(https?|ftp)://|www\.", line)


@pytest.mark.parametrize("text", HOSTILE)
def test_text_from_outside_is_read_as_it_is(text: str) -> None:
    read = re.sub(r"\\([!-/:-@[-`{-~])", r"\1", escaped(text)).replace(WORD_JOINER, "")
    assert read == "".join(c if c.isprintable() else repr(c)[1:-1] for c in text.strip())


def test_names_of_rules_and_files_are_left_as_they_are() -> None:
    for name in ("welcome_email", "events-2026-11-02T22.jsonl.gz", "user_traits.marketing_opt_in is true", "09:05"):
        assert escaped(name) == name


@pytest.mark.parametrize(
    ("text", "expected"),
    [("a", "`a`"), ("a`b", "``a`b``"), ("``", "``` `` ```"), (" a ", "`  a  `"), ("a\\", "`a\\`"), ("a\nb", "`a\\nb`")],
)
def test_code_stands_as_it_is_whatever_backticks_are_in_it(text: str, expected: str) -> None:
    assert code(text) == expected


@pytest.mark.parametrize(
    ("text", "expected"),
    [("3.0 s", "3.0 s"), ("1. item", "1\\. item"), ("- item", "\\- item"), ("a|b\\", "a\\|b\\\\"), ("_x", "\\_x")],
)
def test_what_markdown_would_act_on_is_escaped_where_it_would(text: str, expected: str) -> None:
    assert escaped(text) == expected


def test_a_long_table_sums_up_what_it_leaves_out() -> None:
    loads = tuple(replace(LOAD, path=f"{n:03}.jsonl") for n in range(30))
    markdown = report_markdown(run_report(loads=loads))
    assert (
        "| **total of 30 files** | **300** | **150** | **60** | **30** | **60** | **30** |\n\nand 5 more\n" in markdown
    )


def test_of_hundreds_of_rules_those_that_matched_are_shown() -> None:
    rules = tuple(replace(ALERT, rule_name=f"rule_{n}", alerted_count=n % 100 == 7) for n in range(300))
    table = report_markdown(run_report(rules=rules)).split("### Decisions by rule")[1].split("###")[0]
    assert re.findall(r"^\| (rule_\d+)", table, re.MULTILINE) == ["rule_7", "rule_107", "rule_207"]
    assert "and 297 more rules" in table


def test_a_table_of_nothing_but_text_has_no_numbers() -> None:
    assert markdown_table(table_of("T", ("a",), [("x",)])) == "### T\n\n| a |\n| --- |\n| x |"


def test_the_table_of_rejected_lines_has_a_row_an_example() -> None:
    assert rejected_table(run_report())[0] == {
        "reason": "naive_timestamp",
        "file": "a.jsonl",
        "line": 3,
        "what is wrong": "event_timestamp has no UTC offset.",
        "what was there": '{"user_id": "ada"}',
        "lines of this reason": 2,
    }
    assert rejected_table(run_report(**NOTHING)) == []


def test_a_rejected_line_is_cut_and_cannot_act() -> None:
    example = replace(NAIVE.examples[0], shown_line="\x1b[2J" + "x" * 400)
    (row,) = rejected_table(run_report(reasons=(replace(NAIVE, examples=(example,)),)))
    assert str(row["what was there"]).startswith("\\x1b[2Jxxx")
    assert len(str(row["what was there"])) == 120


def test_the_same_report_gives_the_same_bytes() -> None:
    assert report_markdown(run_report()) == report_markdown(run_report())


@pytest.mark.parametrize("text", HOSTILE)
def test_the_table_of_rejected_lines_holds_printable_text_alone(text: str) -> None:
    (row,) = rejected_table(everywhere(text))
    assert all(isinstance(cell, int) or cell.isprintable() for cell in row.values())
