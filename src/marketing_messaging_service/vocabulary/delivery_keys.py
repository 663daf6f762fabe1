"""The keys of a raw event that describe its delivery, and not the event."""

DELIVERY_KEYS = ("sent_at", "sentAt", "received_at", "receivedAt", "retry", "retries")
"""Keys at the top of a raw event that a producer rewrites with each attempt to deliver it.

They are no content: an event without a message_id is the same event whatever they say. None may ever be taken away, and
one that is added changes the id of the events that carry it; such an event is still known by its id of before when the
same line is delivered again.
"""
