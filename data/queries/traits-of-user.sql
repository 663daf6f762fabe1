-- title: What do we know about this user by now?
-- sentence: The latest known value of each trait; a later event without a value leaves it as it was.
-- parameter user_id: the user, such as ada, exactly as the producer writes it
SELECT user_id, email, country, marketing_opt_in, risk_segment, last_event_timestamp, NULL AS remark
FROM latest_user_traits
WHERE user_id = :user_id
UNION ALL
SELECT
    :user_id, NULL, NULL, NULL, NULL, NULL,
    CASE
        WHEN EXISTS (SELECT 1 FROM events WHERE user_id = :user_id) THEN 'No event of this user says any trait.'
        ELSE 'No event of a user with this id has arrived: ids are compared exactly.'
    END
WHERE :user_id <> '' AND NOT EXISTS (SELECT 1 FROM latest_user_traits WHERE user_id = :user_id);
