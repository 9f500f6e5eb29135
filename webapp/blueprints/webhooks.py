"""Webhooks for administrators: pages under /admin/webhooks and the same for programs."""

from uuid import UUID

from flask import Blueprint, flash, redirect, render_template, url_for
from flask_babel import gettext as _
from flask_babel import ngettext
from werkzeug.wrappers import Response

from webapp.errors import Conflict, Invalid, Stale
from webapp.http.answers import Created, created, gives
from webapp.http.conditional import expected_version
from webapp.http.guard import current_actor, guard
from webapp.http.hookrows import ask_again, delivery_page, form_page, hook_page, hook_rows, merge_hook, secret_page
from webapp.http.inputs import read_form, read_query, takes
from webapp.http.limiting import limited
from webapp.http.merges import Answer
from webapp.services import breakers, deliveries, webhooks
from webapp.services.cursors import Page
from webapp.services.deliveries import DeliveryCard, DeliveryFilter, DeliveryView, Replayed, ReplayWish, Which
from webapp.services.webhooks import (
    NewSecretView,
    NewWebhook,
    WebhookChange,
    WebhookFilter,
    WebhookForm,
    WebhookHealthView,
    WebhookLine,
    WebhookView,
)

pages = Blueprint("webhooks_pages", __name__)
api = Blueprint("webhooks_api", __name__)


@api.get("/webhooks")
@guard("webhooks.read")
@takes(query=WebhookFilter)
@gives(Page[WebhookLine])
def list_webhooks(query: WebhookFilter) -> Page[WebhookLine]:
    """All webhooks with how their receivers do, newest first."""
    return webhooks.list_webhooks(current_actor(), query)


@api.post("/webhooks")
@guard("webhooks.write")
@takes(NewWebhook)
@gives(NewSecretView, status=201, errors=(409,))
def create_webhook(wish: NewWebhook) -> Created:
    """Make a webhook. Only this answer holds its secret."""
    made = webhooks.create_webhook(current_actor(), wish)
    return created(made, url_for("webhooks_api.show_webhook", webhook_id=made.id))


@api.get("/webhooks/<uuid:webhook_id>")
@guard("webhooks.read")
@gives(WebhookView, errors=(404,))
def show_webhook(webhook_id: UUID) -> WebhookView:
    """One webhook."""
    return webhooks.show_webhook(current_actor(), webhook_id)


@api.get("/webhooks/<uuid:webhook_id>/health")
@guard("webhooks.read")
@gives(WebhookHealthView, errors=(404,))
def show_health(webhook_id: UUID) -> WebhookHealthView:
    """How the receiver does: last success and failure, failures in a row."""
    return webhooks.show_health(current_actor(), webhook_id)


@api.patch("/webhooks/<uuid:webhook_id>")
@guard("webhooks.write")
@takes(WebhookChange)
@gives(WebhookView, errors=(404, 409, 412))
def change_webhook(wish: WebhookChange, webhook_id: UUID) -> WebhookView:
    """Change, pause or resume a webhook; resuming sends what waited."""
    return webhooks.change_webhook(current_actor(), webhook_id, wish, expected_version())


@api.delete("/webhooks/<uuid:webhook_id>")
@guard("webhooks.write")
@gives(None, status=204, errors=(404, 409, 412))
def delete_webhook(webhook_id: UUID) -> None:
    """Remove a webhook; what it is still owed is not sent."""
    webhooks.delete_webhook(current_actor(), webhook_id, expected_version())


@api.post("/webhooks/<uuid:webhook_id>/secrets")
@guard("webhooks.write", fresh=True)
@gives(NewSecretView, status=201, errors=(400, 404, 409))
def rotate_secret(webhook_id: UUID) -> Created:
    """A new secret, in this answer only. The present one goes on signing for 24 hours, beside it."""
    made = webhooks.rotate_secret(current_actor(), webhook_id)
    return created(made, url_for("webhooks_api.show_webhook", webhook_id=webhook_id))


@api.get("/webhooks/<uuid:webhook_id>/deliveries")
@guard("webhooks.read")
@takes(query=DeliveryFilter)
@gives(Page[DeliveryView], errors=(404,))
def list_deliveries(query: DeliveryFilter, webhook_id: UUID) -> Page[DeliveryView]:
    """What the webhook was sent and is owed, newest first."""
    return deliveries.list_deliveries(current_actor(), webhook_id, query)


@api.get("/webhooks/<uuid:webhook_id>/deliveries/<uuid:delivery_id>")
@guard("webhooks.read")
@gives(DeliveryCard, errors=(404,))
def show_delivery(webhook_id: UUID, delivery_id: UUID) -> DeliveryCard:
    """One delivery with its body and every attempt."""
    return deliveries.show_delivery(current_actor(), webhook_id, delivery_id)


@api.post("/webhooks/<uuid:webhook_id>/deliveries/<uuid:delivery_id>/replays")
@guard("webhooks.write")
@limited("sendings")
@gives(DeliveryView, errors=(400, 404, 409), keyed=True)
def replay_delivery(webhook_id: UUID, delivery_id: UUID) -> DeliveryView:
    """Send one delivery again, under the same webhook-id."""
    return deliveries.replay_delivery(current_actor(), webhook_id, delivery_id)


@api.post("/webhooks/<uuid:webhook_id>/replays")
@guard("webhooks.write")
@limited("sendings")
@takes(ReplayWish)
@gives(Replayed, errors=(400, 404, 409), keyed=True)
def replay_deliveries(wish: ReplayWish, webhook_id: UUID) -> Replayed:
    """Send all deliveries again that match the filter, at most 500 at once."""
    return deliveries.replay_deliveries(current_actor(), webhook_id, wish)


@api.post("/webhooks/<uuid:webhook_id>/tries")
@guard("webhooks.write")
@limited("sendings")
@gives(WebhookHealthView, errors=(404, 409))
def try_webhook(webhook_id: UUID) -> WebhookHealthView:
    """Send the delivery that is due next now, to find out whether a failing receiver is back."""
    return breakers.try_webhook(current_actor(), webhook_id)


@api.post("/webhooks/<uuid:webhook_id>/tests")
@guard("webhooks.write")
@limited("sendings")
@gives(DeliveryView, status=201, errors=(400, 404, 409))
def ping_webhook(webhook_id: UUID) -> Created:
    """Send an event named ping, once, also while the webhook is paused."""
    made = deliveries.ping_webhook(current_actor(), webhook_id)
    return created(made, url_for("webhooks_api.show_delivery", webhook_id=webhook_id, delivery_id=made.id))


@pages.get("/admin/webhooks", endpoint="list_webhooks")
@guard("webhooks.read")
def list_webhooks_page() -> str:
    """The list."""
    page = webhooks.list_webhooks(current_actor(), read_query(WebhookFilter))
    return render_template("webhooks/index.html", **hook_rows(page))


@pages.get("/admin/webhooks/new")
@guard("webhooks.write")
def webhook_form() -> str:
    """The form for a new one."""
    return form_page()


@pages.post("/admin/webhooks", endpoint="create_webhook")
@guard("webhooks.write")
def create_webhook_page() -> Answer:
    """Make it and show its secret, this once; a refused address comes back in the form."""
    try:
        made = webhooks.create_webhook(current_actor(), read_form(WebhookForm))
    except (Invalid, Conflict) as error:
        return form_page(error=error), error.status
    return secret_page(made, fresh=True)


@pages.get("/admin/webhooks/<uuid:webhook_id>", endpoint="show_webhook")
@guard("webhooks.read")
def show_webhook_page(webhook_id: UUID) -> str:
    """One webhook: its state, what it was sent, what can be done."""
    query = read_query(DeliveryFilter)
    actor = current_actor()
    return hook_page(
        webhooks.show_webhook(actor, webhook_id),
        webhooks.show_health(actor, webhook_id),
        deliveries.list_deliveries(actor, webhook_id, query),
        query.state,
    )


@pages.get("/admin/webhooks/<uuid:webhook_id>/settings")
@guard("webhooks.write")
def change_webhook_form(webhook_id: UUID) -> str:
    """The form that changes it."""
    return form_page(webhooks.show_webhook(current_actor(), webhook_id))


@pages.post("/admin/webhooks/<uuid:webhook_id>/settings", endpoint="change_webhook")
@guard("webhooks.write")
def change_webhook_page(webhook_id: UUID) -> Answer:
    """Save it; where it was saved from elsewhere meanwhile, the person chooses."""
    actor = current_actor()
    try:
        whole = read_form(WebhookForm)
        wish = WebhookChange(name=whole.name, url=whole.url, events=whole.events)
        webhooks.change_webhook(actor, webhook_id, wish, expected_version())
    except Stale:
        return merge_hook(webhooks.show_webhook(actor, webhook_id))
    except Invalid as error:
        return form_page(webhooks.show_webhook(actor, webhook_id), error), error.status
    flash(_("Saved."), "success")
    return redirect(url_for(".show_webhook", webhook_id=webhook_id))


@pages.post("/admin/webhooks/<uuid:webhook_id>/pause")
@guard("webhooks.write")
def pause_webhook(webhook_id: UUID) -> Answer:
    """Send nothing more until it is resumed."""
    return _switch(webhook_id, enabled=False)


@pages.post("/admin/webhooks/<uuid:webhook_id>/resumption")
@guard("webhooks.write")
def resume_webhook(webhook_id: UUID) -> Answer:
    """Send again, also what waited."""
    return _switch(webhook_id, enabled=True)


def _switch(webhook_id: UUID, *, enabled: bool) -> Answer:
    actor = current_actor()
    try:
        webhooks.change_webhook(actor, webhook_id, WebhookChange(enabled=enabled), expected_version())
    except Stale:
        endpoint, deed = ("resume_webhook", _("Resume")) if enabled else ("pause_webhook", _("Pause"))
        return ask_again(webhooks.show_webhook(actor, webhook_id), endpoint, deed)
    done = _("The webhook sends again, and what waited is on its way.") if enabled else _("The webhook is paused.")
    flash(done, "success")
    return redirect(url_for(".show_webhook", webhook_id=webhook_id))


@pages.post("/admin/webhooks/<uuid:webhook_id>/removal", endpoint="delete_webhook")
@guard("webhooks.write")
def delete_webhook_page(webhook_id: UUID) -> Answer:
    """Remove it; what was changed meanwhile is asked about once more."""
    actor = current_actor()
    try:
        webhooks.delete_webhook(actor, webhook_id, expected_version())
    except Stale:
        return ask_again(webhooks.show_webhook(actor, webhook_id), "delete_webhook", _("Remove webhook"), danger=True)
    flash(_("The webhook is gone."), "success")
    return redirect(url_for(".list_webhooks"))


@pages.post("/admin/webhooks/<uuid:webhook_id>/secrets", endpoint="rotate_secret")
@guard("webhooks.write", fresh=True)
def rotate_secret_page(webhook_id: UUID) -> Response:
    """A new secret, shown this once."""
    return secret_page(webhooks.rotate_secret(current_actor(), webhook_id), fresh=False)


@pages.post("/admin/webhooks/<uuid:webhook_id>/tests", endpoint="ping_webhook")
@guard("webhooks.write")
@limited("sendings")
def ping_webhook_page(webhook_id: UUID) -> Response:
    """Send a ping and show what comes of it."""
    made = deliveries.ping_webhook(current_actor(), webhook_id)
    return redirect(url_for(".show_delivery", webhook_id=webhook_id, delivery_id=made.id))


@pages.post("/admin/webhooks/<uuid:webhook_id>/tries", endpoint="try_webhook")
@guard("webhooks.write")
@limited("sendings")
def try_webhook_page(webhook_id: UUID) -> Response:
    """Try now whether its receiver is back."""
    try:
        breakers.try_webhook(current_actor(), webhook_id)
        flash(_("The oldest delivery that waits is tried now."), "success")
    except Conflict as error:
        flash(_(error.detail), "error")
    return redirect(url_for(".show_webhook", webhook_id=webhook_id))


@pages.get("/admin/webhooks/<uuid:webhook_id>/deliveries/<uuid:delivery_id>", endpoint="show_delivery")
@guard("webhooks.read")
def show_delivery_page(webhook_id: UUID, delivery_id: UUID) -> str:
    """One delivery: each request and its answer."""
    actor = current_actor()
    hook = webhooks.show_webhook(actor, webhook_id)
    return delivery_page(hook, deliveries.show_delivery(actor, webhook_id, delivery_id))


@pages.post("/admin/webhooks/<uuid:webhook_id>/deliveries/<uuid:delivery_id>/replays", endpoint="replay_delivery")
@guard("webhooks.write")
@limited("sendings")
def replay_delivery_page(webhook_id: UUID, delivery_id: UUID) -> Response:
    """Send it again, unless it is on its way."""
    try:
        deliveries.replay_delivery(current_actor(), webhook_id, delivery_id)
        flash(_("It is sent again."), "success")
    except Conflict as error:
        flash(_(error.detail), "error")
    return redirect(url_for(".show_delivery", webhook_id=webhook_id, delivery_id=delivery_id))


@pages.post("/admin/webhooks/<uuid:webhook_id>/replays", endpoint="replay_deliveries")
@guard("webhooks.write")
@limited("sendings")
def replay_deliveries_page(webhook_id: UUID) -> Response:
    """Send all again that are in the chosen state."""
    try:
        done = deliveries.replay_deliveries(current_actor(), webhook_id, ReplayWish(filter=read_form(Which)))
        text = ngettext("%(num)d delivery is sent again.", "%(num)d deliveries are sent again.", done.queued)
        flash(f"{text} {_('There are more: repeat it.')}" if done.more else text, "success")
    except Conflict as error:
        flash(_(error.detail), "error")
    return redirect(url_for(".show_webhook", webhook_id=webhook_id))
