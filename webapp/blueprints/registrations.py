"""Registering and confirming one's address; accepting an invitation. Whoever does so is signed in by it."""

from flask import Blueprint, redirect, render_template, request, url_for
from flask_babel import gettext as _
from werkzeug.wrappers import Response

from webapp.errors import Gone, HoldfastError, Invalid, Refused
from webapp.http.answers import gives
from webapp.http.entries import device_origin, go_in
from webapp.http.guard import maybe_actor, public
from webapp.http.inputs import read_form, takes
from webapp.http.limiting import limited
from webapp.http.linkpages import over_page, sent_page
from webapp.http.rows import form_of
from webapp.services import auth, invitations, registrations
from webapp.services.auth import SignIn
from webapp.services.invitations import Acceptance
from webapp.services.registrations import Confirmation, Resend
from webapp.services.users import NewUser

pages = Blueprint("registrations_pages", __name__)
api = Blueprint("registrations_api", __name__)

Page = str | Response | tuple[str, int]


@api.post("/auth/register")
@public
@limited("sign_in")
@takes(NewUser)
@gives(None, status=204, errors=(403, 503))
def register(wish: NewUser) -> None:
    """Mail a link that confirms the address and makes the account. The answer is the same for every address."""
    registrations.register(wish, device_origin())


@api.post("/auth/verify-email")
@public
@limited("sign_in")
@takes(Confirmation)
@gives(None, status=204, errors=(403, 409, 410, 503))
def verify_email(wish: Confirmation) -> None:
    """Confirm the address by the mailed token and the chosen password; then sign in."""
    registrations.confirm_email(wish, device_origin())


@api.post("/auth/resend-verification")
@public
@limited("sign_in")
@takes(Resend)
@gives(None, status=204, errors=(403,))
def resend_verification(wish: Resend) -> None:
    """Mail the link once more. The answer is the same for every address."""
    registrations.resend_confirmation(wish, device_origin())


@api.post("/auth/accept-invitation")
@public
@limited("sign_in")
@takes(Acceptance)
@gives(None, status=204, errors=(409, 410, 503))
def accept_invitation(wish: Acceptance) -> None:
    """Make the account that a mailed token invites to; then sign in."""
    invitations.accept_invitation(wish, device_origin())


@pages.get("/register")
@public
def register_form() -> str | Response:
    """The form, or why there is none."""
    if maybe_actor():
        return redirect(url_for("files_pages.list_files"))
    return _register_page()


@pages.post("/register", endpoint="register")
@public
@limited("sign_in")
def register_page() -> Page:
    """Mail the link and say that it was mailed, to whomever."""
    try:
        wish = read_form(NewUser)
        registrations.register(wish, device_origin())
    except Invalid as error:
        return _register_page(error), error.status
    return _sent(wish.email)


@pages.post("/verification-mails", endpoint="resend_verification")
@public
@limited("sign_in")
def resend_verification_page() -> Page:
    """Mail it again."""
    wish = read_form(Resend)
    registrations.resend_confirmation(wish, device_origin())
    return _sent(wish.email)


@pages.get("/verify-email")
@public
def verify_email_form() -> Page:
    """Asks for the password that was chosen, where the link is good."""
    return _confirm_page(request.args.get("token", ""))


@pages.post("/verify-email", endpoint="verify_email")
@public
@limited("sign_in")
def verify_email_page() -> Page:
    """Make the account and go in."""
    token = request.form.get("token", "")
    try:
        return _enter(registrations.confirm_email(read_form(Confirmation), device_origin()))
    except HoldfastError as error:
        return _confirm_page(token, error)


@pages.get("/invitations/<string:token>")
@public
def invitation_form(token: str) -> Page:
    """Who invites, and the form that accepts."""
    return _invitation_page(token)


@pages.post("/invitations/<string:token>", endpoint="accept_invitation")
@public
@limited("sign_in")
def accept_invitation_page(token: str) -> Page:
    """Make the account and go in."""
    try:
        return _enter(invitations.accept_invitation(read_form(Acceptance), device_origin()))
    except HoldfastError as error:
        return _invitation_page(token, error)


def _enter(wish: SignIn) -> Response:
    """Sign in as everybody does, with all that it asks for."""
    return go_in(auth.sign_in(wish, device_origin()))


def _register_page(error: Invalid | None = None) -> str:
    return render_template("auth/register.html", form=form_of(error), open=registrations.registration_open())


def _sent(email: str) -> str:
    words = _("Open the link in it to confirm your address. It is good for a day.")
    return sent_page(email, words, url_for(".resend_verification"))


def _confirm_page(token: str, error: HoldfastError | None = None) -> Page:
    try:
        if isinstance(error, Refused):
            raise error
        email = registrations.check_confirmation(token)
    except Gone as over:
        return over_page(over, url_for(".register_form"), _("Register again"))
    page = render_template("auth/confirm.html", form=form_of(error), token=token, email=email)
    return (page, error.status) if error else page


def _invitation_page(token: str, error: HoldfastError | None = None) -> Page:
    try:
        invited = invitations.check_invitation(token)
    except Gone as over:
        return over_page(over, url_for("auth_pages.sign_in_form"), _("Sign in"))
    page = render_template("auth/invitation.html", form=form_of(error, field=""), token=token, invited=invited)
    return (page, error.status) if error else page
