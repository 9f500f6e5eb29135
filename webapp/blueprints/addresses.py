"""Changing one's e-mail, and the link that proves the new one."""

from flask import Blueprint, flash, redirect, render_template, request, url_for
from flask_babel import gettext as _
from werkzeug.wrappers import Response

from webapp.errors import Conflict, Gone, HoldfastError
from webapp.http.answers import gives
from webapp.http.guard import current_actor, guard, origin_of_request, public
from webapp.http.inputs import read_form, takes
from webapp.http.limiting import limited
from webapp.http.linkpages import over_page
from webapp.http.rows import form_of
from webapp.services import addresses
from webapp.services.addresses import EmailChange, EmailConfirmation
from webapp.services.credentials import has_password

pages = Blueprint("addresses_pages", __name__)
api = Blueprint("addresses_api", __name__)

Page = str | Response | tuple[str, int]


@api.post("/auth/change-email")
@guard("account.secure", fresh=True)
@limited("sign_in")
@takes(EmailChange)
@gives(None, status=204, errors=(429, 503))
def change_email(wish: EmailChange) -> None:
    """Mail a link to the new address; nothing changes until it is confirmed."""
    addresses.change_email(current_actor(), wish)


@api.post("/auth/confirm-email")
@public
@limited("sign_in")
@takes(EmailConfirmation)
@gives(None, status=204, errors=(409, 410))
def confirm_email(wish: EmailConfirmation) -> None:
    """Give the account the address that a mailed token proves."""
    addresses.confirm_change(wish, origin_of_request())


@pages.get("/account/email")
@guard("account.secure", fresh=True)
def email_form() -> str:
    """Asks for the new address."""
    return _email_page()


@pages.post("/account/email", endpoint="change_email")
@guard("account.secure", fresh=True)
@limited("sign_in")
def change_email_page() -> Page:
    """Mail the link."""
    try:
        wish = read_form(EmailChange)
        addresses.change_email(current_actor(), wish)
    except HoldfastError as error:
        return _email_page(error), error.status
    flash(_("A link to %(email)s is on its way. Until you open it your address stays.", email=wish.email), "success")
    return redirect(url_for("users_pages.show_account"))


@pages.get("/confirm-email")
@public
def confirm_email_form() -> Page:
    """The button that confirms, where the link is good."""
    token = request.args.get("token", "")
    try:
        email = addresses.check_change(token)
    except Gone as error:
        return _over(error)
    return render_template("auth/confirm_email.html", token=token, email=email, form=form_of(None))


@pages.post("/confirm-email", endpoint="confirm_email")
@public
@limited("sign_in")
def confirm_email_page() -> Page:
    """Confirm it."""
    token = request.form.get("token", "")
    try:
        addresses.confirm_change(read_form(EmailConfirmation), origin_of_request())
    except Gone as error:
        return _over(error)
    except Conflict as error:
        email = addresses.check_change(token)
        page = render_template("auth/confirm_email.html", token=token, email=email, form=form_of(error))
        return page, error.status
    flash(_("Your address is changed. You sign in with it from now on."), "success")
    return redirect(url_for("users_pages.show_account"))


def _email_page(error: HoldfastError | None = None) -> str:
    return render_template("users/email.html", form=form_of(error), has_password=has_password(current_actor()))


def _over(error: Gone) -> Page:
    return over_page(error, url_for(".email_form"), _("Change your address"))
