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
