"""Draws the rules of a file before any run has applied them."""

import base64

from src.marketing_messaging_service.decisions.rules import Rule, Rules
from src.marketing_messaging_service.decisions.wording import condition_text
from src.marketing_messaging_service.reporting.rules_image import rules_image
from src.marketing_messaging_service.reporting.run_report import RuleReport


def rules_svg(whole: Rules) -> bytes:
    """Return the report's drawing of the enabled rules, without counts, as an SVG file."""
    image = rules_image(tuple(_row(rule) for rule in whole.rules if rule.enabled), is_preview=False)
    return base64.b64decode(image.partition(",")[2])


def _row(rule: Rule) -> RuleReport:
    return RuleReport(
        rule_name=rule.name,
        description=rule.description,
        trigger_event_type=rule.trigger.event_type,
        condition_text=condition_text(rule),
        exclusive_group=rule.exclusive_group,
        template_name=rule.action.template_name,
        channel=rule.action.delivery_method,
        suppression_mode=rule.suppression.mode,
        is_applied=False,
    )
