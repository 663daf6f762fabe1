-- title: Which files had lines that were rejected or in conflict?
-- sentence: Loads with trouble, newest first, with what was wrong most often.
SELECT
    history.load_id,
    history.path,
    history.loaded_at,
    history.read_count,
    history.rejected_count,
    history.conflict_count,
    (
        SELECT by_reason.reason_code FROM rejected_lines_by_reason AS by_reason
        WHERE by_reason.load_id = history.load_id
        ORDER BY by_reason.rejected_count DESC, by_reason.reason_code
        LIMIT 1
    ) AS most_frequent_reason_code
FROM load_history AS history
WHERE history.rejected_count + history.conflict_count > 0
ORDER BY history.load_id DESC
LIMIT 200;
