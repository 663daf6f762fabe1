-- title: What did this load reject?
-- sentence: Every line of one file that could not become an event, and what is wrong with it.
-- parameter load_id: the load, by its number in load_history; left empty, the last one that rejected anything
SELECT path, line_number, reason_code, field_name, explanation, raw_line
FROM rejected_lines
WHERE load_id = coalesce(nullif(:load_id, ''), (SELECT max(load_id) FROM rejected_rows)) + 0
ORDER BY line_number;
