"""Draws the way from lines to messages."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING, Any

from src.marketing_messaging_service.reporting.drawing import LIGHT, Theme, draw_text, picture

if TYPE_CHECKING:
    from src.marketing_messaging_service.reporting.run_report import RunReport

# From Okabe and Ito's palette, which everybody can distinguish.
_GREY, _BLUE, _SKY, _GREEN, _ORANGE, _RED = "#8593a5", "#0072b2", "#56b4e9", "#009e73", "#e69f00", "#d55e00"

_WIDTH, _ROW, _MARGIN, _THICKNESS = 760, 34, 18, 18
_LABEL_AT, _COUNT_AT, _BAR_AT, _BAR_WIDTH = 26, 262, 280, 320
"""Positions, in points."""


@dataclass(frozen=True, slots=True)
class FunnelStep:
    """One bar of the funnel."""

    label: str
    count: int
    share: str
    """How many of the previous step get this far, in words."""
    colour: str
    is_part: bool = False
    """Whether it is a part of the previous step, and not its own step."""


def funnel_steps(report: RunReport) -> tuple[FunnelStep, ...]:
    """Return the steps from lines to messages; none if there is nothing to draw."""
    lines, would = report.lines, "would be " if report.is_preview else ""
    insert, decide = ("to insert", "to decide") if report.is_preview else ("inserted", "decided")
    if not lines.read and not report.decided_count and not report.again_count:
        return ()
    steps = [
        FunnelStep("lines read", lines.read, "", _GREY),
        FunnelStep(f"events {insert}", lines.inserted, _percent(lines.inserted, lines.read, "lines"), _BLUE),
    ]
    if not lines.read:
        # There are only decided events that had waited to show.
        steps.clear()
    if report.held_count:
        share = _percent(report.held_count, lines.inserted, "inserted")
        return (*steps, FunnelStep(f"{would}held undecided", report.held_count, share, _ORANGE))
    if report.decided_count is None:
        return tuple(steps)
    if report.decided_count != lines.inserted:
        from_before = f"{report.earlier_count:,} from before" if report.earlier_count else ""
        steps.append(FunnelStep(f"events {decide}", report.decided_count, from_before, _BLUE))
    # An event may match several rules, so this is not a share of the events.
    rate = f"{100 * report.matched_count / report.decided_count:.1f} per 100 events" if report.decided_count else ""
    if report.again_count:
        # These belong to other events than the ones above.
        rate = f"{report.again_count:,} decided again"
    steps.append(FunnelStep("matches of a rule", report.matched_count, rate, _SKY))
    parts = (
        (f"{would}sent", report.sent_count, _GREEN),
        (f"{would}alerted", report.alerted_count, _ORANGE),
        (f"{would}suppressed", report.suppressed_count, _RED),
    )
    steps += [
        FunnelStep(label, count, _percent(count, report.matched_count, "matches"), colour, is_part=True)
        for label, count, colour in parts
    ]
    return tuple(steps)


def _percent(count: int, of: int, noun: str) -> str:
    if not of:
        return ""
    percent = 100 * count / of
    # Rounding must not turn something into nothing, nor a part into everything.
    about = "under 0.1" if 0 < percent < 0.1 else "over 99.9" if 99.9 < percent < 100 else f"{percent:.1f}"
    return f"{about} % of {noun}"


def funnel_text(steps: tuple[FunnelStep, ...]) -> str:
    """Return the funnel in words, for people who cannot see the picture."""
    return f"From lines to messages: {', '.join(f'{step.label} {step.count:,}' for step in steps)}."


# A run shows the same picture in two places.
@lru_cache(maxsize=4)
def funnel_image(steps: tuple[FunnelStep, ...], theme: Theme = LIGHT) -> str:
    """Return the picture as a `data:` URL."""
    scale = _BAR_WIDTH / max(1, *(step.count for step in steps))

    def paint(axes: Any) -> None:
        for position, step in enumerate(steps):
            _draw_step(axes, theme, step, middle=_MARGIN + (position + 0.5) * _ROW, scale=scale)

    return picture(_WIDTH, len(steps) * _ROW + 2 * _MARGIN, theme, paint)


def _draw_step(axes: Any, theme: Theme, step: FunnelStep, *, middle: float, scale: float) -> None:
    size = 13 if step.is_part else 14
    draw_text(axes, _LABEL_AT + (18 if step.is_part else 0), middle, step.label, size=size, color=theme.ink)
    draw_text(axes, _COUNT_AT, middle, f"{step.count:,}", size=size, color=theme.ink, ha="right")
    # However small, anything that is there is visible.
    length = max(step.count * scale, 2) if step.count else 0
    axes.barh(middle, length, left=_BAR_AT, height=_THICKNESS, color=step.colour, lw=0)
    draw_text(axes, _BAR_AT + length + 10, middle, step.share, size=12, color=theme.faint)
