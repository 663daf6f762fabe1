"""Writes the report of a backtest: Markdown for the Prefect UI, and one HTML file that opens anywhere."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import datetime
from pathlib import Path

from src.marketing_messaging_service.backtesting import words
from src.marketing_messaging_service.backtesting.backtest import Backtest
from src.marketing_messaging_service.backtesting.difference import Difference
from src.marketing_messaging_service.backtesting.forms import write_changes
from src.marketing_messaging_service.backtesting.pictures import Bars, bars_text, by_slot, columns_image, rows_image
from src.marketing_messaging_service.infrastructure.instants import instant_text
from src.marketing_messaging_service.reporting.drawing import DARK, LIGHT, Theme
from src.marketing_messaging_service.reporting.html import page
from src.marketing_messaging_service.reporting.masking import masked
from src.marketing_messaging_service.reporting.report_file import write_whole
from src.marketing_messaging_service.reporting.tables import Cell, Table, code, counted, escaped, markdown_table
from src.marketing_messaging_service.version import VERSION

TEMPLATE = "backtest.html.j2"

DARKEST = 40
"""The strongest accent of a heat map cell, in percent: text stays readable on it in either theme."""


@dataclass(frozen=True, slots=True)
class Files:
    """The paths of a backtest's report, and of the file with every changed decision."""

    report: Path
    changes: Path


@dataclass(frozen=True, slots=True)
class _Image:
    title: str
    text: str
    light: str
    dark: str
    remark: str = ""


@dataclass(frozen=True, slots=True)
class _Cell:
    text: str
    share: int
    """How dark it is, in percent."""


@dataclass(frozen=True, slots=True)
class _Row:
    name: str
    cells: tuple[_Cell, ...]


def write_files(folder: Path, found: Backtest, at: datetime) -> Files:
    """Write the report and every changed decision into a folder, each completely or not at all, and return the paths.

    Raises ReportError when the folder cannot be written to.
    """
    stem = f"backtest-{instant_text(at, 'seconds').replace(' ', 'T').replace(':', '')}Z"
    files = Files(folder / f"{stem}.html", folder / f"{stem}.csv")
    html = difference_html(found.difference, files.changes.name)
    write_whole(files.changes, lambda partial: write_changes(partial, found.changes()))
    write_whole(files.report, lambda partial: partial.write_text(html, encoding="utf-8"))
    return files


def difference_html(found: Difference, changes_name: str) -> str:
    """Return a difference as a whole HTML document."""
    columns, rows = _heat(found)
    return page(
        TEMPLATE,
        Path(__file__).parent,
        title=f"Backtest of {found.after_name}",
        eyebrow=(f"{found.before_name} → {found.after_name}", _window(found)),
        sentence=masked(words.manager_sentence(found)),
        headline=f"{counted(found.event_count, 'event')} decided twice in {found.seconds:g} s; nothing was changed.",
        warnings=[masked(each) for each in found.new_warnings],
        tables=[table for table in words.tables(found) if table.title not in {words.WEEKS, words.STOPS}],
        images=_images(found),
        heat_columns=columns,
        heat_rows=rows,
        examples=list(words.examples_tables(found)),
        facts=_facts(found, changes_name),
    )


def difference_markdown(found: Difference, files: Files) -> str:
    """Return a difference as Markdown; the Prefect UI shows the headline above it."""
    parts = [f"## {escaped(masked(words.manager_sentence(found)))}"]
    parts += [f"- New warning: {escaped(masked(each))}" for each in found.new_warnings]
    parts += list(map(_image_markdown, _images(found)))
    parts += [markdown_table(table) for table in words.tables(found) if table.title != words.WEEKS]
    # As lists, because the Prefect UI cuts off tables that are wider than its column.
    parts += list(map(_list_markdown, words.examples_tables(found)))
    parts += [f"{escaped(name)}: {escaped(text)}" for name, text in _facts(found, files.changes.name)]
    parts.append(f"The report as a file: {escaped(str(files.report))}")
    return "\n\n".join(parts)


def _image_markdown(image: _Image) -> str:
    parts = (f"### {escaped(image.title)}", f"![{escaped(image.text)}]({image.light})", escaped(image.remark))
    return "\n\n".join(filter(None, parts))


def _list_markdown(examples: Table) -> str:
    items = [
        f"- {escaped(f'{user}, {event}, {rule_name}: {before} → {after}')}: {code(command)}"
        for user, event, rule_name, before, after, command in map(_texts, examples.rows)
    ]
    return "\n".join([f"### {escaped(examples.title)}\n", *items])


def _texts(row: tuple[Cell, ...]) -> tuple[str, ...]:
    return tuple(map(str, row))


def _window(found: Difference) -> str:
    return f"{instant_text(found.since)} to {instant_text(found.until)} UTC"


def _facts(found: Difference, changes_name: str) -> list[tuple[str, str]]:
    return [
        ("before", found.before_name),
        ("after", found.after_name),
        ("window", _window(found)),
        ("every changed decision", changes_name),
        ("version", VERSION),
        *(("note", note) for note in found.notes),
    ]


def _images(found: Difference) -> list[_Image]:
    slot, bars = by_slot(found.days)
    images = []
    if bars:
        images.append(_image(f"Messages per {slot}", bars, columns_image))
        by_week = _image(words.WEEKS, tuple(words.weeks_shown(found)), rows_image)
        images.append(replace(by_week, remark=words.weeks_table(found).remark))
    return images


def _image(title: str, bars: Bars, draw: Callable[[Bars, Theme], str]) -> _Image:
    return _Image(title, bars_text(title, bars), draw(bars, LIGHT), draw(bars, DARK))


def _heat(found: Difference) -> tuple[list[str], list[_Row]]:
    """Return who stops whom as column names, and rows of cells that are darker the more they count."""
    names, columns, cells = words.matrix(found.stops_before, found.stops_after)
    most = max((max(counts.before, counts.after) for counts in cells.values()), default=1)
    rows = []
    for name in names:
        of_row = []
        for column in columns:
            counts = cells.get((name, column))
            if counts is None:
                of_row.append(_Cell("", 0))
                continue
            same = counts.before == counts.after
            text = f"{counts.after:,}" if same else f"{counts.before:,} → {counts.after:,}"
            of_row.append(_Cell(text, 6 + round(DARKEST * max(counts.before, counts.after) / most)))
        rows.append(_Row(name, tuple(of_row)))
    return columns, rows
