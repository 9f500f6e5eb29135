"""How pages show webhooks: states and times in words, the events to choose from, requests and answers."""

import json
from collections.abc import Iterable
from typing import Any

from flask import Response, make_response, render_template, request, url_for
from flask_babel import gettext as _
from flask_babel import lazy_gettext as _l

from webapp.errors import Conflict, Invalid
from webapp.http.formats import ago, due, exact
from webapp.http.merges import Answer, choice, merge_page
from webapp.http.rows import form_of
from webapp.infra.clock import now
from webapp.services.cursors import Page
from webapp.services.deliveries import AttemptView, DeliveryCard, DeliveryView
from webapp.services.inputs import split_commas
from webapp.services.webhooks import NewSecretView, WebhookHealthView, WebhookLine, WebhookView

# What can be ticked: (kind, words, its events), all of HAPPENINGS.
EVENTS: tuple[tuple[str, Any, tuple[tuple[str, Any], ...]], ...] = (
    ("file", _l("Files"), (
        ("file.created", _l("Uploaded")), ("file.replaced", _l("New version")), ("file.renamed", _l("Renamed")),
        ("file.moved", _l("Moved")), ("file.described", _l("Described")), ("file.trashed", _l("Moved to trash")),
        ("file.restored", _l("Restored")), ("file.purged", _l("Removed for good")),
        ("file.damaged", _l("Found damaged")), ("file.infected", _l("Virus found")),
        ("file.cleared", _l("Virus no longer found")),
        ("file.version_named", _l("A version named")),
        ("file.version_deleted", _l("A version deleted")), ("file.versions_pruned", _l("Old versions removed")),
    )),
    ("folder", _l("Folders"), (
        ("folder.created", _l("Created")), ("folder.renamed", _l("Renamed")), ("folder.moved", _l("Moved")),
        ("folder.trashed", _l("Moved to trash")), ("folder.restored", _l("Restored")),
        ("folder.purged", _l("Removed for good")),
    )),
    ("tree", _l("Time travel"), (("tree.rewound", _l("Went back in time")),)),
    ("user", _l("Accounts"), (
        ("user.created", _l("Created")), ("user.changed", _l("Changed")), ("user.roles_changed", _l("Roles changed")),
        ("user.suspended", _l("Suspended")),
        ("user.restored", _l("Restored")), ("user.deleted", _l("Deleted")), ("user.erased", _l("Erased")),
        ("user.impersonated", _l("Somebody acts as them")),
        ("user.impersonation_ended", _l("Nobody acts as them any more")),
    )),
    ("registration", _l("Registrations"), (
        ("registration.asked", _l("Asked for")), ("registration.confirmed", _l("Confirmed")),
    )),
    ("invitation", _l("Invitations"), (
        ("invitation.created", _l("Sent")), ("invitation.sent_again", _l("Sent again")),
        ("invitation.accepted", _l("Accepted")), ("invitation.deleted", _l("Withdrawn")),
    )),
    ("email", _l("E-mail addresses"), (("email.change_asked", _l("Change asked for")),)),
    ("password", _l("Passwords"), (
        ("password.changed", _l("Changed")), ("password.refused", _l("Refused")),
        ("password.reset_asked", _l("Reset asked for")), ("password.reset_sent", _l("Reset sent")),
        ("password.reset", _l("Reset")),
    )),
    ("export", _l("Exports of one's data"), (("export.asked", _l("Asked for")),)),
    ("role", _l("Roles"), (
        ("role.created", _l("Created")), ("role.changed", _l("Changed")), ("role.deleted", _l("Removed")),
    )),
    ("grant", _l("Sharing with people and groups"), (
        ("grant.made", _l("Shared")), ("grant.changed", _l("Changed")), ("grant.removed", _l("No longer shared")),
    )),
    ("share", _l("Public links"), (
        ("share.created", _l("Made")), ("share.changed", _l("Changed")), ("share.revoked", _l("Revoked")),
        ("share.revived", _l("Revived")), ("share.deleted", _l("Removed")), ("share.opened", _l("Opened")),
        ("share.refused", _l("Refused")), ("share.downloaded", _l("Downloaded")), ("share.uploaded", _l("Uploaded")),
    )),
    ("group", _l("Groups"), (
        ("group.created", _l("Created")), ("group.changed", _l("Changed")), ("group.deleted", _l("Removed")),
        ("group.member_added", _l("Somebody added")), ("group.member_changed", _l("A member's part changed")),
        ("group.member_removed", _l("Somebody taken out")),
    )),
    ("identity", _l("Linked accounts"), (("identity.linked", _l("Linked")), ("identity.unlinked", _l("Unlinked")))),
    ("factor", _l("Second factors"), (
        ("factor.added", _l("Added")), ("factor.renamed", _l("Renamed")), ("factor.removed", _l("Removed")),
        ("factor.reset", _l("Reset by an administrator")), ("factor.refused", _l("Refused")),
        ("factor.codes_made", _l("Recovery codes made")), ("factor.code_used", _l("Recovery code used")),
    )),
    ("session", _l("Sign-ins"), (
        ("session.started", _l("Signed in")), ("session.ended", _l("Signed out")), ("session.refused", _l("Refused")),
        ("session.confirmed", _l("Confirmed")),
    )),
    ("token", _l("Personal tokens"), (
        ("token.created", _l("Made")), ("token.changed", _l("Changed")), ("token.revoked", _l("Revoked")),
        ("token.refused", _l("Refused")),
    )),
    ("job", _l("Jobs"), (("job.replayed", _l("Run again")), ("job.cancelled", _l("Cancelled")),
                       ("job.discarded", _l("Discarded")))),
    ("schedule", _l("Schedules"), (("schedule.changed", _l("Changed")), ("schedule.fired_by_hand", _l("Run by hand")))),
    ("webhook", _l("Webhooks"), (
        ("webhook.created", _l("Created")), ("webhook.changed", _l("Changed")), ("webhook.paused", _l("Paused")),
        ("webhook.resumed", _l("Resumed")), ("webhook.replayed", _l("Sent again")),
        ("webhook.secret_rotated", _l("New secret")), ("webhook.deleted", _l("Removed")),
    )),
    ("settings", _l("Settings"), (("settings.changed", _l("Changed")),)),
    ("flag", _l("Features"), (("flag.changed", _l("Changed")),)),
    ("mail", _l("Mail"), (("mail.tested", _l("Test sent")),)),
    ("audit", _l("Audit trail"), (
        ("audit.broken", _l("Found to be tampered with")), ("audit.exported", _l("Taken away")),
        ("audit.check_asked", _l("Check asked for")),
    )),
    ("cache", _l("Caches"), (("cache.emptied", _l("Emptied")),)),
    ("scan", _l("Virus scans"), (("scan.ordered", _l("Scan of all files asked for")),)),
    ("storage", _l("Stored files"), (
        ("storage.move_ordered", _l("Move to another store asked for")),
        ("storage.convert_ordered", _l("Encryption of all files asked for")),
        ("storage.scrub_ordered", _l("Check of all files asked for")),
    )),
    ("key", _l("Keys"), (("key.rotation_asked", _l("Re-encryption asked for")),)),
)  # fmt: skip
LISTED = (
    {"*"} | {f"{kind}.*" for kind, _words, _events in EVENTS} | {name for *_rest, all_ in EVENTS for name, _w in all_}
)
REASONS = {"manual": _l("Paused"), "gone": _l("Gone"), "failing": _l("Failing")}
STATES = {
    "pending": (_l("Waiting"), "info"),
    "delivered": (_l("Delivered"), "good"),
    "failed": (_l("Failed"), "bad"),
    "held": (_l("Held"), "warn"),
}


def hook_rows(page: Page[WebhookLine]) -> dict[str, Any]:
    """Variables of the list."""
    here = url_for("webhooks_pages.list_webhooks")
    return {
        "rows": [{**_hook(hook), **_health(hook, hook.health)} for hook in page.items],
        "next_url": f"{here}?cursor={page.next_cursor}" if page.next_cursor else None,
    }


def hook_page(hook: WebhookView, health: WebhookHealthView, page: Page[DeliveryView], state: str | None) -> str:
    """One webhook with its deliveries."""
    here = url_for("webhooks_pages.show_webhook", webhook_id=hook.id)
    base = f"{here}?state={state}&" if state else f"{here}?"
    return render_template(
        "webhooks/show.html",
        hook={**_hook(hook), **_health(hook, health)},
        rows=[_delivery(hook, each) for each in page.items],
        next_url=f"{base}cursor={page.next_cursor}" if page.next_cursor else None,
        states=[(_("All"), here, "plain", "", state is None)]
        + [(str(text), f"{here}?state={name}", tone, "", state == name) for name, (text, tone) in STATES.items()],
        state=state,
        live=any(each.state == "pending" for each in page.items),
    )


def delivery_page(hook: WebhookView, card: DeliveryCard) -> str:
    """One delivery."""
    return render_template(
        "webhooks/delivery.html",
        hook=_hook(hook),
        delivery=_delivery(hook, card),
        payload=json.dumps(json.loads(bytes(card.payload)), indent=2, ensure_ascii=False),
        attempts=[_attempt(each, card.attempts - number) for number, each in enumerate(card.attempt_log)],
        live=card.state == "pending",
    )


def form_page(hook: WebhookView | None = None, error: Invalid | Conflict | None = None) -> str:
    """The form for a new webhook or for one that is changed, with what was typed."""
    typed = request.method == "POST"
    chosen = split_commas(request.form.getlist("events")) if typed else hook.events if hook else ["file.*"]
    groups = [
        {"kind": f"{kind}.*", "words": str(words), "whole": f"{kind}.*" in chosen,
         "events": [(name, str(text), name in chosen) for name, text in events]}
        for kind, words, events in EVENTS
    ]  # fmt: skip
    return render_template(
        "webhooks/form.html",
        hook=_hook(hook) if hook else None,
        version=hook.version if hook else None,
        form=form_of(error),
        groups=groups,
        all_events="*" in chosen,
        others=", ".join(name for name in chosen if name not in LISTED),
    )


def events_text(events: Iterable[str]) -> str:
    """Filters in one line, always in the same order."""
    return ", ".join(sorted(set(events)))


def merge_hook(hook: WebhookView) -> Answer:
    """Theirs and yours, to choose per field."""
    here = url_for("webhooks_pages.show_webhook", webhook_id=hook.id)
    typed = events_text(split_commas(request.form.getlist("events")))
    fields = [choice("name", _("Name"), hook.name), choice("url", _("Address"), hook.url),
              choice("events", _("Events"), events_text(hook.events), yours=typed)]  # fmt: skip
    return merge_page(
        hook.name, url_for("webhooks_pages.change_webhook", webhook_id=hook.id), hook.version, here, fields
    )


def ask_again(hook: WebhookView, endpoint: str, deed: str, *, danger: bool = False) -> Answer:
    """Whether to do a deed all the same to a webhook that was changed meanwhile."""
    here, action = (url_for(f"webhooks_pages.{name}", webhook_id=hook.id) for name in ("show_webhook", endpoint))
    return merge_page(hook.name, action, hook.version, here, deed=deed, danger=danger)


def secret_page(made: NewSecretView, *, fresh: bool) -> Response:
    """The only page that shows a secret; nobody keeps a copy of it."""
    response = make_response(
        render_template("webhooks/secret.html", hook=_hook(made), secret=made.secret, fresh=fresh), 201
    )
    response.headers["Cache-Control"] = "no-store"
    return response


def _hook(hook: WebhookView) -> dict[str, Any]:
    here = url_for("webhooks_pages.show_webhook", webhook_id=hook.id)
    state = (_("Sends"), "good") if hook.enabled else (str(REASONS.get(hook.pause_reason or "", _("Paused"))), "warn")
    return {
        "id": hook.id, "name": hook.name, "url": hook.url, "page": here, "version": hook.version,
        "events": hook.events, "events_text": events_text(hook.events), "enabled": hook.enabled,
        "state_text": state[0], "tone": state[1], "pause_reason": hook.pause_reason, "paused_by": hook.paused_by,
        "owner": hook.owner,
        "paused_text": ago(hook.paused_at), "rotating_text": ago(hook.former_secret_until),
        "created": hook.created_at, "created_text": ago(hook.created_at), "created_exact": exact(hook.created_at),
    }  # fmt: skip


def _health(hook: WebhookView, health: WebhookHealthView) -> dict[str, Any]:
    good, bad = health.last_success_at, health.last_failure_at
    return {
        **({"state_text": _("Failing"), "tone": "bad"} if hook.enabled and health.failing_since else {}),
        "failing": health.failing_since is not None, "failing_ago": ago(health.failing_since),
        "failures": health.failures,
        "next_try_text": ago(health.next_try_at), "next_try_exact": exact(health.next_try_at),
        "failing_text": exact(health.failing_since), "success": good, "success_text": ago(good) or _("never"),
        "success_exact": exact(good), "failure": bad, "failure_text": ago(bad) or _("never"),
        "failure_exact": exact(bad),
    }  # fmt: skip


def _delivery(hook: WebhookView, each: DeliveryView) -> dict[str, Any]:
    page = f"/admin/webhooks/{hook.id}/deliveries/{each.id}"
    text, tone = STATES[each.state]
    return {
        "id": each.id, "page": page, "event": each.event, "state": each.state, "state_text": str(text), "tone": tone,
        "attempts": each.attempts, "message_id": each.webhook_id, "job_id": each.job_id,
        "created": each.created_at, "created_text": ago(each.created_at), "created_exact": exact(each.created_at),
        "next_text": due(each.next_at) if each.next_at and (each.attempts or each.next_at > now()) else "",
        "replay_url": f"{page}/replays" if each.state not in {"pending", "held"} and hook.enabled else None,
    }  # fmt: skip


def _attempt(each: AttemptView, number: int) -> dict[str, Any]:
    return {
        "number": number, "sent": each.sent_at, "sent_text": ago(each.sent_at), "sent_exact": exact(each.sent_at),
        "url": each.url, "address": each.address, "status": each.status, "error": each.error,
        "good": each.error is None, "duration_text": _("%(num)d ms", num=each.duration),
        "request_headers": list(each.request_headers.items()), "answer": each.answer,
        "answer_headers": list((each.answer_headers or {}).items()),
    }  # fmt: skip
