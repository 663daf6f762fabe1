"""The usual way of a service: the ORM, one event after the other, a commit for each."""

import json
from collections.abc import Iterator
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

from sqlalchemy import create_engine, exists, select
from sqlalchemy.orm import Session

from src.marketing_messaging_service.models import Event, EventProperties, SendRequest, Suppression, UserTraits

ALERT = ("high_risk_alert", "HIGH_RISK_ALERT", "internal")
DAILY = ("insufficient_funds_email", "INSUFFICIENT_FUNDS_EMAIL", "email")
NUDGE = ("bank_link_nudge", "BANK_LINK_NUDGE_SMS", "sms")
WELCOME = ("welcome_email", "WELCOME_EMAIL", "email")

Message = tuple[str, str, str]
"""A rule, its template and its channel."""


def commit_each(raw_file: Path, database: Path) -> None:
    """Look for the event, add it, ask what the rules ask, add the decision, commit; and so for every event."""
    engine = create_engine(f"sqlite:///{database}")
    with Session(engine) as session:
        for event in _events(raw_file):
            if session.scalar(select(exists().where(Event.message_id == event.message_id))):
                continue
            session.add(event)
            session.flush()
            _decide(session, event)
            session.commit()
    engine.dispose()


def _events(raw_file: Path) -> Iterator[Event]:
    with raw_file.open("rb") as lines:
        for line in lines:
            raw: dict[str, Any] = json.loads(line)
            properties = raw.get("properties", {})
            properties.pop("coupon", None)
            yield Event(
                message_id=raw["message_id"],
                user_id=raw["user_id"],
                event_type=raw["event_type"],
                event_timestamp=datetime.fromisoformat(raw["event_timestamp"]),
                properties=EventProperties(**properties) if properties else None,
                user_traits=UserTraits(**raw["user_traits"]) if "user_traits" in raw else None,
            )


def _decide(session: Session, event: Event) -> None:
    """The four rules of data/rules.yaml, as one would write them by hand."""
    properties, traits = event.properties, event.user_traits
    if event.event_type == "signup_completed" and traits and traits.marketing_opt_in:
        _send_or_suppress(session, event, WELCOME, "once_ever")
    if event.event_type == "link_bank_success" and _signed_up_within_a_day(session, event):
        _send_or_suppress(session, event, NUDGE, "once_ever")
    if event.event_type == "payment_failed" and properties:
        if properties.failure_reason == "INSUFFICIENT_FUNDS":
            _send_or_suppress(session, event, DAILY, "once_per_calendar_day")
        if (properties.attempt_number or 0) >= 3:
            _send(session, event, ALERT, f"event:{event.id}:{ALERT[0]}")


def _signed_up_within_a_day(session: Session, event: Event) -> bool:
    signed_up = exists().where(
        Event.user_id == event.user_id,
        Event.event_type == "signup_completed",
        Event.event_timestamp.between(event.event_timestamp - timedelta(hours=24), event.event_timestamp),
    )
    return bool(session.scalar(select(signed_up)))


def _send_or_suppress(session: Session, event: Event, message: Message, mode: str) -> None:
    rule, template, _ = message
    key = "ever" if mode == "once_ever" else f"day:{event.event_timestamp:%Y-%m-%d}"
    sent_before = session.scalar(
        select(SendRequest).where(
            SendRequest.user_id == event.user_id,
            SendRequest.template_name == template,
            SendRequest.dedupe_key == key,
        )
    )
    if sent_before is None:
        _send(session, event, message, key)
        return
    session.add(
        Suppression(
            user_id=event.user_id,
            event=event,
            template_name=template,
            suppression_reason=mode,
            rule_name=rule,
            event_timestamp=event.event_timestamp,
            blocked_by=sent_before,
        )
    )


def _send(session: Session, event: Event, message: Message, dedupe_key: str) -> None:
    rule, template, channel = message
    session.add(
        SendRequest(
            user_id=event.user_id,
            event=event,
            template_name=template,
            channel=channel,
            reason=f"rule:{rule}",
            rule_name=rule,
            event_timestamp=event.event_timestamp,
            dedupe_key=dedupe_key,
        )
    )
