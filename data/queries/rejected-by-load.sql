-- title: What did this load reject?
-- sentence: Every line of one file that became no event, because it is invalid or has the message_id of another event; with the reason, and when a replay took it after all.
-- parameter load_id: the load, by its number in load_history; left empty, the last one that rejected anything
WITH asked AS (
    SELECT CAST(coalesce(nullif(trim(:load_id), ''), (SELECT max(load_id) FROM rejected_rows)) AS INTEGER) AS load_id
)
SELECT
    rejected.path,
    rejected.line_number AS line_number,
    rejected.reason_code,
    rejected.field_name,
    rejected.explanation,
    rejected.raw_line,
    rejected.replayed_at
FROM asked
JOIN rejected_lines AS rejected ON rejected.load_id = asked.load_id
UNION ALL
SELECT
    history.path, NULL, NULL, NULL,
    CASE WHEN history.load_id IS NULL THEN 'There is no load of this number.' ELSE 'This load rejected nothing.' END,
    NULL, NULL
FROM asked
LEFT JOIN load_history AS history ON history.load_id = asked.load_id
WHERE asked.load_id IS NOT NULL AND NOT EXISTS (SELECT 1 FROM rejected_rows WHERE load_id = asked.load_id)
ORDER BY line_number;
