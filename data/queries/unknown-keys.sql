-- title: Which keys do producers send that we do not know?
-- sentence: Unknown keys of raw events, the most frequent first, with the first and last file in which each stood.
SELECT
    unknown.key_path,
    sum(unknown.occurrence_count) AS occurrence_count,
    count(*) AS load_count,
    min(history.loaded_at) AS first_loaded_at,
    max(history.loaded_at) AS last_loaded_at
FROM unknown_keys AS unknown
JOIN load_history AS history ON history.load_id = unknown.load_id
GROUP BY unknown.key_path
ORDER BY sum(unknown.occurrence_count) DESC, unknown.key_path;
