"""Visits to a provider of OpenID Connect: kept ten minutes, for one browser, each good for one return."""

import secrets
from datetime import timedelta
from typing import TypeVar

import msgspec
from sqlalchemy import insert

from webapp.db import db, read_row
from webapp.infra.clock import now
from webapp.infra.crypto import in_row
from webapp.infra.idtokens import Claimed
from webapp.models.identities import OidcVisit, any_visit, visit_taken, visits_over
from webapp.services.sessions import hash_of

LIFE = timedelta(minutes=10)


class Away(msgspec.Struct, frozen=True, kw_only=True, tag="away"):
    """Somebody whom we sent to the provider; `user_id` is who wants to link, None for who wants to sign in."""

    nonce: str
    verifier: str
    next: str | None
    user_id: int | None


class Proven(msgspec.Struct, frozen=True, kw_only=True, tag="proven"):
    """Somebody who came back, and has yet to agree to linking: as `user_id`, or by the password of that address."""

    claimed: Claimed
    next: str | None
    user_id: int | None


V = TypeVar("V", Away, Proven)


def new_secret() -> str:
    """256 random bits for an address or a cookie."""
    return secrets.token_urlsafe(32)


def keep_visit(issuer: str, key: str, browser: str, visit: Away | Proven) -> str:
    """Remember it under a new secret, which is returned. Must run inside a transaction."""
    moment = now()
    db.session.execute(visits_over(moment))
    sealed = msgspec.json.encode(visit).decode()
    db.session.execute(insert(OidcVisit).values(
        key=hash_of(key), browser=hash_of(browser), issuer=issuer, stage=_stage(type(visit)),
        sealed=in_row(sealed, hash_of(key)),
        expires_at=moment + LIFE,
    ))  # fmt: skip
    return key


def look_at_visit(issuer: str, key: str, browser: str, kind: type[V]) -> V | None:
    """A visit that goes on."""
    row = read_row(any_visit(hash_of(key), hash_of(browser), _stage(kind), now()))
    return msgspec.json.decode(row.sealed, type=kind) if row and row.issuer == issuer else None


def take_visit(issuer: str, key: str, browser: str, kind: type[V]) -> V | None:
    """The same, and it is over: a second return finds nothing. Must run inside a transaction."""
    row = db.session.execute(visit_taken(hash_of(key), hash_of(browser), _stage(kind), now())).first()
    return msgspec.json.decode(row.sealed, type=kind) if row and row.issuer == issuer else None


def _stage(kind: type) -> str:
    return str(kind.__struct_config__.tag)  # type: ignore[attr-defined]
