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
