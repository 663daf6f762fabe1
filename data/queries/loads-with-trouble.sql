-- title: Which files had lines that were rejected, colliding or in conflict, or could not be taken?
-- sentence: Loads with trouble, newest first, with the most frequent reason; and what the runs of the last seven days reported about files and steps that failed completely. At most the newest 200 of each.
SELECT
    trouble.load_id AS load_id,
    trouble.path,
    trouble.happened_at AS happened_at,
    trouble.read_count,
    trouble.rejected_count,
    trouble.collision_count,
    trouble.conflict_count,
    trouble.most_frequent_reason_code,
    NULL AS explanation
FROM (
    SELECT
        history.load_id,
        history.path,
        history.loaded_at AS happened_at,
        history.read_count,
        history.rejected_count,
        history.collision_count,
        history.conflict_count,
        (
            SELECT by_reason.reason_code FROM rejected_lines_by_reason AS by_reason
            WHERE by_reason.load_id = history.load_id
            ORDER BY by_reason.rejected_count DESC, by_reason.reason_code
            LIMIT 1
        ) AS most_frequent_reason_code
    FROM load_history AS history
    WHERE history.rejected_count + history.collision_count + history.conflict_count > 0
    ORDER BY history.load_id DESC
    LIMIT 200
) AS trouble
UNION ALL
SELECT NULL, failed.subject, failed.happened_at, NULL, NULL, NULL, NULL, NULL, failed.explanation
FROM (
    SELECT remark.subject, max(run.started_at) AS happened_at, remark.explanation
    FROM run_remarks AS remark
    JOIN runs AS run ON run.id = remark.run_id
    WHERE remark.kind = 'problem'
        AND run.started_at >= (SELECT datetime(max(started_at), '-7 days') FROM runs)
    GROUP BY remark.subject, remark.explanation
    ORDER BY happened_at DESC
    LIMIT 200
) AS failed
ORDER BY happened_at DESC, load_id DESC;
