"""How pages show invitations."""

from typing import Any

from flask import render_template, url_for
from flask_babel import gettext as _
from flask_babel import lazy_gettext as _l

from webapp.errors import HoldfastError
from webapp.http.formats import ago, exact
from webapp.http.rolerows import role_words
from webapp.http.rows import form_of
from webapp.policies import Actor
from webapp.services.cursors import Page
from webapp.services.invitations import InvitationFilter, InvitationView
from webapp.services.roles import assignable_roles

STATES = {
    "open": (_l("Open"), "info"),
    "accepted": (_l("Accepted"), "good"),
    "expired": (_l("Expired"), "plain"),
}


def list_page(
    actor: Actor, page: Page[InvitationView], query: InvitationFilter, error: HoldfastError | None = None
) -> str:
    """The list, and the form with what was typed."""
    here = url_for("invitations_pages.list_invitations")
    base = f"{here}?state={query.state}&" if query.state else f"{here}?"
    return render_template(
        "invitations/index.html",
        rows=[_row(invitation) for invitation in page.items],
        next_url=f"{base}cursor={page.next_cursor}" if page.next_cursor else None,
        states=[(_("All"), here, "plain", query.state is None)]
        + [(str(text), f"{here}?state={name}", tone, query.state == name) for name, (text, tone) in STATES.items()],
        form=form_of(error, field="email"),
        roles=[(role.slug, role_words(role.slug, role.name)) for role in assignable_roles(actor)],
    )


def _row(invitation: InvitationView) -> dict[str, Any]:
    text, tone = STATES[invitation.state]
    here = f"/admin/invitations/{invitation.id}"
    return {
        "id": invitation.id, "email": invitation.email, "role_text": role_words(invitation.role),
        "inviter": invitation.inviter, "state": invitation.state, "state_text": str(text), "tone": tone,
        "version": invitation.version, "created": invitation.created_at, "created_text": ago(invitation.created_at),
        "created_exact": exact(invitation.created_at), "until_text": ago(invitation.expires_at),
        "mail_url": f"{here}/mails", "removal_url": f"{here}/removal",
    }  # fmt: skip
