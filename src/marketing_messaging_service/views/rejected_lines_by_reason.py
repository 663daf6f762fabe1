"""How many lines could not become events, and why."""

from src.marketing_messaging_service.models import Load, RejectedRow, SourceFile
from src.marketing_messaging_service.views.view import View, ViewColumn, passed_on
from src.marketing_messaging_service.vocabulary import DataType

REJECTED_LINES_BY_REASON = View(
    name="rejected_lines_by_reason",
    sentence="Rejected lines by load, file and reason.",
    columns=(
        passed_on(RejectedRow.load_id),
        passed_on(SourceFile.path),
        passed_on(RejectedRow.reason_code),
        ViewColumn("rejected_count", DataType.INTEGER, "Lines of the file that were rejected for this reason."),
        ViewColumn("first_line_number", DataType.INTEGER, "The first such line of the file, counted from 1."),
        passed_on(Load.loaded_at),
        ViewColumn("replayed_count", DataType.INTEGER, "How many of these lines a replay took after all."),
    ),
    reads=("rejected_rows", "loads", "source_files"),
    select="""\
SELECT
    rejected.load_id,
    file.path,
    rejected.reason_code,
    CAST(count(*) AS INTEGER) AS rejected_count,
    CAST(min(rejected.line_number) AS INTEGER) AS first_line_number,
    load.loaded_at,
    CAST(count(rejected.replayed_load_id) AS INTEGER) AS replayed_count
FROM rejected_rows AS rejected
JOIN loads AS load ON load.id = rejected.load_id
JOIN source_files AS file ON file.id = load.source_file_id
GROUP BY rejected.load_id, rejected.reason_code
""",
)
