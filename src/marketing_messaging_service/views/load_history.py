"""What became of each raw file."""

from src.marketing_messaging_service.models import Load, Ruleset, SourceFile
from src.marketing_messaging_service.views.view import View, ViewColumn, passed_on
from src.marketing_messaging_service.vocabulary import DataType

LOAD_HISTORY = View(
    name="load_history",
    sentence="One row per load: the file, its line counts, how long things took, and the run's logical time.",
    columns=(
        passed_on(Load.id, "load_id"),
        passed_on(SourceFile.path),
        passed_on(Load.as_of),
        passed_on(Load.state),
        passed_on(Load.read_count),
        passed_on(Load.inserted_count),
        passed_on(Load.duplicate_count),
        passed_on(Load.conflict_count),
        passed_on(Load.collision_count),
        passed_on(Load.rejected_count),
        passed_on(Load.blank_count),
        passed_on(Load.dropped_count),
        passed_on(Load.outside_count),
        passed_on(SourceFile.size_bytes),
        passed_on(SourceFile.modified_at),
        passed_on(Load.loaded_at),
        passed_on(Load.decided_at),
        ViewColumn(
            "landing_wait_seconds",
            DataType.NUMBER,
            "From the file's last change to its load, in seconds, including the wait for the next run.",
        ),
        passed_on(Load.load_seconds),
        ViewColumn(
            "decision_wait_seconds",
            DataType.NUMBER,
            "From the start of the load to the decision on its events, in seconds; null while they wait.",
        ),
        passed_on(Load.run_id),
        passed_on(Load.flow_run_id),
        passed_on(Ruleset.content_hash, "ruleset_hash"),
        passed_on(SourceFile.replayed_file_id),
    ),
    reads=("loads", "source_files", "rulesets"),
    select="""\
SELECT
    load.id AS load_id,
    file.path,
    load.as_of,
    load.state,
    load.read_count,
    load.inserted_count,
    load.duplicate_count,
    load.conflict_count,
    load.collision_count,
    load.rejected_count,
    load.blank_count,
    load.dropped_count,
    load.outside_count,
    file.size_bytes,
    file.modified_at,
    load.loaded_at,
    load.decided_at,
    CAST(round((julianday(load.loaded_at) - julianday(file.modified_at)) * 86400, 3) AS REAL) AS landing_wait_seconds,
    load.load_seconds,
    CAST(round((julianday(load.decided_at) - julianday(load.loaded_at)) * 86400, 3) AS REAL) AS decision_wait_seconds,
    load.run_id,
    load.flow_run_id,
    ruleset.content_hash AS ruleset_hash,
    file.replayed_file_id
FROM loads AS load
JOIN source_files AS file ON file.id = load.source_file_id
LEFT JOIN rulesets AS ruleset ON ruleset.id = load.ruleset_id
""",
)
