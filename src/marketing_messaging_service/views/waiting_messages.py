"""Which matches wait for their decision time, and for what."""

from src.marketing_messaging_service.models import Event, WaitingMatch
from src.marketing_messaging_service.views.view import View, ViewColumn, passed_on
from src.marketing_messaging_service.vocabulary import DataType

WAITING_MESSAGES = View(
    name="waiting_messages",
    sentence="One row per message that may go out when the wait of its rule is over: event, user, rule, when it is "
    "decided, and what it waits for.",
    columns=(
        passed_on(WaitingMatch.event_id),
        passed_on(Event.user_id),
        passed_on(Event.event_type),
        passed_on(Event.event_timestamp),
        passed_on(WaitingMatch.rule_name),
        ViewColumn(
            "template_name",
            DataType.TEXT,
            "The message, by the rules that decided last; null if none of them would decide it.",
        ),
        ViewColumn(
            "channel",
            DataType.TEXT,
            "The way it would go out, by the rules that decided last; null if none of them would decide it.",
        ),
        passed_on(WaitingMatch.decide_at),
        ViewColumn(
            "waits_for",
            DataType.TEXT,
            "`its time` (decide_at has not come), `the data` (it has come, but no event that late was loaded: "
            "wait_for_data), `the next run`, or `nothing` (none of the rules that decided last would decide it; it "
            "will lapse).",
        ),
    ),
    reads=("waiting_matches", "events", "batches", "runs", "ruleset_rules", "rulesets"),
    select="""\
SELECT
    waiting.event_id,
    event.user_id,
    event.event_type,
    event.event_timestamp,
    waiting.rule_name,
    rule.template_name,
    rule.channel,
    waiting.decide_at,
    CASE
        WHEN rule.rule_name IS NULL THEN 'nothing'
        WHEN reached.as_of IS NULL OR waiting.decide_at >= reached.as_of THEN 'its time'
        WHEN ruleset.yaml_text LIKE '%wait_for_data%' THEN 'the data'
        ELSE 'the next run'
    END AS waits_for
FROM waiting_matches AS waiting
CROSS JOIN events AS event ON event.id = waiting.event_id
CROSS JOIN (SELECT max(batch.id) AS batch_id FROM batches AS batch) AS newest
CROSS JOIN (
    SELECT max(run.as_of) AS as_of FROM runs AS run WHERE run.state = 'completed' AND run.mode = 'load and decide'
) AS reached
LEFT JOIN batches AS last ON last.id = newest.batch_id
LEFT JOIN rulesets AS ruleset ON ruleset.id = last.ruleset_id
LEFT JOIN ruleset_rules AS rule
    ON rule.ruleset_id = last.ruleset_id
    AND rule.rule_name = waiting.rule_name
    AND rule.trigger_event_type = event.event_type
    AND rule.is_enabled
    AND rule.wait_hours IS NOT NULL
""",
)
