"""Challenges: what waits some minutes for one answer, under the hash of a secret of the browser or program."""

import secrets
from datetime import datetime, timedelta
from typing import Generic, Literal, NamedTuple, TypeVar
from uuid import UUID

import msgspec
from sqlalchemy import insert

from webapp.db import db
from webapp.infra.clock import now
from webapp.infra.crypto import in_row
from webapp.models.factors import Challenge, any_challenge, challenge_taken, challenges_over
from webapp.services.sessions import hash_of

LIFE = timedelta(minutes=10)


class SecondStep(msgspec.Struct, frozen=True, kw_only=True, tag="step"):
    """Somebody whose password, or whose provider, has said who they are. `mark` stands for the password of then."""

    user: UUID
    mark: str
    next: str | None = None
    keep: bool = False


class Signature(msgspec.Struct, frozen=True, kw_only=True, tag="signature"):
    """A random value that a passkey shall sign: to sign in, to prove more than a password, to be registered."""

    purpose: Literal["enter", "prove", "register"]


C = TypeVar("C", SecondStep, Signature)


class Asked(NamedTuple, Generic[C]):
    """A challenge, of whom something is asked (None: of whoever answers), until when."""

    said: C
    user_id: int | None
    expires_at: datetime


def keep_challenge(said: SecondStep | Signature, user_id: int | None) -> str:
    """Remember it; returns its secret, 256 random bits as base64url. Must run inside a transaction."""
    moment, secret = now(), secrets.token_urlsafe(32)
    db.session.execute(challenges_over(moment))
    sealed = msgspec.json.encode(said).decode()
    key = hash_of(secret)
    row = {"key": key, "kind": _kind(type(said)), "user_id": user_id, "sealed": in_row(sealed, key)}
    db.session.execute(insert(Challenge).values(**row, expires_at=moment + LIFE))
    return secret


def look_at_challenge(secret: str, kind: type[C]) -> Asked[C] | None:
    """One that goes on."""
    row = db.session.execute(any_challenge(hash_of(secret), _kind(kind), now())).first()
    return Asked(msgspec.json.decode(row.sealed, type=kind), row.user_id, row.expires_at) if row else None


def take_challenge(secret: str, kind: type[C]) -> Asked[C] | None:
    """The same, and it is over: a second answer finds nothing. Must run inside a transaction."""
    row = db.session.execute(challenge_taken(hash_of(secret), _kind(kind), now())).first()
    return Asked(msgspec.json.decode(row.sealed, type=kind), row.user_id, row.expires_at) if row else None


def _kind(kind: type) -> str:
    return str(kind.__struct_config__.tag)  # type: ignore[attr-defined]
