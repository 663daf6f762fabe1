SELECT
    refused.rule_name,
    refused.stopped_by_kind,
    CASE refused.stopped_by_kind
        WHEN 'limit' THEN substr(refused.suppression_reason, 7)
        WHEN 'block' THEN substr(refused.suppression_reason, 9)
        WHEN 'rule' THEN blocking.rule_name
        ELSE refused.stopped_by_kind
    END AS stopped_by_name,
    blocking.rule_name AS blocking_rule_name,
    CAST(count(*) AS INTEGER) AS suppression_count,
    CAST(count(DISTINCT refused.user_id) AS INTEGER) AS user_count
FROM (
    SELECT
        rule_name,
        user_id,
        suppression_reason,
        blocked_by_send_request_id,
        CASE
            WHEN suppression_reason LIKE 'limit:%' THEN 'limit'
            WHEN suppression_reason LIKE 'blocked:%' THEN 'block'
            WHEN suppression_reason IN ('holdout', 'expired') THEN suppression_reason
            ELSE 'rule'
        END AS stopped_by_kind
    FROM suppressions
) AS refused
LEFT JOIN send_requests AS blocking ON blocking.id = refused.blocked_by_send_request_id
GROUP BY
    refused.rule_name,
    refused.stopped_by_kind,
    stopped_by_name,
    blocking.rule_name
