-- title: Which keys do producers send that we do not know?
-- sentence: Unknown keys of raw events, the most frequent first, with the first and last file that had each. A key that has been declared since is marked, because its values from before then were not kept.
SELECT
    unknown.key_path,
    sum(unknown.occurrence_count) AS occurrence_count,
    count(*) AS load_count,
    min(history.loaded_at) AS first_loaded_at,
    max(history.loaded_at) AS last_loaded_at,
    CASE WHEN EXISTS (
        SELECT 1 FROM data_dictionary AS known
        WHERE unknown.key_path = CASE known.table_name
            WHEN 'event_properties' THEN 'properties.' || known.column_name
            WHEN 'user_traits' THEN 'user_traits.' || known.column_name
        END
    ) THEN 'Known by now.' END AS remark
FROM unknown_keys AS unknown
JOIN load_history AS history ON history.load_id = unknown.load_id
GROUP BY unknown.key_path
ORDER BY sum(unknown.occurrence_count) DESC, unknown.key_path;
