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
