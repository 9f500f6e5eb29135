"""Signing in by a provider of OpenID Connect: the way out, the return, and what has to be agreed to before linking."""

from dataclasses import dataclass, replace
from typing import Annotated, Any

import structlog
from pydantic import Field, ValidationError

from webapp.config import current_settings
from webapp.db import db, transactional
from webapp.errors import Conflict, HoldfastError, Missing, Refused
from webapp.infra import idtokens
from webapp.infra.idtokens import Claimed
from webapp.issuers import Issuer
from webapp.models.users import live_user_by_email
from webapp.policies import Actor, system_actor
from webapp.services import auth
from webapp.services.auth import SignIn
from webapp.services.claims import settle_roles
from webapp.services.devices import device_for
from webapp.services.events import Target, record
from webapp.services.factors import methods_of
from webapp.services.identities import find_issuer, find_owner, link_identity, note_use
from webapp.services.inputs import Input
from webapp.services.passwords import Password
from webapp.services.sessions import Origin
from webapp.services.steps import Entry, Onward, enter
from webapp.services.users import Person, email_key, insert_user
from webapp.services.visits import Away, Proven, keep_visit, look_at_visit, new_secret, take_visit

log = structlog.get_logger("webapp.oidc")
LONGEST_NAME = 120


class LinkForm(Input):
    """Consent to linking: the proof of who came, and the password of the account unless its owner is signed in."""

    proof: Annotated[str, Field(max_length=200)] = ""
    password: Password | None = None


class Return(Input):
    """What the provider's answer says (RFC 6749, 4.1.2; RFC 9207); other parameters are its own affair."""

    state: Annotated[str, Field(max_length=200)] = ""
    code: Annotated[str, Field(max_length=4000)] = ""
    error: Annotated[str, Field(max_length=200)] = ""
    iss: Annotated[str | None, Field(max_length=2000)] = None


@dataclass(frozen=True, slots=True)
class Arrival:
    """How a return ended: somebody came in (`entry`), or `proof` of who came, who has yet to agree, or linked."""

    next: str | None
    entry: Entry | None = None
    proof: str | None = None


@dataclass(frozen=True, slots=True)
class Offer:
    """A link that waits for consent. `email` is the address here or there; `signed_in`: its owner is here."""

    issuer: Issuer
    email: str
    signed_in: bool


def redirect_uri(issuer: Issuer) -> str:
    """Where the provider sends people back; to be registered there."""
    return f"{current_settings().origin}/auth/oidc/{issuer.name}/callback"


def begin_visit(name: str, browser: str, onward: str | None, linking: Actor | None, origin: Origin) -> str:
    """The provider's address for this browser. Raises Missing for an unknown provider, Unavailable.

    `linking` is the actor who wants to link an account; None: somebody wants to sign in.
    """
    issuer, state = find_issuer(name), new_secret()
    visit = Away(nonce=new_secret(), verifier=new_secret(), next=onward and onward[:2000],
                 user_id=linking.id if linking else None)  # fmt: skip
    try:
        address = idtokens.authorization_url(issuer, redirect_uri(issuer), state, visit.nonce, visit.verifier)
    except HoldfastError as error:
        _note_refusal(issuer, error, origin)
        raise
    _keep(issuer, state, browser, visit)
    return address


def finish_visit(name: str, came: Return, browser: str, actor: Actor | None, origin: Origin) -> Arrival:
    """What comes of a return. Raises Refused, Conflict or Unavailable; then nothing is changed but the audit trail."""
    issuer = find_issuer(name)
    try:
        visit = _take(issuer, came.state, browser)
        if came.error:  # some providers leave the state out here, and a no changes nothing anyway
            raise _not_agreed(issuer, came.error)
        if visit is None or not came.code:
            raise Refused("This sign-in was finished before, took longer than ten minutes, or began in another browser."
                          " Please start again.", code="oidc_state")  # fmt: skip
        idtokens.refuse_mixed_up(issuer, came.iss)
        claimed = idtokens.redeem_code(issuer, came.code, visit.verifier, visit.nonce, redirect_uri(issuer))
        return _receive(issuer, claimed, visit, browser, actor, origin)
    except HoldfastError as error:
        _note_refusal(issuer, error, origin)
        raise


def show_offer(name: str, proof: str, browser: str, actor: Actor | None) -> Offer:
    """What waits for consent. Raises Missing for what is over, or not this browser's."""
    issuer = find_issuer(name)
    visit = look_at_visit(issuer.name, proof, browser, Proven)
    if visit is None or not _still_here(visit, actor):
        raise _over()
    email = visit.claimed.email or ""
    theirs = actor is not None and email_key(actor.email) == email_key(email)
    return Offer(issuer, email, visit.user_id is not None or theirs)


def accept_offer(name: str, browser: str, wish: LinkForm, actor: Actor | None, origin: Origin) -> Arrival:
    """Link: to the actor who asked for it, or to the account whose password this is, which is signed in then.

    Raises Missing for an offer that is over, Unauthenticated for a wrong password, Limited, Conflict.
    """
    issuer, offer = find_issuer(name), show_offer(name, wish.proof, browser, actor)
    if actor is not None and offer.signed_in:
        return _link(issuer, wish.proof, browser, actor)
    if wish.password is None:
        raise _over()
    proved = auth.prove(SignIn(email=offer.email, password=wish.password), origin)
    return _link_and_enter(issuer, wish.proof, browser, proved)


def may_register(issuer: Issuer, email: str) -> bool:
    """Whether somebody without an account gets one: where the provider is configured so."""
    return issuer.welcomes(email)


@transactional
def _keep(issuer: Issuer, key: str, browser: str, visit: Away | Proven) -> str:
    return keep_visit(issuer.name, key, browser, visit)


@transactional
def _take(issuer: Issuer, state: str, browser: str) -> Away | None:
    return take_visit(issuer.name, state, browser, Away)


def _receive(
    issuer: Issuer, claimed: Claimed, visit: Away, browser: str, actor: Actor | None, origin: Origin
) -> Arrival:  # fmt: skip
    """Sign in whom we know, offer a link to whom it could belong, make an account where that is allowed.

    Of many that come at once for one new person one makes the account; the others find it when they look again.
    """
    if visit.user_id is not None:
        return _offer_to_link(issuer, claimed, visit, browser, actor)
    try:
        arrival = _enter(issuer, claimed, visit, browser, origin)
    except Conflict:
        arrival = _enter(issuer, claimed, visit, browser, origin)
    if arrival is None:  # what the provider took is gone all the same
        raise Refused(f"{issuer.label} gives you no role in this vault any more. Ask your administrator.",
                      code="oidc_no_role")  # fmt: skip
    return arrival


@transactional
def _offer_to_link(issuer: Issuer, claimed: Claimed, visit: Away, browser: str, actor: Actor | None) -> Arrival:
    if actor is None or actor.id != visit.user_id:
        raise Refused("You were signed out meanwhile. Sign in and link the account again.", code="oidc_signed_out")
    if (owner := find_owner(issuer, claimed)) is not None:
        whose = "your account" if owner.id == actor.id else "another account"
        raise Conflict(f"This account of {issuer.label} is linked to {whose} already.", code="oidc_linked")
    _verified_email(issuer, claimed)
    proven = Proven(claimed=claimed, next=None, user_id=actor.id)
    return Arrival(None, proof=keep_visit(issuer.name, new_secret(), browser, proven))


@transactional
def _enter(issuer: Issuer, claimed: Claimed, visit: Away, browser: str, origin: Origin) -> Arrival | None:
    if (owner := find_owner(issuer, claimed)) is not None:
        return _sign_in(issuer, claimed, owner, visit, origin)
    email = _verified_email(issuer, claimed)
    account = db.session.scalar(live_user_by_email(email_key(email)))
    if account is not None:
        if (owner := find_owner(issuer, claimed)) is not None:  # a twin has made both between our two looks
            return _sign_in(issuer, claimed, owner, visit, origin)
        return _offer_by_password(issuer, claimed, account, visit, browser)
    if not may_register(issuer, email):
        raise Refused(f"There is no account here for {email}. Ask your administrator for one.", code="oidc_unknown")
    return Arrival(visit.next, enter(_register(issuer, claimed, email, origin), None, None, Onward(visit.next)))


def _offer_by_password(issuer: Issuer, claimed: Claimed, account: Any, visit: Away, browser: str) -> Arrival:
    if account.suspended_at is not None:
        raise _suspended()
    proven = Proven(claimed=claimed, next=visit.next, user_id=None)
    return Arrival(visit.next, proof=keep_visit(issuer.name, new_secret(), browser, proven))


def _sign_in(issuer: Issuer, claimed: Claimed, owner: Any, visit: Away, origin: Origin) -> Arrival | None:
    """Signed in; None where the provider's answer leaves the account without any role."""
    if owner.deleted_at is not None or owner.suspended_at is not None:
        raise _suspended()
    actor = settle_roles(issuer, claimed, Actor(
        id=owner.id, uuid=owner.uuid, email=owner.email, name=owner.name, locale=owner.locale,
        time_zone=owner.time_zone, address=origin.address, agent=origin.agent, request_id=origin.request_id,
    ))  # fmt: skip
    note_use(claimed, owner.identity_id)
    if not actor.roles:
        return None
    device = device_for(origin.device, email_key(actor.email))
    return Arrival(visit.next, enter(actor, owner.password_hash, device, Onward(visit.next)))


def _register(issuer: Issuer, claimed: Claimed, email: str, origin: Origin) -> Actor:
    vault = replace(system_actor(origin.request_id), address=origin.address, agent=origin.agent)
    actor = insert_user(vault, Person(email=email, name=_name(claimed, email)), issuer.role, None)
    link_identity(actor, issuer, claimed)
    actor = settle_roles(issuer, claimed, actor)
    if not actor.roles:
        raise Refused(f"{issuer.label} gives you no role in this vault. Ask your administrator.", code="oidc_no_role")
    return actor


@transactional
def _link(issuer: Issuer, proof: str, browser: str, actor: Actor) -> Arrival:
    visit = take_visit(issuer.name, proof, browser, Proven)
    if visit is None or not _still_here(visit, actor):
        raise _over()
    link_identity(actor, issuer, visit.claimed)
    return Arrival(visit.next)


@transactional
def _link_and_enter(issuer: Issuer, proof: str, browser: str, proved: auth.Proof) -> Arrival:
    if methods_of(proved.actor.id):  # a password alone links nothing: the second step first, then back to the offer
        return Arrival(None, auth.start_browser(proved, Onward(f"/auth/oidc/{issuer.name}/link?proof={proof}")))
    visit = take_visit(issuer.name, proof, browser, Proven)
    if visit is None or visit.user_id is not None:
        raise _over()
    link_identity(proved.actor, issuer, visit.claimed)
    return Arrival(visit.next, auth.start_browser(proved, Onward(visit.next)))


def _still_here(visit: Proven, actor: Actor | None) -> bool:
    return visit.user_id is None or (actor is not None and actor.id == visit.user_id)


def _verified_email(issuer: Issuer, claimed: Claimed) -> str:
    try:
        return Person(email=claimed.email or "", name="-").email
    except ValidationError:
        raise Refused(f"{issuer.label} has not verified an e-mail address of yours. Do that there, then start again.",
                      code="oidc_email") from None  # fmt: skip


def _name(claimed: Claimed, email: str) -> str:
    shown = "".join(character for character in claimed.name if character.isprintable()).strip()
    return shown[:LONGEST_NAME].strip() or email.partition("@")[0][:LONGEST_NAME]


def _not_agreed(issuer: Issuer, error: str) -> HoldfastError:
    if error == "access_denied":
        return Refused(f"You did not agree at {issuer.label}, or it does not let you in. Nothing was changed.",
                       code="oidc_denied")  # fmt: skip
    log.warning("oidc_answer_refused", issuer=issuer.name, reason=f"error {error}")
    return Refused(f"{issuer.label} could not sign you in. Please start again.", code="oidc_failed")


def _suspended() -> Refused:
    return Refused("This account is suspended. Ask your administrator.", code="oidc_suspended")


def _over() -> Missing:
    return Missing("This page took longer than ten minutes, or was used before. Please start again.", code="oidc_over")


@transactional
def _note_refusal(issuer: Issuer, error: HoldfastError, origin: Origin) -> None:
    log.warning("oidc_refused", issuer=issuer.name, code=error.code)
    vault = replace(system_actor(origin.request_id), address=origin.address, agent=origin.agent)
    record(
        vault, "session.refused", Target("user", None), {"reason": (None, error.code), "issuer": (None, issuer.name)}
    )
