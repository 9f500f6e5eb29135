"""Invitations, for those who may invite: pages under /admin/invitations and the same for programs."""

from uuid import UUID

from flask import Blueprint, flash, redirect, url_for
from flask_babel import gettext as _
from werkzeug.wrappers import Response

from webapp.errors import Conflict, HoldfastError, Stale, StepUp
from webapp.http.answers import Created, created, gives
from webapp.http.conditional import expected_version
from webapp.http.guard import current_actor, guard, refuse_stale
from webapp.http.inputs import read_filter, read_form, takes
from webapp.http.invitationrows import list_page
from webapp.http.limiting import limited
from webapp.http.merges import Answer, merge_page
from webapp.policies import GUEST, MEMBER
from webapp.services import invitations
from webapp.services.cursors import Page
from webapp.services.invitations import InvitationFilter, InvitationView, NewInvitation

pages = Blueprint("invitations_pages", __name__)
api = Blueprint("invitations_api", __name__)


@api.get("/invitations")
@guard("invitations.read")
@takes(query=InvitationFilter)
@gives(Page[InvitationView])
def list_invitations(query: InvitationFilter) -> Page[InvitationView]:
    """Who was invited, newest first."""
    return invitations.list_invitations(current_actor(), query)


@api.post("/invitations")
@guard("invitations.write")
@limited("sendings")
@takes(NewInvitation)
@gives(InvitationView, status=201, errors=(409,))
def create_invitation(wish: NewInvitation) -> Created:
    """Invite an address by mail."""
    made = _invite(wish)
    return created(made, url_for("invitations_api.show_invitation", invitation_id=made.id))


@api.get("/invitations/<uuid:invitation_id>")
@guard("invitations.read")
@gives(InvitationView, errors=(404,))
def show_invitation(invitation_id: UUID) -> InvitationView:
    """One invitation."""
    return invitations.show_invitation(current_actor(), invitation_id)


@api.delete("/invitations/<uuid:invitation_id>")
@guard("invitations.write")
@gives(None, status=204, errors=(404, 412))
def delete_invitation(invitation_id: UUID) -> None:
    """Take an invitation back: its link is dead."""
    invitations.delete_invitation(current_actor(), invitation_id, expected_version())


@api.post("/invitations/<uuid:invitation_id>/mails")
@guard("invitations.write")
@limited("sendings")
@gives(None, status=204, errors=(404, 409))
def resend_invitation(invitation_id: UUID) -> None:
    """Mail it again."""
    invitations.resend_invitation(current_actor(), invitation_id)


@pages.get("/admin/invitations", endpoint="list_invitations")
@guard("invitations.read")
def list_invitations_page() -> str:
    """The list, and the form that invites."""
    return _page()


@pages.post("/admin/invitations", endpoint="create_invitation")
@guard("invitations.write")
@limited("sendings")
def create_invitation_page() -> Answer:
    """Invite; what is refused comes back in the form."""
    try:
        made = _invite(read_form(NewInvitation))
    except StepUp:
        raise
    except HoldfastError as error:
        return _page(error), error.status
    flash(_("An invitation to %(email)s is on its way.", email=made.email), "success")
    return redirect(url_for(".list_invitations"))


@pages.post("/admin/invitations/<uuid:invitation_id>/mails", endpoint="resend_invitation")
@guard("invitations.write")
@limited("sendings")
def resend_invitation_page(invitation_id: UUID) -> Response:
    """Mail it again."""
    try:
        invitations.resend_invitation(current_actor(), invitation_id)
        flash(_("The invitation is on its way again."), "success")
    except Conflict as error:
        flash(_(error.detail), "error")
    return redirect(url_for(".list_invitations"))


@pages.post("/admin/invitations/<uuid:invitation_id>/removal", endpoint="delete_invitation")
@guard("invitations.write")
def delete_invitation_page(invitation_id: UUID) -> Answer:
    """Take it back; what was changed meanwhile is asked about once more."""
    actor, here = current_actor(), url_for(".list_invitations")
    try:
        invitations.delete_invitation(actor, invitation_id, expected_version())
    except Stale:
        now = invitations.show_invitation(actor, invitation_id)
        action = url_for(".delete_invitation", invitation_id=invitation_id)
        return merge_page(now.email, action, now.version, here, deed=_("Take it back"), danger=True)
    flash(_("The invitation is taken back; its link is dead."), "success")
    return redirect(here)


def _invite(wish: NewInvitation) -> InvitationView:
    """What allows more than a member may is not given by a browser that was found open."""
    actor = current_actor()
    if wish.role not in {MEMBER, GUEST}:
        refuse_stale(actor)
    return invitations.create_invitation(actor, wish)


def _page(error: HoldfastError | None = None) -> str:
    actor, query = current_actor(), read_filter(InvitationFilter) if error is None else InvitationFilter()
    return list_page(actor, invitations.list_invitations(actor, query), query, error)
