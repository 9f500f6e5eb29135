"""Signing in: the proof of who somebody is, then a session of their browser or program."""

from dataclasses import dataclass, replace
from typing import Annotated, Any
from uuid import UUID

from pydantic import Field
from sqlalchemy import update

from webapp.db import db, read_row, transactional
from webapp.errors import Unauthenticated
from webapp.models.users import Credential, live_account
from webapp.policies import Actor
from webapp.services import attempts, devices, passwords
from webapp.services.events import Target, record
from webapp.services.inputs import Input, Line
from webapp.services.passwords import Password
from webapp.services.refreshes import TokenGrant, grant_tokens
from webapp.services.sessions import Origin
from webapp.services.steps import Entry, MfaRequired, Onward, enter, enter_program
from webapp.services.users import email_key

NOBODY = (0, UUID(int=0), "", "")
HOME = Onward()


class SignIn(Input):
    """E-mail and password of a person or program."""

    email: Annotated[str, Line(254)]
    password: Password


class SignInForm(SignIn):
    """The page's form: whether the browser keeps the cookie when it closes, and where to go on."""

    keep: bool = False
    next: Annotated[str | None, Field(max_length=2000)] = None


@dataclass(frozen=True, slots=True)
class Proof:
    """A proven account: who acts from now on, and the new hash where today's cost is higher than the stored one's.

    `device` is the one whose cookie says that it signed in to this account before.
    """

    actor: Actor
    account: str
    old_hash: str
    new_hash: str | None
    device: str | None = None


def sign_in(wish: SignIn, origin: Origin, onward: Onward = HOME) -> Entry:
    """Sign a browser in, or begin its second step. Raises Unauthenticated, Limited or Unavailable."""
    return start_browser(prove(wish, origin), onward)


def sign_in_program(wish: SignIn, origin: Origin) -> TokenGrant | MfaRequired:
    """Sign a program in, or say what it still owes. Raises Unauthenticated, Limited or Unavailable."""
    came = _start_program(prove(wish, origin))
    return came if isinstance(came, MfaRequired) else grant_tokens(*came)


def prove(wish: SignIn, origin: Origin) -> Proof:
    """The account whose e-mail and password these are; starts nothing.

    An unknown address costs the same queries and the same hash as a wrong password and gets the same answer. The
    limit is looked at when it is our turn to hash, so failures beyond it are at most the hashes that run at once.
    """
    account = email_key(wish.email)
    device = devices.device_for(origin.device, account)
    with passwords.turn() as hashing:
        attempts.refuse_if_limited(account, origin.address, device)
        row = read_row(live_account(account))
        if not hashing.matches(row.password_hash if row else None, wish.password):
            _refuse(account, row.uuid if row else None, origin, device)
            raise Unauthenticated("E-mail or password is wrong.", code="wrong_credentials")
        assert row is not None  # noqa: S101
        fresh = hashing.make(wish.password) if hashing.outdated(row.password_hash) else None
    actor = replace(_actor(origin, row.id, row.uuid, row.email, row.name), locale=row.locale, time_zone=row.time_zone)
    return Proof(actor, account, row.password_hash, fresh, device)


@transactional
def _refuse(account: str, user: UUID | None, origin: Origin, device: str | None) -> None:
    attempts.note_failure(account, origin.address, device)
    record(_actor(origin, *NOBODY), "session.refused", Target("user", user), {"reason": (None, "wrong credentials")})


@transactional
def start_browser(proof: Proof, onward: Onward = HOME) -> Entry:
    """Let a browser in whose account is proven, or begin the second step."""
    return enter(proof.actor, _settle(proof), proof.device, onward)


@transactional
def _start_program(proof: Proof) -> MfaRequired | tuple[Any, ...]:
    return enter_program(proof.actor, _settle(proof), proof.device)


def _settle(proof: Proof) -> str:
    """The hash that the account has from now on."""
    if proof.new_hash is None:
        return proof.old_hash
    unchanged = (Credential.user_id == proof.actor.id) & (Credential.password_hash == proof.old_hash)
    db.session.execute(update(Credential).where(unchanged).values(password_hash=proof.new_hash))
    return proof.new_hash


def _actor(origin: Origin, user_id: int, uuid: UUID, email: str, name: str) -> Actor:
    return Actor(id=user_id, uuid=uuid, email=email, name=name, address=origin.address, agent=origin.agent,
                 request_id=origin.request_id)  # fmt: skip
