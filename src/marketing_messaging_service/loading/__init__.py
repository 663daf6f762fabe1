"""Puts typed rows into the tables, each file whole or not at all. Knows the database, reads no raw file."""

from src.marketing_messaging_service.loading.ledger import (
    held_event_count,
    known_contents,
    known_files,
    known_files_at,
    refused_contents,
    undecided_event_count,
)
from src.marketing_messaging_service.loading.load import load_file, load_files
from src.marketing_messaging_service.loading.rejected_lines import (
    choose_rejected_lines,
    count_kept_in_part,
    exported_lines,
    note_replay,
)
from src.marketing_messaging_service.loading.runs import (
    close_run,
    note_files,
    note_message,
    open_run,
    running_runs,
    runs_under_way,
)

__all__ = [
    "choose_rejected_lines",
    "close_run",
    "count_kept_in_part",
    "exported_lines",
    "held_event_count",
    "known_contents",
    "known_files",
    "known_files_at",
    "load_file",
    "load_files",
    "note_files",
    "note_message",
    "note_replay",
    "open_run",
    "refused_contents",
    "running_runs",
    "runs_under_way",
    "undecided_event_count",
]
