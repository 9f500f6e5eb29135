"""Signing in and out: pages for people, tokens for programs; the page that makes the first administrator."""

from flask import Blueprint, flash, redirect, render_template, request, session, url_for
from flask_babel import gettext as _
from werkzeug.wrappers import Response

from webapp.config import current_settings
from webapp.errors import HoldfastError
from webapp.http.answers import gives
from webapp.http.entries import (
    carry_device,
    carry_own_again,
    carry_session,
    device_origin,
    end_kept_own,
    go_in,
    onward,
)
from webapp.http.guard import current_actor, guard, maybe_actor, origin_of_request, public
from webapp.http.inputs import read_form, takes
from webapp.http.limiting import limited
from webapp.http.rows import form_of
from webapp.services import auth, passkeys, refreshes, sessions, setup
from webapp.services.auth import SignIn, SignInForm
from webapp.services.refreshes import Refresh, TokenGrant
from webapp.services.registrations import registration_open
from webapp.services.setup import SetUp
from webapp.services.steps import MfaRequired, Onward

pages = Blueprint("auth_pages", __name__)
api = Blueprint("auth_api", __name__)

Page = str | Response | tuple[str, int] | tuple[str, int, dict[str, str]]


@api.post("/auth/login")
@public
@limited("sign_in")
@takes(SignIn)
@gives(TokenGrant, or_view=MfaRequired, errors=(401, 429, 503))
def log_in(wish: SignIn) -> TokenGrant | MfaRequired:
    """Sign a program in: an access token for minutes and a refresh token to get the next; or what else is asked for."""
    came = auth.sign_in_program(wish, device_origin())
    if isinstance(came, TokenGrant):
        carry_device(wish.email)
    return came


@api.post("/auth/refresh")
@public
@limited("renewals")
@takes(Refresh)
@gives(TokenGrant, errors=(401,))
def refresh(wish: Refresh) -> TokenGrant:
    """Exchange a refresh token for a fresh pair; each token works once."""
    return refreshes.refresh_tokens(wish, origin_of_request())


@api.post("/auth/logout")
@guard("account.write", unready=True)
@gives(None, status=204)
def log_out() -> None:
    """End the session that asks: its access and refresh tokens are dead at once."""
    sessions.end_own_session(current_actor())


@api.post("/auth/logout-all")
@guard("account.write", unready=True)
@gives(None, status=204)
def log_out_everywhere() -> None:
    """End every session of the account, browsers and programs, this one too."""
    sessions.end_all_sessions(current_actor())


@pages.get("/")
@public
def home() -> Response:
    """The files are where everybody begins."""
    return redirect(url_for("files_pages.list_files"))


@pages.get("/sign-in")
@public
def sign_in_form() -> Page:
    """The sign-in form; who is signed in already goes on, who acted as somebody else is themselves again."""
    if maybe_actor() is None and carry_own_again():
        flash(_("You are yourself again."), "success")
        return redirect(url_for("files_pages.list_files"))
    return redirect(onward(request.args.get("next"))) if maybe_actor() else _sign_in_page()


@pages.post("/sign-in")
@public
@limited("sign_in")
def sign_in() -> Page:
    """Sign the browser in, on a new session and a new CSRF token whatever cookie it came with."""
    try:
        wish = read_form(SignInForm)
        return go_in(auth.sign_in(wish, device_origin(), Onward(wish.next, wish.keep)))
    except HoldfastError as error:
        return _sign_in_page(error)


@pages.post("/sign-out")
@guard("account.write", unready=True)
def sign_out() -> Response:
    """End the session; copies of its cookie are dead at once."""
    sessions.end_own_session(current_actor())
    end_kept_own()
    session.clear()
    return redirect(url_for("auth_pages.sign_in_form"))


@pages.get("/setup")
@public
def setup_form() -> str:
    """The first administrator's form; 404 once there is an account."""
    token = request.args.get("token", "")
    setup.check_setup(token)
    return render_template("auth/setup.html", form=form_of(None), token=token)


@pages.post("/setup")
@public
@limited("sign_in")
def set_up() -> Page:
    """Make the first administrator and sign her in."""
    token = request.form.get("token", "")
    setup.check_setup(token)
    try:
        secret = setup.set_up(read_form(SetUp), origin_of_request())
    except HoldfastError as error:
        if error.status == 404:
            raise
        return render_template("auth/setup.html", form=form_of(error), token=token), error.status
    carry_session(secret, keep=False)
    carry_device(request.form.get("email", ""))
    return redirect(url_for("files_pages.list_files"))


def _sign_in_page(error: HoldfastError | None = None) -> Page:
    wanted, may_register = request.values.get("next", ""), registration_open()
    page = render_template("auth/sign_in.html", form=form_of(error), next=wanted, open=may_register,
                           issuers=current_settings().oidc_issuers, passkeys=passkeys.possible())  # fmt: skip
    if error is None:
        return page
    wait = {} if error.retry_after is None else {"Retry-After": str(round(error.retry_after))}
    return page, error.status, wait
