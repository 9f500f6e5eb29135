"""Step-up: a session shows again that it is its owner's, before deeds that must not be a thief's."""

from datetime import timedelta
from typing import Annotated, Literal

from webapp.db import transactional
from webapp.errors import Invalid, Refused
from webapp.infra.clock import now
from webapp.policies import Actor, require
from webapp.services import attempts
from webapp.services.credentials import has_password, prove_password
from webapp.services.events import Target, record
from webapp.services.factors import methods_of, refuse_wrong
from webapp.services.inputs import Line
from webapp.services.passwords import Password
from webapp.services.proofs import FactorProof, try_factor
from webapp.services.sessions import actor_now, note_proof
from webapp.services.users import email_key

FRESH = timedelta(minutes=15)


class Confirmation(FactorProof):
    """The password, or a factor as at sign-in."""

    method: Literal["password", "totp", "passkey", "recovery_code"] = "password"  # type: ignore[assignment]
    password: Password | None = None


class ConfirmationForm(Confirmation):
    """The same from a page, and where to go on."""

    next: Annotated[str, Line(2000)] | None = None

    def proof(self) -> Confirmation:
        """As the service takes it."""
        return Confirmation(method=self.method, password=self.password, code=self.code, credential=self.credential)


def ways_to_confirm(actor: Actor) -> list[str]:
    """By what the actor can; nothing for who comes by a provider alone: they sign in once more."""
    require(actor, "account.read")
    more_than_password = actor.asks_factor and not actor.second_factor
    methods = _methods(actor)
    return methods if (methods and more_than_password) or not has_password(actor) else [*methods, "password"]


def confirm(actor: Actor, wish: Confirmation) -> None:
    """The session counts as proven from now on. Raises Invalid for a wrong proof, Limited, Refused for who acts as
    somebody else."""
    require(actor, "account.read")
    if actor.impersonator is not None:
        raise Refused("Nobody confirms to be somebody else.", code="acting")
    if wish.method == "password":
        if wish.password is None:
            raise Invalid.field("password", "missing", "Give your password.")
        prove_password(actor, wish.password, "password")
        _password_shown(actor)
    elif (fault := _try(actor, wish)) is not None:
        refuse_wrong(fault)


def factor_due(actor: Actor) -> str | None:
    """What a role of the actor asks for that is not there: `set_up` a factor, or `show` it in this session; asks the
    database before it says so."""
    return _due(actor) and _due(actor_now(actor))


def proven_lately(actor: Actor) -> bool:
    """Whether the session was proven within a quarter of an hour; asks the database before it says no."""
    return _lately(actor) or _lately(actor_now(actor))


def _due(actor: Actor) -> str | None:
    if not actor.asks_factor or (actor.has_factor and (actor.second_factor or actor.token_id is not None)):
        return None
    return "show" if actor.has_factor else "set_up"


def _lately(actor: Actor) -> bool:
    """A personal token is asked for nothing: it was made in a session that had just been proven, with less power."""
    if actor.token_id is not None:
        return True
    return actor.proven_at is not None and now() - actor.proven_at < FRESH


@transactional
def _methods(actor: Actor) -> list[str]:
    return methods_of(actor.id)


@transactional
def _try(actor: Actor, wish: Confirmation) -> str | None:
    fault = try_factor(actor, wish)
    if fault is None:
        _confirmed(actor, wish.method, second_factor=True)
    return fault


@transactional
def _password_shown(actor: Actor) -> None:
    attempts.forgive(email_key(actor.email), actor.address, f"session {actor.session_id}")
    _confirmed(actor, "password", second_factor=False)


def _confirmed(actor: Actor, method: str, *, second_factor: bool) -> None:
    note_proof(actor, second_factor=second_factor)
    record(actor, "session.confirmed", Target("user", actor.uuid, owner_id=actor.id), {"method": (None, method)})
