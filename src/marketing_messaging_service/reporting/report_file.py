"""Writes the report of a run as a file."""

from __future__ import annotations

import os
import re
from typing import TYPE_CHECKING, Literal

from src.marketing_messaging_service.errors import ReportError
from src.marketing_messaging_service.infrastructure.instants import instant_text
from src.marketing_messaging_service.reporting.html import report_html

if TYPE_CHECKING:
    from collections.abc import Callable
    from datetime import datetime
    from pathlib import Path

    from src.marketing_messaging_service.reporting.run_report import RunReport


def write_report(folder: Path, report: RunReport) -> Path:
    """Write the report of a run into a folder, whole or not at all, and return its path; it replaces an earlier one.

    Raises ReportError when the folder cannot be written to.
    """
    path = folder / report_name(report)
    html = report_html(report)
    write_whole(path, lambda partial: partial.write_text(html, encoding="utf-8"))
    return path


def write_whole(path: Path, write: Callable[[Path], object]) -> None:
    """Write a file of REPORTS_PATH completely or not at all; `write` gets the path to write it to first.

    Raises ReportError when its folder cannot be written to.
    """
    folder = path.parent
    # Two processes may rebuild the same report at once.
    partial = folder / f".{path.name}.{os.getpid()}.partial"
    try:
        folder.mkdir(parents=True, exist_ok=True)
        try:
            write(partial)
            partial.replace(path)
        finally:
            partial.unlink(missing_ok=True)
    except OSError as error:
        raise ReportError(
            f"REPORTS_PATH names {folder}, which the report cannot be written to ({error.strerror}). Free its disk, or "
            "correct REPORTS_PATH."
        ) from None


def report_name(report: RunReport) -> str:
    """Return the name of the file, with the flow, its logical time and the run."""
    flow_name = re.sub(r"[^A-Za-z0-9_-]", "-", report.flow_name)
    as_of, started_at = _in_name(report.as_of, "minutes"), _in_name(report.started_at, "seconds")
    run = f"preview-{started_at}" if report.is_preview else f"run-{report.run_id}"
    return f"{flow_name}-{as_of}-{run}.html"


def _in_name(instant: datetime, timespec: Literal["minutes", "seconds"]) -> str:
    return f"{instant_text(instant, timespec).replace(' ', 'T').replace(':', '')}Z"
