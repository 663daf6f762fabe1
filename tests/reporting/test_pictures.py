"""The funnel, and the rules as a flowchart."""

import base64
import re
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from xml.etree import ElementTree

import pytest

from src.marketing_messaging_service.models import RunMode
from src.marketing_messaging_service.reporting.funnel import funnel_image, funnel_steps, funnel_text
from src.marketing_messaging_service.reporting.html import report_html
from src.marketing_messaging_service.reporting.rules_image import rules_image
from src.marketing_messaging_service.reporting.rules_picture import rules_picture
from tests.reporting.runs import ALERT, NOTHING, WELCOME, run_report
from tests.reporting.test_markdown import HOSTILE, everywhere


def shares(**changes: object) -> list[tuple[str, int, str]]:
    return [(step.label, step.count, step.share) for step in funnel_steps(run_report(**changes))]


def test_the_funnel_leads_from_lines_to_messages() -> None:
    assert shares() == [
        ("lines read", 10, ""),
        ("events inserted", 5, "50.0 % of lines"),
        ("matches of a rule", 5, "100.0 per 100 events"),
        ("sent", 3, "60.0 % of matches"),
        ("alerted", 1, "20.0 % of matches"),
        ("suppressed", 1, "20.0 % of matches"),
    ]


def test_events_that_had_waited_are_a_step_of_their_own() -> None:
    assert ("events decided", 8, "3 from before") in shares(decided_count=8)
    assert shares(decided_count=8, loads=())[0] == ("events decided", 8, "8 from before")


def test_a_run_that_only_loads_ends_with_what_it_holds() -> None:
    held = {"mode": RunMode.LOAD_ONLY, "decided_count": None, "rules": (), "held_count": 5}
    assert shares(**held)[-1] == ("held undecided", 5, "100.0 % of inserted")


def test_a_run_that_could_not_decide_ends_with_its_events() -> None:
    assert [label for label, *_ in shares(decided_count=None, rules=())] == ["lines read", "events inserted"]


def test_a_share_is_never_rounded_to_nothing_or_to_everything() -> None:
    rules = (replace(WELCOME, sent_count=99_999, suppressed=()), ALERT)
    told = [share for _, _, share in shares(rules=rules)][3:]
    assert told == ["over 99.9 % of matches", "under 0.1 % of matches", "0.0 % of matches"]


def test_an_empty_hour_has_no_funnel() -> None:
    assert shares(**NOTHING) == []


def test_the_funnel_is_given_in_words_too() -> None:
    assert funnel_text(funnel_steps(run_report())).startswith(
        "From lines to messages: lines read 10, events inserted 5,"
    )


def test_the_picture_is_small_the_same_every_time_and_asks_nobody_for_anything() -> None:
    steps = funnel_steps(run_report(decided_count=1_234_567, mode=RunMode.PREVIEW))
    image = funnel_image(steps)
    funnel_image.cache_clear()
    assert image == funnel_image(steps)
    assert len(image) < 40_000
    svg = base64.b64decode(image.removeprefix("data:image/svg+xml;base64,")).decode()
    assert "<text" not in svg
    assert "<metadata" not in svg
    assert not re.search(r'(?:href|src)="(?!#)', svg)


def svg_of(image: str) -> str:
    return base64.b64decode(image.removeprefix("data:image/svg+xml;base64,")).decode()


def tree_of(image: str) -> ElementTree.Element:
    return ElementTree.fromstring(svg_of(image))  # noqa: S314  our own picture


def words_of(image: str) -> list[str]:
    return [text.text or "" for text in tree_of(image).iter("{http://www.w3.org/2000/svg}text")]


def test_the_rules_are_drawn_for_readers_without_mermaid_too() -> None:
    words = words_of(rules_image((WELCOME, ALERT), is_preview=False))
    for told in (
        "signup_completed",
        "marketing_opt_in",
        "welcome_email",
        "4 matched: 3 sent, 1 suppressed",
        "WELCOME_EMAIL",
    ):
        assert any(told in word for word in words)


def test_the_picture_of_the_rules_is_small_the_same_every_time_and_asks_nobody_for_anything() -> None:
    rules = tuple(replace(ALERT, rule_name=f"rule_{n}", exclusive_group=f"g{n // 3}") for n in range(300))
    image = rules_image(rules, is_preview=True)
    assert image == rules_image(rules, is_preview=True)
    assert len(image) < 80_000
    assert len(rules_image(rules[:4], is_preview=False)) < 20_000
    assert not re.search(r'(?:href|src)="(?!#)', svg_of(image))
    assert "and 280 more rules" in words_of(image)


@pytest.mark.parametrize("text", [*HOSTILE, "<!-- x --> DejaVuSans-", "日本語 🎉"])
def test_text_from_rules_cannot_act_in_the_drawing(text: str) -> None:
    tree = tree_of(rules_image(everywhere(text).rules, is_preview=False))
    assert {element.tag.rpartition("}")[2] for element in tree.iter()} <= {
        *("svg", "defs", "style", "g", "path", "text", "clipPath", "rect", "use")
    }


@pytest.mark.slow
def test_a_run_with_nothing_to_draw_does_not_pay_for_drawing() -> None:
    code = (
        "import sys, src.marketing_messaging_service.reporting; "
        "print({'matplotlib', 'pandas', 'jinja2'} & {*sys.modules})"
    )
    root = Path(__file__).parents[2]
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=root)
    assert found.stdout == "set()\n"


def test_the_rules_lead_from_event_types_over_conditions_to_messages() -> None:
    assert rules_picture((WELCOME, ALERT)) == (
        "flowchart LR\n"
        '    trigger1(["signup_completed"])\n'
        '    trigger2(["payment_failed"])\n'
        '    rule1["<b>welcome_email</b><br/>4 matched: 3 sent, 1 suppressed"]\n'
        '    rule2["<b>high_risk_alert</b><br/>1 matched: 1 alerted"]\n'
        '    trigger1 -->|"user_traits.marketing_opt_in is true"| rule1\n'
        '    rule1 --> message1[/"WELCOME_EMAIL<br/>email"/]\n'
        '    trigger2 -->|"properties.attempt_number is at least 3"| rule2\n'
        '    rule2 --> message2[/"HIGH_RISK_ALERT<br/>internal"/]'
    )


def test_rules_of_one_group_stand_in_one_box() -> None:
    first, second = replace(WELCOME, exclusive_group="g"), replace(WELCOME, rule_name="second", exclusive_group="g")
    picture = rules_picture((first, ALERT, second))
    inside = picture.split('subgraph group1["g: the first that matches decides"]')[1].split("\n    end")[0]
    assert re.findall(r"<b>(\w+)</b>", inside) == ["welcome_email", "second"]


def test_of_hundreds_of_rules_a_readable_part_is_drawn() -> None:
    rules = tuple(replace(ALERT, rule_name=f"rule_{n}", alerted_count=1) for n in range(300))
    picture = rules_picture(rules)
    assert picture.count("<b>") == 20
    assert 'more["and 280 more rules"]' in picture


@pytest.mark.parametrize("text", HOSTILE)
def test_text_from_rules_cannot_act_in_the_picture(text: str) -> None:
    picture = rules_picture(everywhere(text).rules)
    clean = rules_picture(everywhere("harmless").rules)
    assert len(picture.splitlines()) == len(clean.splitlines())
    for sign in '"<>[](){}|`%$\\&*~!@':
        assert picture.count(sign) == clean.count(sign), sign
    assert all(code.isdigit() for code in re.findall(r"#([^;]*);?", picture))


def test_an_address_that_a_rule_names_is_masked_wherever_the_rule_is_shown() -> None:
    named = replace(WELCOME, condition_text="user_traits.email is vip@example.com", description="For vip@example.com")
    report = run_report(rules=(named,))
    assert "vip@" not in report_html(report)
    assert "user_traits.email is" in report_html(report)
    assert "vip@" not in rules_picture((named,))
    assert not any("vip@" in word for word in words_of(rules_image((named,), is_preview=False)))
