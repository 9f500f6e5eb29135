"""Coming in, once it is known who it is: a session at once, or the second step first where the account has a factor.

The step waits ten minutes under a secret of this browser or program, and is over with its first success.
"""

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Annotated, Any, NamedTuple, TypeVar

import msgspec

from webapp.db import db, transactional
from webapp.errors import Unauthenticated
from webapp.infra.crypto import keyed_digest
from webapp.models.users import live_account_by_uuid
from webapp.policies import Actor
from webapp.services import attempts, devices
from webapp.services.challenges import LIFE, SecondStep, keep_challenge, look_at_challenge, take_challenge
from webapp.services.events import Target, record
from webapp.services.factors import WORDS, methods_of
from webapp.services.inputs import Input, Line
from webapp.services.passkeys import PasskeyOptions, ask_signature, use_passkey
from webapp.services.proofs import FactorProof, try_factor
from webapp.services.refreshes import TokenGrant, grant_tokens, start_tokens
from webapp.services.resets import stranger
from webapp.services.sessions import Origin, start_browser_session
from webapp.services.users import email_key

R = TypeVar("R")
OVER = "This sign-in took longer than ten minutes, or was finished before. Please start again."
Token = Annotated[str, Line(200)]


@dataclass(frozen=True, slots=True)
class Onward:
    """Where a browser goes once it is in, and whether it keeps the cookie when it closes."""

    next: str | None = None
    keep: bool = False


@dataclass(frozen=True, slots=True)
class Entry:
    """How coming in went on: `secret` of the session for the cookie, or `step`, the secret of the second step."""

    email: str
    onward: Onward
    secret: str = ""
    step: str = ""


class MfaRequired(msgspec.Struct, frozen=True, kw_only=True):
    """A second factor is asked for: answer with one of `methods` and this token within `expires_in` seconds."""

    mfa_required: bool = True
    mfa_token: str
    methods: list[str]
    expires_in: int


class MfaAnswer(FactorProof):
    """The answer to MfaRequired."""

    mfa_token: Token


class PasskeyAsk(Input):
    """For whom: who has this token of a second step. Without one: who is signed in, else whoever has a passkey here."""

    mfa_token: Token | None = None


class PasskeyAnswer(Input):
    """What a passkey has signed, as JSON text: it says whose it is."""

    credential: Annotated[str, Line(20_000)]


class PasskeyForm(PasskeyAnswer):
    """The same from the sign-in page."""

    keep: bool = False
    next: Annotated[str, Line(2000)] | None = None


class Due(NamedTuple):
    """A second step that waits: whose, and by what it can be done."""

    email: str
    methods: list[str]


def enter(actor: Actor, password_hash: str | None, device: str | None, onward: Onward) -> Entry:
    """A browser whose person is known comes in, or owes the second step. Must run inside a transaction.

    `password_hash` is the one of this moment: the step dies with it. `device` is the one that was here before.
    """
    if not methods_of(actor.id):
        _arrive(actor, device)
        return Entry(actor.email, onward, secret=start_browser_session(actor, keep=onward.keep))
    return Entry(actor.email, onward, step=_keep(actor, password_hash, onward))


def enter_program(actor: Actor, password_hash: str | None, device: str | None) -> MfaRequired | tuple[Any, ...]:
    """The same for a program: arguments of grant_tokens, or what it still owes."""
    methods = methods_of(actor.id)
    if not methods:
        _arrive(actor, device)
        return start_tokens(actor)
    token = _keep(actor, password_hash, Onward())
    return MfaRequired(mfa_token=token, methods=methods, expires_in=int(LIFE.total_seconds()))


@transactional
def show_step(token: str) -> Due:
    """The step that waits under this secret. Raises Unauthenticated where it is over."""
    _, row = _find(token)
    return Due(row.email, methods_of(row.id))


def finish_step(token: str, wish: FactorProof, origin: Origin) -> Entry:
    """Do the second step in a browser. Raises Unauthenticated for a wrong or used proof and a step that is over,
    Limited, Invalid."""

    def start(actor: Actor, said: SecondStep) -> Entry:
        return Entry(actor.email, Onward(said.next, said.keep), secret=start_browser_session(actor, keep=said.keep))

    return _finish(token, wish, origin, start)


def finish_program_step(wish: MfaAnswer, origin: Origin) -> tuple[TokenGrant, str]:
    """The same of a program; returns its tokens and the account's e-mail."""
    started, email = _finish(wish.mfa_token, wish, origin, lambda actor, _: (start_tokens(actor), actor.email))
    return grant_tokens(*started), email


@transactional
def ask_passkey(wish: PasskeyAsk, actor: Actor | None) -> PasskeyOptions:
    """Options for the browser. Raises Unauthenticated where the second step is over."""
    if wish.mfa_token is not None:
        return ask_signature(_find(wish.mfa_token)[1].id)
    return ask_signature(actor.id if actor else None)


def enter_by_passkey(wish: PasskeyAnswer, origin: Origin, onward: Onward) -> Entry:
    """Sign a browser in by a passkey alone, which has proven who used it. Raises Unauthenticated, Limited."""
    return _by_passkey(
        wish, origin, lambda actor: Entry(actor.email, onward, secret=start_browser_session(actor, keep=onward.keep))
    )


def enter_program_by_passkey(wish: PasskeyAnswer, origin: Origin) -> TokenGrant:
    """The same for a program."""
    return grant_tokens(*_by_passkey(wish, origin, start_tokens))


def _by_passkey(wish: PasskeyAnswer, origin: Origin, start: Callable[[Actor], R]) -> R:
    result, fault = _try_passkey(wish, origin, start)
    if fault is not None:
        raise Unauthenticated(WORDS[fault], code=fault)
    return result  # type: ignore[return-value]


@transactional
def _try_passkey(wish: PasskeyAnswer, origin: Origin, start: Callable[[Actor], R]) -> tuple[R | None, str | None]:
    attempts.refuse_if_limited("passkey", origin.address, inside=True)
    passkey, fault = use_passkey(wish.credential, None)
    row = db.session.execute(live_account_by_uuid(passkey.user_uuid)).first() if passkey else None
    if fault is not None or row is None:
        fault = fault or "wrong_passkey"
        attempts.note_failure("passkey", origin.address)
        record(stranger(origin), "session.refused", Target("user", row.uuid if row else None),
               {"reason": (None, fault.replace("_", " "))})  # fmt: skip
        return None, fault
    actor = _actor(row, origin)
    _arrive(actor, devices.device_for(origin.device, email_key(row.email)))
    return start(actor), None


def _finish(token: str, wish: FactorProof, origin: Origin, start: Callable[[Actor, SecondStep], R]) -> R:
    result, fault = _try(token, wish, origin, start)
    if fault is not None:
        raise Unauthenticated(WORDS[fault], code=fault)
    return result  # type: ignore[return-value]


@transactional
def _try(
    token: str, wish: FactorProof, origin: Origin, start: Callable[[Actor, SecondStep], R]
) -> tuple[R | None, str | None]:
    said, row = _find(token)
    actor = _actor(row, origin)
    fault = try_factor(actor, wish)
    if fault is not None:
        return None, fault
    if take_challenge(token, SecondStep) is None:  # a twin was first: what was used is unused again
        raise _over()
    _arrive(actor, devices.device_for(origin.device, email_key(row.email)))
    return start(actor, said), None


def _find(token: str) -> tuple[SecondStep, Any]:
    asked = look_at_challenge(token, SecondStep)
    row = db.session.execute(live_account_by_uuid(asked.said.user)).first() if asked else None
    if asked is None or row is None or _mark(row.password_hash) != asked.said.mark:
        raise _over()
    return asked.said, row


def _keep(actor: Actor, password_hash: str | None, onward: Onward) -> str:
    step = SecondStep(user=actor.uuid, mark=_mark(password_hash), next=onward.next, keep=onward.keep)
    return keep_challenge(step, actor.id)


def _arrive(actor: Actor, device: str | None) -> None:
    attempts.forgive(email_key(actor.email), actor.address, device)
    devices.tell_of_new_device(actor, known=device is not None)


def _actor(row: Any, origin: Origin) -> Actor:
    """The account as an actor who has shown more than a password."""
    known = replace(stranger(origin), id=row.id, uuid=row.uuid, email=row.email, name=row.name, locale=row.locale)
    return replace(known, time_zone=row.time_zone, roles=frozenset(), permissions=frozenset(), second_factor=True)


def _mark(password_hash: str | None) -> str:
    return keyed_digest(password_hash or "none", "second step")[:22]


def _over() -> Unauthenticated:
    return Unauthenticated(OVER, code="mfa_over")
