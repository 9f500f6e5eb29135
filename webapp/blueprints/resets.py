"""Forgotten passwords: asking for a link, and the form that it leads to."""

from flask import Blueprint, flash, redirect, render_template, request, url_for
from flask_babel import gettext as _
from werkzeug.wrappers import Response

from webapp.errors import Gone, HoldfastError, Invalid
from webapp.http.answers import gives
from webapp.http.entries import carry_device, device_origin
from webapp.http.guard import public
from webapp.http.inputs import read_form, takes
from webapp.http.limiting import limited
from webapp.http.linkpages import over_page, sent_page
from webapp.http.rows import form_of
from webapp.services import resets
from webapp.services.resets import ForgottenPassword, PasswordReset

pages = Blueprint("resets_pages", __name__)
api = Blueprint("resets_api", __name__)

Page = str | Response | tuple[str, int]


@api.post("/auth/forgot-password")
@public
@limited("sign_in")
@takes(ForgottenPassword)
@gives(None, status=204)
def forgot_password(wish: ForgottenPassword) -> None:
    """Mail a link that sets a new password. The answer is the same whether there is such an account or not."""
    resets.ask_reset(wish, device_origin())


@api.post("/auth/reset-password")
@public
@limited("sign_in")
@takes(PasswordReset)
@gives(None, status=204, errors=(410, 503))
def reset_password(wish: PasswordReset) -> None:
    """Set a new password by a mailed token, once; every session of the account ends."""
    carry_device(resets.reset_password(wish, device_origin()))


@pages.get("/forgot-password")
@public
def forgot_password_form() -> str:
    """Asks for the address."""
    return render_template("auth/forgot.html", form=form_of(None))


@pages.post("/forgot-password", endpoint="forgot_password")
@public
@limited("sign_in")
def forgot_password_page() -> Page:
    """Mail the link and say that it was mailed, to whomever."""
    try:
        wish = read_form(ForgottenPassword)
    except Invalid as error:
        return render_template("auth/forgot.html", form=form_of(error)), error.status
    resets.ask_reset(wish, device_origin())
    words = _("The mail says how to set a new password. The link in it is good for an hour.")
    return sent_page(wish.email, words, url_for(".forgot_password"))


@pages.get("/reset-password")
@public
def reset_password_form() -> Page:
    """The form for the new password, where the link is good."""
    token = request.args.get("token", "")
    try:
        email = resets.check_reset(token)
    except Gone as error:
        return _over(error)
    return render_template("auth/reset.html", form=form_of(None), token=token, email=email)


@pages.post("/reset-password", endpoint="reset_password")
@public
@limited("sign_in")
def reset_password_page() -> Page:
    """Set it and go on to sign in: from here, whatever strangers have tried meanwhile."""
    token = request.form.get("token", "")
    try:
        email = resets.reset_password(read_form(PasswordReset), device_origin())
    except Gone as error:
        return _over(error)
    except HoldfastError as error:
        email = resets.check_reset(token)
        return render_template("auth/reset.html", form=form_of(error), token=token, email=email), error.status
    carry_device(email)
    flash(_("Your password is changed. Sign in with the new one."), "success")
    return redirect(url_for("auth_pages.sign_in_form"))


def _over(error: Gone) -> Page:
    return over_page(error, url_for(".forgot_password_form"), _("Ask for a new link"))
