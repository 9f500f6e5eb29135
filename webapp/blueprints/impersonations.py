"""Acting as somebody else, from the page of an account and for programs."""

from uuid import UUID

from flask import Blueprint, flash, redirect, url_for
from flask_babel import gettext as _

from webapp.errors import Conflict, Invalid, Refused
from webapp.http.accountrows import show_account_page
from webapp.http.answers import gives
from webapp.http.entries import carry_acting, carry_own_again
from webapp.http.guard import current_actor, guard
from webapp.http.inputs import read_form, takes
from webapp.http.merges import Answer
from webapp.services import impersonations
from webapp.services.impersonations import Impersonation, ImpersonationGrant

pages = Blueprint("impersonations_pages", __name__)
api = Blueprint("impersonations_api", __name__)


@api.post("/users/<uuid:user_id>/impersonation")
@guard("users.impersonate", fresh=True)
@takes(Impersonation)
@gives(ImpersonationGrant, errors=(404, 409))
def impersonate_user(wish: Impersonation, user_id: UUID) -> ImpersonationGrant:
    """Get an access token of somebody else's account for half an hour, which ends with your own session.

    Never of an administrator, or of who may do more than you. Without what changes passwords, tokens and secrets.
    """
    return impersonations.act_in_program(current_actor(), user_id, wish)


@api.delete("/impersonation")
@guard("account.read")
@gives(None, status=204, errors=(404,))
def end_impersonation() -> None:
    """End the session that asks, where it acts as somebody else."""
    impersonations.end_impersonation(current_actor())


@pages.post("/admin/users/<uuid:user_id>/impersonation", endpoint="impersonate_user")
@guard("users.impersonate", fresh=True)
def impersonate_user_page(user_id: UUID) -> Answer:
    """Begin; the browser comes back to its own session at the end."""
    try:
        secret = impersonations.act_in_browser(current_actor(), user_id, read_form(Impersonation))
    except (Invalid, Conflict, Refused) as error:
        return show_account_page(user_id, error), error.status
    carry_acting(secret)
    return redirect(url_for("files_pages.list_files"))


@pages.post("/impersonation/end", endpoint="end_impersonation")
@guard("account.read")
def end_impersonation_page() -> Answer:
    """Stop, and be oneself again."""
    actor = current_actor()
    impersonations.end_impersonation(actor)
    if not carry_own_again():
        return redirect(url_for("auth_pages.sign_in_form"))
    flash(_("You are yourself again."), "success")
    return redirect(url_for("accounts_pages.show_user", user_id=actor.uuid))
