"""Sending one delivery of a webhook: sign, send, judge the answer, write it down, try again later or give up.

At least once, always with the same webhook-id: a crash between sending and writing down sends it again.
"""

import random
from datetime import datetime, timedelta
from email.utils import parsedate_to_datetime
from typing import Any
from uuid import UUID

from sqlalchemy import bindparam, insert

from webapp.config import current_settings
from webapp.db import db, read_row, transaction
from webapp.infra import courier
from webapp.infra.clock import now
from webapp.infra.courier import Answer
from webapp.infra.ids import next_id
from webapp.infra.signing import signed_headers
from webapp.models.record import change_rows, live
from webapp.models.users import User
from webapp.models.webhooks import Webhook, WebhookAttempt, WebhookDelivery, WebhookHealth, live_webhook
from webapp.policies import system_actor
from webapp.services.breakers import begin_try, note_failure, note_success, note_test
from webapp.services.deliveries import PING, message_id
from webapp.services.jobs import Hopeless, Postponed, StartedJob
from webapp.services.mails import Recipient, send_mail
from webapp.services.webhooks import pause

# Seconds between two attempts, ± 20 %; ten attempts in the 24 hours that a receiver may be away.
DELAYS = (5, 60, 300, 1800, 3600, 7200, 14400, 21600, 32400)
GIVE_UP = timedelta(hours=24)  # of failure without a success pause the webhook
MOST_FAILURES = 3  # deliveries given up in a row do, too
_WHAT = (
    live(WebhookDelivery, WebhookDelivery.id, WebhookDelivery.event_uuid, WebhookDelivery.event,
         WebhookDelivery.payload, WebhookDelivery.state, WebhookDelivery.created_at, Webhook.id.label("webhook"),
         Webhook.uuid.label("webhook_uuid"), Webhook.url, Webhook.secret, Webhook.former_secret, Webhook.former_until,
         Webhook.paused_at, WebhookHealth.next_try_at)
    .join(Webhook, Webhook.id == WebhookDelivery.webhook_id)
    .join(WebhookHealth, WebhookHealth.webhook_id == Webhook.id)
    .where(WebhookDelivery.id == bindparam("delivery"), Webhook.deleted_at.is_(None))
)  # fmt: skip


def deliver(started: StartedJob) -> dict[str, Any]:
    """One attempt. Raises Postponed to try again, Hopeless when it is given up; both are written down already. Raises
    NotNow while the webhook is paused or another delivery finds out whether the receiver is back."""
    what = read_row(_WHAT, {"delivery": started.args["delivery"]})
    if what is None or what.state == "delivered":
        return {"skipped": "removed" if what is None else what.state}
    probe = what.event != PING and begin_try(what)
    moment, body = now(), what.payload.encode()
    headers = {
        "Content-Type": "application/json",
        "User-Agent": "Holdfast-Webhooks/1",
        **signed_headers(message_id(what.event_uuid), moment, body, _secrets(what, moment)),
    }
    answer = courier.post(what.url, body, headers)
    return _judge(started, what, answer, moment, headers, probe=probe)


def _secrets(what: Any, moment: datetime) -> list[str]:
    both = what.former_secret and what.former_until and what.former_until > moment
    return [what.secret, what.former_secret] if both else [what.secret]


def _judge(
    started: StartedJob, what: Any, answer: Answer, moment: datetime, headers: dict[str, str], *, probe: bool
) -> dict[str, Any]:
    good = answer.status is not None and 200 <= answer.status < 300
    fault = None if good else fault_of(answer)
    later = 0.0 if good or answer.status == 410 or what.event == PING else next_delay(started, answer)
    with transaction():
        _write_attempt(what, answer, moment, headers, fault)
        state = "delivered" if good else "pending" if later else "failed"
        done = now() if good else None
        db.session.execute(change_rows(
            WebhookDelivery, WebhookDelivery.id == what.id, state=state, delivered_at=done,
            attempts=WebhookDelivery.attempts + 1,
        ))  # fmt: skip
        if what.event != PING:
            _note_health(what, answer, fault, given_up=not later, probe=probe)
        elif good:
            note_test(what.webhook)
    result = {"status": answer.status, "milliseconds": answer.duration}
    if fault is None:
        return result
    if later or (answer.status != 410 and what.event != PING):  # after the last attempt the job is dead, not failed
        raise Postponed(fault, later or 1, result)
    raise Hopeless(fault, result)


def fault_of(answer: Answer) -> str:
    """Why an answer is no success, in words."""
    if answer.status is None:
        return answer.error or "No answer."
    if 300 <= answer.status < 400:
        return f"Answered {answer.status}: redirects are not followed."
    return f"Answered {answer.status}."


def next_delay(started: StartedJob, answer: Answer) -> float:
    """Seconds until the next attempt, 0 when there is none left. A receiver may ask for more time by Retry-After, up
    to a day."""
    if started.attempts >= started.max_attempts:
        return 0.0
    delay = DELAYS[min(started.attempts, len(DELAYS)) - 1] * random.uniform(0.8, 1.2)  # noqa: S311
    asked = min(retry_after(answer.headers), GIVE_UP.total_seconds())
    return max(delay, asked, 1.0)


def retry_after(headers: dict[str, str]) -> float:
    """Seconds of a Retry-After header (RFC 9110, 10.2.3), 0 without one that can be read."""
    value = next((text for name, text in headers.items() if name.lower() == "retry-after"), "").strip()
    if value.isascii() and value.isdigit():
        return float(value[:9])
    try:
        return max(0.0, (parsedate_to_datetime(value) - now()).total_seconds())
    except (ValueError, TypeError, OverflowError):
        return 0.0


def _write_attempt(what: Any, answer: Answer, moment: datetime, headers: dict[str, str], fault: str | None) -> None:
    values = {"id": next_id(), "delivery_id": what.id, "created_at": moment, "url": what.url,
              "address": answer.address, "request_headers": headers, "status": answer.status,
              "answer_headers": _storable(answer.headers), "answer": answer.text, "duration": answer.duration,
              "error": (fault or "")[:500] or None}  # fmt: skip
    db.session.execute(insert(WebhookAttempt).values(values))


def _storable(headers: dict[str, str]) -> dict[str, str]:
    """What a stranger's headers may hold that no database column takes."""
    return {_clean(name): _clean(value) for name, value in headers.items()}


def _clean(text: str) -> str:
    return text.replace("\0", "�").encode("utf-8", "replace").decode()


def _note_health(what: Any, answer: Answer, fault: str | None, *, given_up: bool, probe: bool) -> None:
    if fault is None:
        note_success(what.webhook)
        return
    health = note_failure(what.webhook, answer, retry_after(answer.headers), given_up, probe)
    moment = now()
    if answer.status == 410:
        _pause(what.webhook_uuid, "gone", fault, moment)
    elif health.failures >= MOST_FAILURES or health.failing_since <= moment - GIVE_UP:
        _pause(what.webhook_uuid, "failing", fault, health.failing_since)


def _pause(webhook_uuid: UUID, reason: str, fault: str, since: datetime) -> None:
    """Pause it and tell its maker, once."""
    webhook = db.session.scalar(live_webhook(webhook_uuid).with_for_update())
    if webhook is None or webhook.paused_at is not None:
        return
    pause(system_actor(), webhook, reason)
    maker = db.session.scalar(live(User).where(User.id == webhook.owner_id, User.suspended_at.is_(None)))
    if maker is None:
        return
    page = f"{current_settings().origin}/admin/webhooks/{webhook.uuid}"
    send_mail(None, "webhook_paused", Recipient(maker.email, maker.name, maker.locale, maker.time_zone),
              {"name": webhook.name, "url": webhook.url, "reason": reason, "error": fault,
               "since": since.isoformat(), "page": page})  # fmt: skip
