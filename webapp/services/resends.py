"""Sending deliveries of webhooks once more: the rows become pending, each gets a job."""

from collections.abc import Sequence

from webapp.db import db
from webapp.models.record import change_rows, live
from webapp.models.webhooks import Webhook, WebhookDelivery
from webapp.policies import Actor
from webapp.services.events import queue_sends

BATCH = 500  # rows of one statement


def send_again(actor: Actor, webhook: Webhook, ids: Sequence[int]) -> None:
    """Queue these deliveries of the webhook. Must run inside a transaction."""
    mine = WebhookDelivery.id.in_(ids)
    db.session.execute(change_rows(WebhookDelivery, mine, state="pending", delivered_at=None))
    columns = (WebhookDelivery.id, WebhookDelivery.uuid, WebhookDelivery.event)
    rows = db.session.execute(live(WebhookDelivery, *columns).where(mine).order_by(WebhookDelivery.id))
    queue_sends(actor, [(row.id, row.uuid, f"{row.event} → {webhook.name}", webhook.id) for row in rows])
