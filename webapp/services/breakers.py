"""The breaker of each webhook: while its receiver fails, one delivery at a time finds out whether it is back.

The others wait in their lane and lose no attempt. turns.py leaves a shut lane alone; here a try is claimed and counted.
"""

import random
from datetime import timedelta
from typing import Any
from uuid import UUID

from webapp.db import db, transaction, transactional
from webapp.errors import Conflict
from webapp.infra.clock import now
from webapp.infra.courier import Answer
from webapp.infra.wakeups import wake_relay
from webapp.models.webhooks import failure_noted, shut_until, success_noted, tried_at, try_claimed
from webapp.policies import Actor, require
from webapp.services.jobs import SKEW, NotNow
from webapp.services.turns import bring_one_forward
from webapp.services.webhooks import WebhookHealthView, find_webhook, show_health

STRIKES = 5  # tries that failed in a row, of all deliveries together, shut the lane
SHORTEST, LONGEST = 30.0, 3600.0  # seconds until the next try, doubled each time, ± 20 %
CLAIM = timedelta(seconds=120)  # longer than an attempt may take: a worker that dies in one delays the next so long


def begin_try(what: Any) -> bool:
    """Whether this attempt is the one that finds out; False while all is well. Raises NotNow where it has to wait."""
    if what.paused_at is not None:
        raise NotNow("The webhook is paused.")
    if what.next_try_at is None:
        return False
    moment = now()
    with transaction():
        if not db.session.execute(try_claimed(what.webhook, moment + SKEW, moment + CLAIM)).all():
            raise NotNow("The receiver fails; another delivery finds out whether it is back.")
    return True


def note_success(webhook_id: int) -> None:
    """The receiver works, and what waits may flow. Must run inside a transaction."""
    db.session.execute(success_noted(webhook_id, now()))
    wake_relay()


def note_test(webhook_id: int) -> None:
    """A test arrived, so a delivery may find out at once. Must run inside a transaction."""
    db.session.execute(tried_at(webhook_id, now()))
    wake_relay()


def note_failure(webhook_id: int, answer: Answer, asked: float, given_up: bool, probe: bool) -> Any:
    """Count it, and shut the lane where it was one too many. Returns failures and failing_since. Must run inside a
    transaction. `asked` is Retry-After; `probe` is what begin_try said.

    Attempts that were under way when the lane was shut do not count, nor do refusals (4xx) of a receiver that works.
    """
    moment = now()
    noted = db.session.execute(failure_noted(webhook_id, moment, given_up, strike=is_down(answer), probe=probe)).one()
    if noted.failed_tries >= STRIKES and (probe or noted.next_try_at is None):
        later = moment + timedelta(seconds=pause_after(noted.failed_tries, asked))
        db.session.execute(shut_until(webhook_id, later))
    return noted


def is_down(answer: Answer) -> bool:
    """Whether the receiver itself fails: no answer, too slow, 5xx, too busy."""
    return answer.status is None or answer.status >= 500 or answer.status in {408, 429}


def pause_after(tries: int, asked: float = 0.0) -> float:
    """Seconds from the last of so many failed tries to the next; what the receiver asked for, up to an hour, counts."""
    grown = min(LONGEST, SHORTEST * 2.0 ** min(tries - STRIKES, 20))
    return max(grown * random.uniform(0.8, 1.2), min(asked, LONGEST))  # noqa: S311


def try_webhook(actor: Actor, webhook_id: UUID) -> WebhookHealthView:
    """Send now the delivery that is due next, though the receiver failed. Raises Missing, Conflict where it is paused
    or owed nothing."""
    _hurry(actor, webhook_id)
    return show_health(actor, webhook_id)


@transactional
def _hurry(actor: Actor, webhook_id: UUID) -> None:
    require(actor, "webhooks.write")
    webhook = find_webhook(webhook_id)
    if webhook.paused_at is not None:
        raise Conflict("This webhook is paused. Resume it first.", code="paused")
    if not bring_one_forward("webhooks", webhook.id):
        raise Conflict("Nothing waits for this receiver. Send a test instead.", code="nothing_waits")
    db.session.execute(tried_at(webhook.id, now()))
    wake_relay()
