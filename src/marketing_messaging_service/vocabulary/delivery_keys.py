"""The keys of a raw event that describe its delivery, and not the event."""

DELIVERY_KEYS = ("sent_at", "sentAt", "received_at", "receivedAt", "retry", "retries")
"""Keys at the top of a raw event that a producer rewrites with each attempt to deliver it.

They are not content: an event without a message_id is the same event whatever they say. None may ever be removed, and
adding one changes the id of the events that have it; such an event is still recognised by its former id when the same
line is delivered again.
"""
