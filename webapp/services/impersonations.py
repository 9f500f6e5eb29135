"""Acting as somebody else: half an hour, for a reason, with at most what both may do; both names stand in the trail.

The session hangs on the administrator's own and ends with it; see docs/decisions/0037.
"""

import secrets
from typing import Annotated
from uuid import UUID

import msgspec

from webapp.config import current_settings
from webapp.db import transactional
from webapp.errors import Conflict, Missing, Refused
from webapp.infra.clock import now
from webapp.models.sessions import Session
from webapp.models.users import User
from webapp.policies import ADMIN, Actor, require
from webapp.services.access_tokens import issue_access_token
from webapp.services.accounts import find_account
from webapp.services.events import Target, record
from webapp.services.inputs import Input, Line
from webapp.services.mails import Recipient, send_mail
from webapp.services.sessions import ACTING, end_family, start_acting
from webapp.services.settings import in_force


class Impersonation(Input):
    """Why somebody acts as another person; it is told to that person and stands in the audit trail."""

    reason: Annotated[str, Line(300)]


class ImpersonationGrant(msgspec.Struct, frozen=True, kw_only=True):
    """An access token of somebody else's account, good for `expires_in` seconds. There is no refresh token."""

    access_token: str
    token_type: str = "Bearer"  # noqa: S105
    expires_in: int
    user_id: UUID


def act_in_browser(actor: Actor, user_id: UUID, wish: Impersonation) -> str:
    """Begin; returns the secret for the browser's cookie. Raises Missing, Conflict, Refused."""
    secret = secrets.token_urlsafe(32)
    _begin(actor, user_id, wish, secret)
    return secret


def act_in_program(actor: Actor, user_id: UUID, wish: Impersonation) -> ImpersonationGrant:
    """The same for a program."""
    session = _begin(actor, user_id, wish, None)
    token = issue_access_token(user_id, session, ACTING)
    return ImpersonationGrant(access_token=token, expires_in=int(ACTING.total_seconds()), user_id=user_id)


@transactional
def _begin(actor: Actor, user_id: UUID, wish: Impersonation, secret: str | None) -> UUID:
    require(actor, "users.impersonate")
    if actor.impersonator is not None or actor.token_id is not None or actor.session_id is None:
        raise Refused("Sign in as yourself for this.", code="needs_session")
    user, roles = find_account(actor, user_id, None)
    _refuse(actor, user, roles)
    session: Session = start_acting(actor, user.id, secret)
    record(actor, "user.impersonated", Target("user", user.uuid, user.name, owner_id=user.id),
           {"reason": (None, wish.reason), "session": (None, str(session.uuid))})  # fmt: skip
    if in_force().impersonation_mail == "sent":
        to = Recipient(user.email, user.name, user.locale, user.time_zone)
        send_mail(actor, "impersonated", to, {"who": actor.name, "email": actor.email, "reason": wish.reason,
                                              "at": now().isoformat(), "minutes": int(ACTING.total_seconds() / 60),
                                              "url": f"{current_settings().origin}/account/sessions"})  # fmt: skip
    return session.uuid


def _refuse(actor: Actor, user: User, roles: frozenset[str]) -> None:
    """What find_account has not refused: it knows that the account may do no more than the actor."""
    if user.id == actor.id:
        raise Conflict("You are this person already.", code="own_account")
    if ADMIN in roles:
        raise Refused("Nobody acts as an administrator.", code="beyond_yours")
    if user.deleted_at is not None or user.suspended_at is not None:
        raise Conflict("This account cannot sign in.", code="inactive")


@transactional
def end_impersonation(actor: Actor) -> None:
    """Stop acting as somebody else. Raises Missing for who acts as themselves."""
    if actor.impersonator is None or actor.session_id is None:
        raise Missing("You act as yourself.")
    record(actor, "user.impersonation_ended", Target("user", actor.uuid, actor.name, owner_id=actor.id))
    end_family(actor, actor.session_id, "impersonation ended")
