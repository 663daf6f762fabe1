-- title: What do we know of this user by now?
-- sentence: The latest known value of each trait; a later event that does not say a value leaves it as it was.
-- parameter user_id: the user, such as ada
SELECT user_id, email, country, marketing_opt_in, risk_segment, last_event_timestamp
FROM latest_user_traits
WHERE user_id = :user_id;
