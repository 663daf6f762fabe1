"""Pictures of the messages per day, and per user and week, before and after."""

from collections.abc import Sequence
from datetime import date, timedelta
from functools import lru_cache
from typing import Any

from src.marketing_messaging_service.backtesting.difference import Counts
from src.marketing_messaging_service.reporting.drawing import LIGHT, Theme, draw_box, draw_text, picture

# From Okabe and Ito's palette, which everybody can distinguish.
BEFORE, AFTER = "#8593a5", "#0072b2"

_WIDTH, _MARGIN = 760, 18
_PLOT_HEIGHT, _TOP, _BOTTOM = 150, 44, 30
_ROW, _THICKNESS, _LABEL_AT, _BAR_AT, _BAR_WIDTH = 40, 13, 26, 130, 480

MOST_SLOTS = 62
"""Up to this many days are drawn one by one; in longer windows each bar is a week."""

Bars = tuple[tuple[str, Counts], ...]


def by_slot(days: Sequence[tuple[str, Counts]]) -> tuple[str, Bars]:
    """Return what a bar stands for, and the bars: one per day of the window, or per week if those would be too many."""
    if not days:
        return "day", ()
    counts = dict(days)
    first, last = (date.fromisoformat(days[place][0]) for place in (0, -1))
    length = 1 if (last - first).days < MOST_SLOTS else 7
    if length == 7:
        first -= timedelta(days=first.weekday())
    slots = []
    while first <= last:
        of_slot = [counts.get(str(first + timedelta(days=day)), Counts()) for day in range(length)]
        slots.append((str(first), Counts(sum(each.before for each in of_slot), sum(each.after for each in of_slot))))
        first += timedelta(days=length)
    return ("day" if length == 1 else "week"), tuple(slots)


@lru_cache(maxsize=4)
def columns_image(bars: Bars, theme: Theme = LIGHT) -> str:
    """Return pairs of bars (before and after) along the time axis, as a `data:` URL."""
    height = _TOP + _PLOT_HEIGHT + _BOTTOM
    most = max(1, *(max(counts.before, counts.after) for _, counts in bars))
    width = (_WIDTH - 2 * _MARGIN) / len(bars)

    def paint(axes: Any) -> None:
        _legend(axes, theme)
        floor = _TOP + _PLOT_HEIGHT
        axes.plot([_MARGIN, _WIDTH - _MARGIN], [floor, floor], color=theme.border, lw=1)
        for place, (_, counts) in enumerate(bars):
            left = _MARGIN + place * width
            for number, (count, colour) in enumerate(((counts.before, BEFORE), (counts.after, AFTER))):
                tall = _PLOT_HEIGHT * count / most
                x = left + width * (0.1 + 0.4 * number)
                axes.fill_between([x, x + width * 0.4], floor, floor - tall, color=colour, lw=0)
        draw_text(axes, _WIDTH - _MARGIN, 22, f"at most {most:,}", color=theme.faint, fontsize=10, ha="right")
        draw_text(axes, _MARGIN, floor + 16, bars[0][0], color=theme.faint, fontsize=10)
        if len(bars) > 1:
            draw_text(axes, _WIDTH - _MARGIN, floor + 16, bars[-1][0], color=theme.faint, fontsize=10, ha="right")

    return picture(_WIDTH, height, theme, paint)


@lru_cache(maxsize=4)
def rows_image(bars: Bars, theme: Theme = LIGHT) -> str:
    """Return a pair of bars for each name, one below the other, with their numbers, as a `data:` URL."""
    most = max(1, *(max(counts.before, counts.after) for _, counts in bars))

    def paint(axes: Any) -> None:
        _legend(axes, theme)
        for place, (name, counts) in enumerate(bars):
            top = _TOP + place * _ROW
            draw_text(axes, _LABEL_AT, top + _THICKNESS + 1, name, color=theme.ink, fontsize=11)
            for number, (count, colour) in enumerate(((counts.before, BEFORE), (counts.after, AFTER))):
                y, long = top + number * (_THICKNESS + 2), _BAR_WIDTH * count / most
                if count:
                    draw_box(axes, (_BAR_AT, y, max(long, 2), _THICKNESS), fill=colour, line=colour, radius=1)
                draw_text(
                    axes, _BAR_AT + max(long, 2) + 8, y + _THICKNESS / 2, f"{count:,}", color=theme.faint, fontsize=10
                )

    return picture(_WIDTH, _TOP + len(bars) * _ROW + 8, theme, paint)


def _legend(axes: Any, theme: Theme) -> None:
    for x, colour, name in ((_MARGIN + 8, BEFORE, "before"), (_MARGIN + 88, AFTER, "after")):
        draw_box(axes, (x, 16, 11, 11), fill=colour, line=colour, radius=2)
        draw_text(axes, x + 18, 22, name, color=theme.ink, fontsize=11)


def bars_text(what: str, bars: Bars) -> str:
    """Return a picture in words, for people who cannot see it."""
    said = "; ".join(f"{name}: {counts.before:,} before, {counts.after:,} after" for name, counts in bars[:MOST_SLOTS])
    return f"{what}. {said}."
