"""Refresh tokens: each is used once and names its successor; a stolen one is found out (RFC 9700, 4.14.2)."""

import secrets
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Annotated
from uuid import UUID

import msgspec

from webapp.config import current_settings
from webapp.db import db, transactional
from webapp.errors import Unauthenticated
from webapp.infra.clock import now
from webapp.infra.crypto import keyed_digest
from webapp.models.sessions import RefreshToken, Session, any_refresh_token, live_identity, session_seen
from webapp.policies import Actor
from webapp.services.access_tokens import issue_access_token
from webapp.services.inputs import Input, Line
from webapp.services.sessions import Origin, actor_of, end_family, hash_of, identity_from, start_program_session
from webapp.services.timeouts import session_end
from webapp.services.users import UserView, show_me

GRACE = timedelta(seconds=10)  # in which the same client may send a token again: a double submit, a lost answer


class Refresh(Input):
    """A refresh token to exchange for a fresh pair."""

    refresh_token: Annotated[str, Line(200)]


class TokenGrant(msgspec.Struct, frozen=True, kw_only=True):
    """A pair of tokens for a program (RFC 6749, 5.1) and the account they stand for; `expires_in` is seconds."""

    access_token: str
    token_type: str = "Bearer"  # noqa: S105
    expires_in: int
    refresh_token: str
    user: UserView


def start_tokens(actor: Actor) -> tuple[Actor, UUID, str]:
    """A program's session and the first refresh token of its family. Must run inside a transaction."""
    session = start_program_session(actor)
    return replace(actor, session_id=session.id), session.uuid, _issue(session.id, None, session.expires_at)


def grant_tokens(actor: Actor, session: UUID, refresh_token: str) -> TokenGrant:
    """The answer a program gets. Reads the account anew: it warms the memory for the first request with the token."""
    return TokenGrant(
        access_token=issue_access_token(actor.uuid, session), refresh_token=refresh_token, user=show_me(actor),
        expires_in=int(current_settings().access_token_life.total_seconds()),
    )  # fmt: skip


def refresh_tokens(wish: Refresh, origin: Origin) -> TokenGrant:
    """A fresh pair for a refresh token. Raises Unauthenticated; a used token that comes back ends its session.

    Within ten seconds the client that used a token may send it again and gets another pair.
    """
    rotated = _rotate(hash_of(wish.refresh_token), origin)
    if rotated is None:
        raise Unauthenticated("This refresh token is not valid any more. Sign in again.", code="refresh_token_invalid")
    return grant_tokens(*rotated)


@transactional
def _rotate(secret_hash: str, origin: Origin) -> tuple[Actor, UUID, str] | None:
    moment = now()
    token = db.session.scalar(any_refresh_token(secret_hash).with_for_update())
    if token is None or token.expires_at <= moment:
        return None
    row = db.session.execute(live_identity().where(Session.id == token.session_id)).first()
    identity = identity_from(row) if row else None
    if row is None or identity is None or identity.expires_at <= moment:
        return None
    actor = actor_of(identity, origin)
    client = keyed_digest(f"{origin.address}\0{origin.agent}", "refresh client")
    if token.used_at is None:
        token.used_at, token.used_by = moment, client
    elif token.used_by != client or moment - token.used_at > GRACE:
        end_family(actor, row.session_id, "refresh token used twice")
        return None
    expires_at = session_end(row.started_at, moment, brief=row.brief)
    db.session.execute(session_seen(row.session_id, moment, expires_at))
    return actor, row.session_uuid, _issue(row.session_id, secret_hash, expires_at)


def _issue(session_id: int, parent: str | None, expires_at: datetime) -> str:
    secret = secrets.token_urlsafe(32)
    db.session.add(RefreshToken(secret_hash=hash_of(secret), session_id=session_id, parent_hash=parent,
                                created_at=now(), expires_at=expires_at))  # fmt: skip
    return secret
