"""The second step of a sign-in, and signing in by a passkey alone."""

from flask import Blueprint, flash, redirect, render_template, url_for
from flask_babel import gettext as _
from werkzeug.wrappers import Response

from webapp.errors import HoldfastError, Unauthenticated
from webapp.http.answers import gives
from webapp.http.entries import carry_device, device_origin, go_in, pending_step
from webapp.http.factorrows import proof_form
from webapp.http.guard import maybe_actor, public
from webapp.http.inputs import read_form, takes
from webapp.http.limiting import limited
from webapp.services import steps
from webapp.services.passkeys import PasskeyOptions
from webapp.services.proofs import FactorProof
from webapp.services.refreshes import TokenGrant
from webapp.services.steps import MfaAnswer, Onward, PasskeyAnswer, PasskeyAsk, PasskeyForm

pages = Blueprint("steps_pages", __name__)
api = Blueprint("steps_api", __name__)

Page = Response | tuple[str, int] | tuple[str, int, dict[str, str]]


@api.post("/auth/mfa")
@public
@limited("sign_in")
@takes(MfaAnswer)
@gives(TokenGrant, errors=(401, 429))
def finish_step(wish: MfaAnswer) -> TokenGrant:
    """Do the second step that a sign-in asked for, by a code of the app, a passkey or a recovery code."""
    grant, email = steps.finish_program_step(wish, device_origin())
    carry_device(email)
    return grant


@api.post("/auth/passkey-options")
@public
@limited("sign_in")
@takes(PasskeyAsk)
@gives(PasskeyOptions, errors=(401,))
def ask_passkey(wish: PasskeyAsk) -> PasskeyOptions:
    """What the browser's passkeys shall sign: to sign in, for a second step, or to confirm who is signed in."""
    return steps.ask_passkey(wish, maybe_actor())


@api.post("/auth/passkey")
@public
@limited("sign_in")
@takes(PasskeyAnswer)
@gives(TokenGrant, errors=(401, 429))
def enter_by_passkey(wish: PasskeyAnswer) -> TokenGrant:
    """Sign a program in by what a passkey has signed."""
    grant = steps.enter_program_by_passkey(wish, device_origin())
    carry_device(grant.user.email)
    return grant


@pages.get("/sign-in/second-step")
@public
def step_form() -> Page:
    """Asks for the second factor of who has just proven the first."""
    return _page()


@pages.post("/sign-in/second-step", endpoint="finish_step")
@public
@limited("sign_in")
def finish_step_page() -> Page:
    """Do it, and go on to where the browser wanted."""
    try:
        return go_in(steps.finish_step(pending_step(), read_form(FactorProof), device_origin()))
    except HoldfastError as error:
        return _page(error)


@pages.post("/sign-in/passkey", endpoint="enter_by_passkey")
@public
@limited("sign_in")
def enter_by_passkey_page() -> Page:
    """Sign the browser in by what its passkey has signed."""
    try:
        wish = read_form(PasskeyForm)
        answer = PasskeyAnswer(credential=wish.credential)
        return go_in(steps.enter_by_passkey(answer, device_origin(), Onward(wish.next, wish.keep)))
    except HoldfastError as error:
        flash(_(error.detail), "error")
        return redirect(url_for("auth_pages.sign_in_form"))


def _page(error: HoldfastError | None = None) -> Page:
    token = pending_step()
    try:
        due = steps.show_step(token)
    except Unauthenticated as over:
        flash(_(over.detail), "error")
        return redirect(url_for("auth_pages.sign_in_form"))
    page = render_template("auth/second_step.html", form=proof_form(error), email=due.email, methods=due.methods,
                           token=token)  # fmt: skip
    if error is None:
        return page, 200
    wait = {} if error.retry_after is None else {"Retry-After": str(round(error.retry_after))}
    return page, error.status, wait
