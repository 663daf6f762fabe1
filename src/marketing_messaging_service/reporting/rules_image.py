"""Draws the rules as they were applied, for readers whose page does not draw Mermaid."""

from __future__ import annotations

import textwrap
from typing import TYPE_CHECKING, Any

from src.marketing_messaging_service.reporting.drawing import LIGHT, Theme, draw_box, draw_text, picture
from src.marketing_messaging_service.reporting.rules_picture import drawn_rules, grouped, rule_counts
from src.marketing_messaging_service.reporting.tables import counted, printable

if TYPE_CHECKING:
    from src.marketing_messaging_service.reporting.run_report import RuleReport

_WIDTH, _MARGIN, _ROW, _GAP, _GROUP_TITLE = 940, 18, 52, 8, 26
_TRIGGER, _CONDITION, _RULE, _MESSAGE = (26, 150), (202, 186), (414, 268), (710, 204)
"""Where each column begins and how wide it is, in points."""


def rules_image(rules: tuple[RuleReport, ...], *, is_preview: bool, theme: Theme = LIGHT) -> str:
    """Return the way from event types through conditions and rules to messages as a `data:` URL, one row per rule."""
    shown = drawn_rules(rules)
    groups = grouped(shown)
    left_out = len(rules) - len(shown)
    titles = sum(_GROUP_TITLE + _GAP for name, _ in groups if name is not None)
    height = 2 * _MARGIN + len(shown) * (_ROW + _GAP) - _GAP + titles + (_GROUP_TITLE if left_out else 0)

    def paint(axes: Any) -> None:
        top: float = _MARGIN
        for name, members in groups:
            if name is not None:
                inside = _GROUP_TITLE + len(members) * (_ROW + _GAP)
                frame = (_TRIGGER[0] - 10, top, _WIDTH - 2 * (_TRIGGER[0] - 10), inside)
                draw_box(axes, frame, fill="none", line=theme.faint, radius=8, style="dashed")
                title = f"{printable(name, 60)}: the first that matches decides"
                draw_text(axes, _TRIGGER[0], top + 13, title, size=11, color=theme.faint)
                top += _GROUP_TITLE
            for rule in members:
                _draw_rule(axes, theme, rule, top, is_preview=is_preview)
                top += _ROW + _GAP
            top += _GAP if name is not None else 0
        if left_out:
            more = f"and {counted(left_out, 'more rule')}"
            draw_text(axes, _TRIGGER[0], top + 8, more, size=11, color=theme.faint)

    # A font for each of some hundred words would be larger than everything else.
    return picture(_WIDTH, height, theme, paint, has_font=False)


def _draw_rule(axes: Any, theme: Theme, rule: RuleReport, top: float, *, is_preview: bool) -> None:
    middle = top + _ROW / 2
    for (x, width), line, radius in (
        (_TRIGGER, theme.border, 16),
        (_RULE, theme.accent, 6),
        (_MESSAGE, theme.border, 6),
    ):
        draw_box(axes, (x, top, width, _ROW), fill=theme.box, line=line, radius=radius)
    for before in (_CONDITION, _RULE, _MESSAGE):
        draw_text(axes, before[0] - 14, middle, "→", size=11, color=theme.faint, ha="center")
    draw_text(axes, _TRIGGER[0] + 12, middle, printable(rule.trigger_event_type, 20), size=12, color=theme.ink)
    condition = textwrap.wrap(printable(rule.shown_condition or "every one", 84), 28, max_lines=3, placeholder=" ...")
    for place, line in enumerate(condition):
        offset = (place - (len(condition) - 1) / 2) * 15
        draw_text(axes, _CONDITION[0], middle + offset, line, size=11, color=theme.faint)
    counts = rule_counts(rule, is_preview=is_preview)
    _draw_names(axes, theme, (_RULE[0], middle), (printable(rule.rule_name, 32), printable(counts, 44)))
    _draw_names(axes, theme, (_MESSAGE[0], middle), (printable(rule.template_name, 26), printable(rule.channel, 26)))


def _draw_names(axes: Any, theme: Theme, place: tuple[float, float], names: tuple[str, str]) -> None:
    x, middle = place
    draw_text(axes, x + 12, middle - 9, names[0], size=12, color=theme.ink)
    draw_text(axes, x + 12, middle + 11, names[1], size=10.5, color=theme.faint)
