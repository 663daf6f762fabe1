SELECT
    rejected.load_id,
    file.path,
    rejected.reason_code,
    count(*) AS rejected_count,
    min(rejected.line_number) AS first_line_number,
    load.loaded_at
FROM rejected_rows AS rejected
JOIN loads AS load ON load.id = rejected.load_id
JOIN source_files AS file ON file.id = load.source_file_id
GROUP BY rejected.load_id, rejected.reason_code
