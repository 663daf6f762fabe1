"""A database of many events, made inside SQLite, so that a plan or a count can be looked at where it matters."""

import sqlite3

_RULES = """
INSERT INTO rulesets (id, content_hash, yaml_text, first_used_at) VALUES (1, 'r', '', '2026-11-01 00:00:00.000000');
INSERT INTO ruleset_rules (ruleset_id, rule_name, rule_position, description, is_enabled, trigger_event_type,
    condition_text, template_name, channel, suppression_mode)
VALUES
    (1, 'welcome', 1, '', 1, 'signup_completed', '', 'WELCOME', 'email', 'once_ever'),
    (1, 'alert', 2, '', 1, 'payment_failed', '', 'ALERT', 'internal', 'none'),
    (1, 'off', 3, '', 0, 'payment_failed', '', 'OFF', 'sms', 'none');
INSERT INTO source_files (id, content_hash, path, size_bytes, modified_at, file_signature, taken_at) VALUES
    (1, 'f', 'a.jsonl', 1, '2026-11-01 00:00:00.000000', 's', '2026-11-01 00:00:00.000000');
INSERT INTO loads (id, source_file_id, as_of, state, read_count, inserted_count, duplicate_count, conflict_count,
    rejected_count, blank_count, loaded_at, decided_at, ruleset_id)
VALUES (1, 1, '2026-11-01 00:00:00.000000', 'decided', 0, 0, 0, 0, 0, 0, '2026-11-01 00:00:00.000000',
    '2026-11-01 00:00:01.500000', 1);
"""

_EVENTS = """
WITH RECURSIVE numbers(number) AS (SELECT 1 UNION ALL SELECT number + 1 FROM numbers WHERE number < ?)
INSERT INTO events (id, message_id, user_id, event_type, event_timestamp, load_id, created_at)
SELECT number, 'm' || number, 'u' || (number % 500),
    CASE number % 3 WHEN 0 THEN 'signup_completed' WHEN 1 THEN 'payment_failed' ELSE 'app_opened' END,
    strftime('%Y-%m-%d %H:%M:%S', '2026-11-01', (number * 2592000 / ?) || ' seconds') || '.000000',
    1, '2026-11-01 00:00:00.000000'
FROM numbers
"""

_DETAILS = """
INSERT INTO user_traits (event_id, email, country) SELECT id, user_id || '@b.c', 'DE' FROM events WHERE id % 3 = 0;
INSERT INTO send_requests (user_id, event_id, template_name, channel, reason, decided_at, rule_name, ruleset_id,
    event_timestamp, dedupe_key)
SELECT user_id, id, 'WELCOME', 'email', 'rule:welcome', created_at, 'welcome', 1, event_timestamp, id
FROM events WHERE id % 6 = 0
UNION ALL
SELECT user_id, id, 'ALERT', 'internal', 'rule:alert', created_at, 'alert', 1, event_timestamp, id
FROM events WHERE id % 6 = 1;
INSERT INTO suppressions (user_id, event_id, template_name, suppression_reason, decided_at, rule_name, ruleset_id,
    event_timestamp, blocked_by_send_request_id)
SELECT user_id, id, 'WELCOME', 'once_ever', created_at, 'welcome', 1, event_timestamp, 1 FROM events WHERE id % 6 = 3;
INSERT INTO batches (id, ruleset_id, event_count, held_count) VALUES (1, 1, 0, 0);
INSERT INTO waiting_matches (event_id, rule_name, decide_at, is_too_old, batch_id)
SELECT id, 'remind', event_timestamp, 0, 1 FROM events WHERE id % 6 = 2;
INSERT INTO ended_waits (event_id, rule_name, decide_at, is_too_old, batch_id, ended_batch_id, outcome)
SELECT id, 'remind', event_timestamp, 0, 1, 1, CASE id % 12 WHEN 5 THEN 'no match' ELSE 'lapsed' END
FROM events WHERE id % 6 = 5;
"""


def fill(connection: sqlite3.Connection, event_count: int) -> None:
    """Fill a migrated database with events of 500 users over 30 days, one load, and decisions on half of them."""
    connection.executescript(_RULES)
    connection.execute(_EVENTS, (event_count, event_count))
    connection.executescript(_DETAILS)
    connection.commit()
