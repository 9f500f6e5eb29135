"""Step-up: showing once more that it is you, before what must not be a thief's."""

from flask import Blueprint, flash, redirect, render_template, request, session
from flask_babel import gettext as _
from werkzeug.wrappers import Response

from webapp.config import current_settings
from webapp.errors import HoldfastError
from webapp.http.answers import gives
from webapp.http.entries import onward
from webapp.http.factorrows import proof_form
from webapp.http.guard import current_actor, guard
from webapp.http.inputs import read_form, takes
from webapp.http.limiting import limited
from webapp.services import confirmations, sessions
from webapp.services.confirmations import Confirmation, ConfirmationForm

pages = Blueprint("confirmations_pages", __name__)
api = Blueprint("confirmations_api", __name__)

Page = Response | tuple[str, int] | tuple[str, int, dict[str, str]]


@api.post("/auth/confirm")
@guard("account.read", unready=True)
@limited("sign_in")
@takes(Confirmation)
@gives(None, status=204, errors=(429, 503))
def confirm(wish: Confirmation) -> None:
    """Confirm that it is you, by password or factor: for a quarter of an hour the session may do what asks for it."""
    confirmations.confirm(current_actor(), wish)


@pages.get("/confirm-identity")
@guard("account.read", unready=True)
def confirm_form() -> Page:
    """Asks for password or factor."""
    return _page()


@pages.post("/confirm-identity", endpoint="confirm")
@guard("account.read", unready=True)
@limited("sign_in")
def confirm_page() -> Page:
    """Confirm, and go back to what was to be done."""
    try:
        wish = read_form(ConfirmationForm)
        confirmations.confirm(current_actor(), wish.proof())
        if "sid" in session:  # not for a program that posts a page's form
            session["sid"] = sessions.renew_secret(current_actor())
    except HoldfastError as error:
        return _page(error)
    flash(_("Confirmed. You can go on with what you were about to do."), "success")
    return redirect(onward(wish.next))


def _page(error: HoldfastError | None = None) -> Page:
    methods = confirmations.ways_to_confirm(current_actor())
    page = render_template("auth/confirm_identity.html", form=proof_form(error), methods=methods,
                           next=request.values.get("next", ""), issuers=current_settings().oidc_issuers)  # fmt: skip
    if error is None:
        return page, 200
    wait = {} if error.retry_after is None else {"Retry-After": str(round(error.retry_after))}
    return page, error.status, wait
