"""How events become messages, rule by rule and day by day."""

from src.marketing_messaging_service.views.event_dates import EVENT_DATE
from src.marketing_messaging_service.views.view import View, ViewColumn
from src.marketing_messaging_service.vocabulary import DataType

# One grouping over five sources instead of a grouping of groupings: SQLite pushes a condition on event_date through one
# GROUP BY but not through two, and would count all of history for one day. A null bound ends the search in a table that
# is not the row's source before it begins.
RULE_FUNNEL = View(
    name="rule_funnel",
    sentence="From events to messages by UTC date and rule: triggered, waiting, matched; and of the matches sent, "
    "alerted or suppressed, and why; a day is quick when you ask for its event_date.",
    columns=(
        EVENT_DATE,
        ViewColumn("rule_name", DataType.TEXT, "The rule, from rules.yaml, by the name it had when it decided."),
        ViewColumn(
            "triggered_count",
            DataType.INTEGER,
            "Events of the rule's trigger type that were decided by a ruleset in which the rule was enabled; not "
            "counting events that still wait, are from before loads were recorded, or were only decided again by the "
            "rule.",
        ),
        ViewColumn(
            "matched_count",
            DataType.INTEGER,
            "Events on which the rule decided: sent + alerted + suppressed; where rules share an exclusive_group, "
            "without events that an earlier rule of the group took.",
        ),
        ViewColumn("sent_count", DataType.INTEGER, "Matches that became a message to the user."),
        ViewColumn("alerted_count", DataType.INTEGER, "Matches that became an alert to our own people."),
        ViewColumn(
            "suppressed_count", DataType.INTEGER, "Matches that were refused; the sum of the five columns that follow."
        ),
        ViewColumn(
            "once_count", DataType.INTEGER, "Matches refused because the user already had the message (its mode)."
        ),
        ViewColumn("blocked_count", DataType.INTEGER, "Matches refused by a block; suppressions_by_reason names it."),
        ViewColumn("holdout_count", DataType.INTEGER, "Matches refused because the user is in the holdout."),
        ViewColumn("limited_count", DataType.INTEGER, "Matches refused by a limit; suppressions_by_reason names it."),
        ViewColumn("expired_count", DataType.INTEGER, "Matches refused because it was too late for the message."),
        ViewColumn("waiting_count", DataType.INTEGER, "Events for which the rule still waits; see waiting_messages."),
        ViewColumn(
            "unmatched_count",
            DataType.INTEGER,
            "Events for which the rule had waited, and whose conditions then did not hold; rules without wait are "
            "not counted.",
        ),
        ViewColumn(
            "lapsed_count",
            DataType.INTEGER,
            "Events for which the rule had waited, but which no rule decided: it was gone, off, without wait, or had "
            "another trigger.",
        ),
    ),
    reads=(
        "events",
        "loads",
        "held_events",
        "runs",
        "ruleset_rules",
        "send_requests",
        "suppressions",
        "waiting_matches",
        "ended_waits",
        "event_dates",
    ),
    select="""\
SELECT
    day.event_date,
    coalesce(rule.rule_name, send.rule_name, suppression.rule_name, waiting.rule_name, ended.rule_name) AS rule_name,
    CAST(count(rule.rule_name) AS INTEGER) AS triggered_count,
    CAST(count(send.id) + count(suppression.id) AS INTEGER) AS matched_count,
    CAST(count(send.id) FILTER (WHERE send.channel <> 'internal') AS INTEGER) AS sent_count,
    CAST(count(send.id) FILTER (WHERE send.channel = 'internal') AS INTEGER) AS alerted_count,
    CAST(count(suppression.id) AS INTEGER) AS suppressed_count,
    CAST(count(suppression.id) FILTER (
        WHERE suppression.suppression_reason NOT IN ('holdout', 'expired')
        AND suppression.suppression_reason NOT LIKE 'blocked:%'
        AND suppression.suppression_reason NOT LIKE 'limit:%'
    ) AS INTEGER) AS once_count,
    CAST(count(suppression.id) FILTER (WHERE suppression.suppression_reason LIKE 'blocked:%') AS INTEGER)
        AS blocked_count,
    CAST(count(suppression.id) FILTER (WHERE suppression.suppression_reason = 'holdout') AS INTEGER) AS holdout_count,
    CAST(count(suppression.id) FILTER (WHERE suppression.suppression_reason LIKE 'limit:%') AS INTEGER)
        AS limited_count,
    CAST(count(suppression.id) FILTER (WHERE suppression.suppression_reason = 'expired') AS INTEGER) AS expired_count,
    CAST(count(waiting.rule_name) AS INTEGER) AS waiting_count,
    CAST(count(ended.rule_name) FILTER (WHERE ended.outcome = 'no match') AS INTEGER) AS unmatched_count,
    CAST(count(ended.rule_name) FILTER (WHERE ended.outcome = 'lapsed') AS INTEGER) AS lapsed_count
FROM event_dates AS day
CROSS JOIN (
    SELECT 'events' AS name
    UNION ALL SELECT 'sends'
    UNION ALL SELECT 'suppressions'
    UNION ALL SELECT 'waits'
    UNION ALL SELECT 'ended waits'
) AS source
LEFT JOIN events AS event
    ON event.event_timestamp
        >= CASE WHEN source.name IN ('events', 'waits', 'ended waits') THEN day.event_date || ' 00:00:00.000000' END
    AND event.event_timestamp <= day.event_date || ' 23:59:59.999999'
LEFT JOIN loads AS load ON load.id = CASE source.name WHEN 'events' THEN event.load_id END
LEFT JOIN held_events AS held ON held.event_id = CASE source.name WHEN 'events' THEN event.id END
LEFT JOIN runs AS run ON run.id = held.run_id
LEFT JOIN ruleset_rules AS rule
    ON rule.ruleset_id = CASE WHEN held.event_id IS NULL THEN load.ruleset_id ELSE run.ruleset_id END
    AND rule.trigger_event_type = event.event_type AND rule.is_enabled
LEFT JOIN waiting_matches AS waiting ON waiting.event_id = CASE source.name WHEN 'waits' THEN event.id END
LEFT JOIN ended_waits AS ended
    ON ended.event_id = CASE source.name WHEN 'ended waits' THEN event.id END AND ended.outcome <> 'decided'
LEFT JOIN send_requests AS send
    ON send.event_timestamp >= CASE source.name WHEN 'sends' THEN day.event_date || ' 00:00:00.000000' END
    AND send.event_timestamp <= day.event_date || ' 23:59:59.999999'
LEFT JOIN suppressions AS suppression
    ON suppression.event_timestamp
        >= CASE source.name WHEN 'suppressions' THEN day.event_date || ' 00:00:00.000000' END
    AND suppression.event_timestamp <= day.event_date || ' 23:59:59.999999'
WHERE coalesce(rule.rule_name, send.rule_name, suppression.rule_name, waiting.rule_name, ended.rule_name) IS NOT NULL
GROUP BY
    day.event_date,
    coalesce(rule.rule_name, send.rule_name, suppression.rule_name, waiting.rule_name, ended.rule_name)
""",
)
