"""The lines that could not become events."""

from src.marketing_messaging_service.models import Load, RejectedRow, SourceFile
from src.marketing_messaging_service.views.view import View, ViewColumn, passed_on
from src.marketing_messaging_service.vocabulary import DataType

REJECTED_LINES = View(
    name="rejected_lines",
    sentence="One row per line in rejected_rows: its file, what is wrong with it, the line, and what replayed it.",
    columns=(
        passed_on(RejectedRow.load_id),
        passed_on(SourceFile.path),
        passed_on(RejectedRow.line_number),
        passed_on(RejectedRow.reason_code),
        passed_on(RejectedRow.field_name),
        passed_on(RejectedRow.explanation),
        passed_on(RejectedRow.raw_line),
        passed_on(RejectedRow.event_id),
        passed_on(Load.loaded_at),
        passed_on(RejectedRow.id, "rejected_row_id"),
        passed_on(RejectedRow.replayed_load_id),
        ViewColumn(
            "replayed_at",
            DataType.TIMESTAMP,
            "When a replay took the line after all, in UTC by the clock of the machine; null while it is not an event.",
        ),
    ),
    reads=("rejected_rows", "loads", "source_files"),
    select="""\
SELECT
    rejected.load_id,
    file.path,
    rejected.line_number,
    rejected.reason_code,
    rejected.field_name,
    rejected.explanation,
    rejected.raw_line,
    rejected.event_id,
    load.loaded_at,
    rejected.id AS rejected_row_id,
    rejected.replayed_load_id,
    replay.loaded_at AS replayed_at
FROM rejected_rows AS rejected
JOIN loads AS load ON load.id = rejected.load_id
JOIN source_files AS file ON file.id = load.source_file_id
LEFT JOIN loads AS replay ON replay.id = rejected.replayed_load_id
""",
)
