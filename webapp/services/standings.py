"""Suspending, restoring and deleting accounts, and the sign-ins of others, for administrators.

Each ends every session of the account in its transaction: cookies, access tokens and refresh tokens die with it.
"""

from collections.abc import Callable
from datetime import timedelta
from uuid import UUID

from webapp.db import after_commit, db, read_row, transactional
from webapp.errors import Conflict, Missing
from webapp.infra.clock import now
from webapp.models.record import live
from webapp.models.users import User, live_account_by_uuid, live_user_by_email
from webapp.policies import Actor, require, system_actor
from webapp.services.accounts import AccountView, find_account, refuse_without_admin, show_user, shown
from webapp.services.cursors import Page
from webapp.services.events import Target, record
from webapp.services.mails import Recipient, send_mail
from webapp.services.resets import send_reset_link
from webapp.services.sessions import (
    SessionFilter,
    SessionView,
    end_sessions_of,
    end_their_session,
    forget_identities,
    sessions_of,
)
from webapp.services.settings import in_force
from webapp.services.tokens import TokenFilter, TokenView, revoke_tokens_of, tokens_of
from webapp.services.users import email_key

RESET = timedelta(hours=24)  # that a link is good which an administrator had sent


@transactional
def suspend_user(actor: Actor, user_id: UUID) -> AccountView:
    """Let the account sign in no more until it is restored. Raises Missing, Conflict, Refused."""
    return _set(actor, user_id, "user.suspended", "suspended", _suspend)


def suspend_by_email(email: str) -> AccountView:
    """The same by the account's address, for whoever runs the vault's commands. Raises Missing, Conflict."""
    row = read_row(live(User, User.uuid).where(User.email_key == email_key(email)))
    if row is None:
        raise Missing("There is no account with this e-mail.")
    return suspend_user(system_actor(), row.uuid)


@transactional
def delete_user(actor: Actor, user_id: UUID, expected: int | None = None) -> None:
    """Delete the account; until it is erased it can be restored. Raises Missing, Stale, Conflict, Refused."""
    _set(actor, user_id, "user.deleted", "deleted", close_account, expected)


@transactional
def restore_user(actor: Actor, user_id: UUID) -> AccountView:
    """Take back a deletion, or else a suspension. Raises Missing, Refused, Conflict for an address taken meanwhile."""
    require(actor, "users.write")
    user, _ = find_account(actor, user_id, None)
    if user.deleted_at is not None:
        if db.session.scalar(live_user_by_email(user.email_key)):
            raise Conflict("Another account has this e-mail by now.", code="email_taken")
        user.deleted_at = None
    elif user.suspended_at is not None:
        user.suspended_at = None
    else:
        return shown(user_id)
    db.session.flush()
    record(actor, "user.restored", Target("user", user.uuid, user.name, owner_id=user.id))
    after_commit(forget_identities)
    return shown(user_id)


def _set(
    actor: Actor, user_id: UUID, event: str, reason: str, act: Callable[[User], None], expected: int | None = None
) -> AccountView:
    require(actor, "users.write")
    user, _ = find_account(actor, user_id, expected)
    if user.id == actor.id:
        raise Conflict("You cannot do this to your own account here.", code="own_account")
    if user.deleted_at is not None:
        raise Missing("This account is deleted already.")
    act(user)
    db.session.flush()
    refuse_without_admin()
    end_sessions_of(actor, user.id, f"account {reason}")
    revoke_tokens_of(actor, user.id, f"account {reason}")
    record(actor, event, Target("user", user.uuid, user.name, owner_id=user.id))
    after_commit(forget_identities)
    return shown(user_id)


def _suspend(user: User) -> None:
    user.suspended_at = user.suspended_at or now()


def close_account(user: User) -> None:
    """Mark it as deleted and tell its owner. Must run inside a transaction."""
    user.deleted_at = now()
    until = user.deleted_at + timedelta(days=in_force().account_retention_days)
    to = Recipient(user.email, user.name, user.locale, user.time_zone)
    send_mail(None, "account_deleted", to, {"until": until.isoformat()})


def send_reset(actor: Actor, user_id: UUID) -> None:
    """Mail the owner a link that sets a new password, good for a day. Raises Missing, Conflict, Refused."""
    require(actor, "users.write")
    _send_reset(actor, user_id)


@transactional
def _send_reset(actor: Actor, user_id: UUID) -> None:
    find_account(actor, user_id, None)
    row = db.session.execute(live_account_by_uuid(user_id)).first()
    if row is None:
        raise Conflict("This account cannot sign in with a password.", code="no_password")
    send_reset_link(row, now() + RESET, "password_reset", {"address": ""})
    record(actor, "password.reset_sent", Target("user", user_id, row.name, owner_id=row.id))


def list_user_sessions(actor: Actor, user_id: UUID, wish: SessionFilter) -> Page[SessionView]:
    """The living sessions of an account. Raises Missing."""
    require(actor, "users.read")
    return sessions_of(actor, _number(actor, user_id), wish)


@transactional
def end_user_sessions(actor: Actor, user_id: UUID) -> int:
    """End all of them; returns how many there were. Raises Missing, Refused."""
    require(actor, "users.write")
    user, _ = find_account(actor, user_id, None)
    return end_sessions_of(actor, user.id, "ended by an administrator")


@transactional
def end_user_session(actor: Actor, user_id: UUID, session_id: UUID, expected: int | None = None) -> None:
    """End one of them. Raises Missing, Stale, Refused."""
    require(actor, "users.write")
    user, _ = find_account(actor, user_id, None)
    end_their_session(actor, user.id, session_id, expected)


def list_user_tokens(actor: Actor, user_id: UUID, wish: TokenFilter) -> Page[TokenView]:
    """The personal tokens of an account. Raises Missing."""
    require(actor, "users.read")
    return tokens_of(_number(actor, user_id), wish)


@transactional
def revoke_user_tokens(actor: Actor, user_id: UUID) -> int:
    """Revoke all of them; returns how many there were. Raises Missing, Refused."""
    require(actor, "users.write")
    user, _ = find_account(actor, user_id, None)
    return len(revoke_tokens_of(actor, user.id, "revoked by an administrator"))


def _number(actor: Actor, user_id: UUID) -> int:
    show_user(actor, user_id)
    row = read_row(live(User, User.id).where(User.uuid == user_id))
    return row.id if row else 0  # a deleted account has no session
