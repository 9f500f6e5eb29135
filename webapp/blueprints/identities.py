"""Signing in by a provider of OpenID Connect: out, back, agreeing to a link; the list of one's linked accounts."""

from uuid import UUID

from flask import Blueprint, flash, redirect, render_template, request, session, url_for
from flask_babel import gettext as _
from werkzeug.wrappers import Response

from webapp.errors import Conflict, HoldfastError, Malformed, Missing
from webapp.http.answers import gives
from webapp.http.conditional import expected_version
from webapp.http.entries import VISITOR, device_origin, go_in, onward
from webapp.http.guard import current_actor, guard, maybe_actor, origin_of_request, public, refuse_stale
from webapp.http.inputs import read_form
from webapp.http.limiting import limited
from webapp.http.rows import form_of
from webapp.services import identities, oidc
from webapp.services.cursors import Page
from webapp.services.identities import IdentityView
from webapp.services.oidc import LinkForm, Return
from webapp.services.visits import new_secret

pages = Blueprint("identities_pages", __name__)
api = Blueprint("identities_api", __name__)

Answer = str | Response | tuple[str, int] | tuple[str, int, dict[str, str]]


@api.get("/identities")
@guard("account.read")
@gives(Page[IdentityView])
def list_identities() -> Page[IdentityView]:
    """Your accounts at other providers by which you can sign in."""
    return identities.list_identities(current_actor())


@api.delete("/identities/<uuid:identity_id>")
@guard("account.secure", fresh=True)
@gives(None, status=204, errors=(404, 409, 412))
def unlink_identity(identity_id: UUID) -> None:
    """Unlink one of them; 409 for your only way to sign in."""
    identities.unlink_identity(current_actor(), identity_id, expected_version())


@pages.post("/account/identities/<uuid:identity_id>/removal", endpoint="unlink_identity")
@guard("account.secure", fresh=True)
def unlink_identity_page(identity_id: UUID) -> Response:
    """Unlink one of them."""
    try:
        identities.unlink_identity(current_actor(), identity_id)
    except (Conflict, Missing) as error:
        flash(_(error.detail), "error")
    else:
        flash(_("Unlinked. It no longer signs you in."), "success")
    return redirect(url_for("security_pages.show_security"))


@pages.get("/auth/oidc/<string:issuer>")
@public
@limited("sign_in")
def visit_provider(issuer: str) -> Answer:
    """Off to the provider: to sign in, or with ?link=1 to link an account there to one's own."""
    actor = current_actor() if request.args.get("link") else None
    if actor is not None:
        refuse_stale(actor)
    session[VISITOR] = browser = session.get(VISITOR) or new_secret()
    try:
        return redirect(oidc.begin_visit(issuer, browser, request.args.get("next"), actor, origin_of_request()))
    except HoldfastError as error:
        return _failed(issuer, error)


@pages.get("/auth/oidc/<string:issuer>/callback")
@public
@limited("sign_in")
def return_from_provider(issuer: str) -> Answer:
    """Back from the provider, with its answer in the address."""
    before = maybe_actor() if "sid" in session else None
    try:
        arrival = oidc.finish_visit(issuer, _said(), _browser(), before, device_origin())
    except HoldfastError as error:
        return _failed(issuer, error)
    if arrival.proof:
        return redirect(url_for(".offer_link", issuer=issuer, proof=arrival.proof))
    return go_in(arrival.entry) if arrival.entry else redirect(onward(arrival.next))


@pages.get("/auth/oidc/<string:issuer>/link")
@public
def offer_link(issuer: str) -> Answer:
    """What will be linked, and what it takes: a yes, or the password of the account."""
    return _offer_page(issuer)


@pages.post("/auth/oidc/<string:issuer>/link")
@public
@limited("sign_in")
def link_identity(issuer: str) -> Answer:
    """Link, as the person agrees."""
    actor = maybe_actor()
    try:
        arrival = oidc.accept_offer(issuer, _browser(), read_form(LinkForm), actor, device_origin())
    except (Conflict, Missing) as error:
        return _failed(issuer, error)
    except HoldfastError as error:
        return _offer_page(issuer, error)
    if arrival.entry is None:
        flash(_("Linked. You can sign in by it from now on."), "success")
        return redirect(url_for("security_pages.show_security"))
    return go_in(arrival.entry)


def _said() -> Return:
    try:
        return Return(**{name: request.args[name] for name in Return.model_fields if name in request.args})
    except ValueError:
        raise Malformed("The provider's answer cannot be read. Please start again.", code="oidc_unreadable") from None


def _browser() -> str:
    secret = session.get(VISITOR)
    return secret if isinstance(secret, str) else ""


def _offer_page(issuer: str, error: HoldfastError | None = None) -> Answer:
    proof = request.values.get("proof", "")
    try:
        offer = oidc.show_offer(issuer, proof, _browser(), maybe_actor())
    except Missing as over:
        return _failed(issuer, over)
    page = render_template("identities/link.html", form=form_of(error), issuer=offer.issuer, email=offer.email,
                           signed_in=offer.signed_in, proof=proof)  # fmt: skip
    return page if error is None else (page, error.status, _wait(error))


def _failed(name: str, error: HoldfastError) -> Answer:
    """Why it did not work and what now; for an unknown provider the usual 404."""
    page = render_template("identities/failed.html", issuer=identities.find_issuer(name), detail=_(error.detail),
                           code=error.code, request_id=request.environ.get("holdfast.request_id", ""))  # fmt: skip
    return page, error.status, _wait(error)


def _wait(error: HoldfastError) -> dict[str, str]:
    return {} if error.retry_after is None else {"Retry-After": str(round(error.retry_after))}
