"""How one proves who one is: a page of sections, the password among them."""

from flask import Blueprint, flash, redirect, render_template, session, url_for
from flask_babel import gettext as _
from werkzeug.wrappers import Response

from webapp.config import current_settings
from webapp.errors import HoldfastError
from webapp.http.answers import gives
from webapp.http.entries import carry_device, carry_session
from webapp.http.factorrows import factor_sections
from webapp.http.formats import ago, exact
from webapp.http.guard import current_actor, guard
from webapp.http.inputs import read_form, takes
from webapp.http.limiting import limited
from webapp.http.rows import form_of
from webapp.services import credentials, identities
from webapp.services.credentials import PasswordChange

pages = Blueprint("security_pages", __name__)
api = Blueprint("security_api", __name__)


@api.post("/auth/change-password")
@guard("account.secure")
@limited("sign_in")
@takes(PasswordChange)
@gives(None, status=204, errors=(429, 503))
def change_password(wish: PasswordChange) -> None:
    """Change your password. Every session of the account ends, this one too: sign in again."""
    credentials.change_password(current_actor(), wish)


@pages.get("/account/security")
@guard("account.read", unready=True)
def show_security() -> str:
    """The sections."""
    return _page()


@pages.post("/account/password", endpoint="change_password")
@guard("account.secure")
@limited("sign_in")
def change_password_page() -> Response | tuple[str, int]:
    """Change it; this browser goes on in a new session, all others are signed out."""
    actor = current_actor()
    try:
        secret = credentials.change_password_here(actor, read_form(PasswordChange), keep=session.permanent)
    except HoldfastError as error:
        return _page(error), error.status
    carry_session(secret, keep=session.permanent)
    carry_device(actor.email)
    flash(_("Your password is changed. All other devices are signed out."), "success")
    return redirect(url_for(".show_security"))


def _page(error: HoldfastError | None = None) -> str:
    return render_template("security/index.html", form=form_of(error), **_sections())


def _sections() -> dict[str, object]:
    """Variables of the sections."""
    actor = current_actor()
    linked = identities.list_identities(actor).items
    rows = [
        {"id": one.id, "title": one.title, "email": one.email or "", "known": one.provider is not None,
         "used": one.used_at, "used_text": ago(one.used_at) if one.used_at else "",
         "used_exact": exact(one.used_at) if one.used_at else "", "created_text": ago(one.created_at)}
        for one in linked
    ]  # fmt: skip
    return {
        "identities": rows,
        "issuers": current_settings().oidc_issuers,
        "has_password": credentials.has_password(actor),
        **factor_sections(),
    }
