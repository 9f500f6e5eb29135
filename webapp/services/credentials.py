"""One's own password: proving that one knows it, changing it. A changed one ends every session of the account."""

from collections.abc import Callable

from sqlalchemy import update

from webapp.config import current_settings
from webapp.db import db, read_row, transactional
from webapp.errors import Invalid
from webapp.infra.clock import now
from webapp.models.users import Credential, any_password_of, live_account, live_user
from webapp.policies import Actor, require
from webapp.services import attempts, passwords
from webapp.services.events import Target, record
from webapp.services.inputs import Input
from webapp.services.mails import Recipient, send_mail
from webapp.services.passwords import Password
from webapp.services.sessions import end_sessions_of, start_browser_session
from webapp.services.tokens import revoke_tokens_of
from webapp.services.users import email_key


class PasswordChange(Input):
    """The present password of an account and the one that shall be it from now on."""

    current_password: Password
    password: Password


def change_password(actor: Actor, wish: PasswordChange) -> None:
    """Change the actor's own password and end every session, this one too.

    Raises Invalid for a wrong or a weak password, Limited.
    """
    _change(actor, wish)


def change_password_here(actor: Actor, wish: PasswordChange, *, keep: bool = False) -> str:
    """The same for a browser that goes on, as one that keeps its session or not; returns the new one's secret."""
    secret = _change(actor, wish, lambda: start_browser_session(actor, keep=keep))
    assert secret is not None  # noqa: S101
    return secret


def prove_password(actor: Actor, password: Password, field: str = "current_password") -> str:
    """The hash that the actor's present password has matched. Raises Invalid naming the field, or Limited.

    Failures count for this session: whoever found a browser open may guess no more than a stranger.
    """
    account, here = email_key(actor.email), f"session {actor.session_id}"
    with passwords.turn() as hashing:
        attempts.refuse_if_limited(account, actor.address, here)
        row = read_row(live_account(account))
        if not hashing.matches(row.password_hash if row else None, password):
            _refuse(actor, account, here)
            raise Invalid.field(field, "wrong_password", "This is not your password.")
    assert row is not None  # noqa: S101
    return str(row.password_hash)


def prove_if_any(actor: Actor, password: Password | None) -> str | None:
    """The same where the account has a password; one without has shown otherwise that it is its owner (step-up)."""
    if not has_password(actor):
        return None
    if password is None:
        raise Invalid.field("current_password", "missing", "Give your password.")
    return prove_password(actor, password)


def has_password(actor: Actor) -> bool:
    """Whether the account has one; who came by a provider has none until they set it by a mailed link."""
    return read_row(any_password_of(actor.id)) is not None


def set_password(user_id: int, old_hash: str | None, new_hash: str) -> bool:
    """Exchange the hash, or set the first, unless somebody was first. Must run inside a transaction."""
    if old_hash is None:
        db.session.execute(live_user(user_id).with_for_update())
        if db.session.scalar(any_password_of(user_id)):
            return False
        db.session.add(Credential(user_id=user_id, password_hash=new_hash, changed_at=now()))
        return True
    unchanged = (Credential.user_id == user_id) & (Credential.password_hash == old_hash)
    changed = update(Credential).where(unchanged).values(password_hash=new_hash, changed_at=now())
    return bool(db.session.execute(changed.returning(Credential.user_id)).all())


def tell_password_changed(actor: Actor, to: Recipient, revoked: list[str]) -> None:
    """Mail the owner that the password is another one now, and which tokens went. Must run inside a transaction."""
    variables = {"at": now().isoformat(), "address": actor.address or "", "tokens": revoked,
                 "reset": f"{current_settings().origin}/forgot-password"}  # fmt: skip
    send_mail(actor, "password_changed", to, variables)


def _change(actor: Actor, wish: PasswordChange, start: Callable[[], str] | None = None) -> str | None:
    require(actor, "account.secure")
    passwords.refuse_weak(wish.password, (actor.name, actor.email))
    old_hash = prove_password(actor, wish.current_password)
    with passwords.turn() as hashing:
        new_hash = hashing.make(wish.password)
    return _exchange(actor, old_hash, new_hash, start)


@transactional
def _exchange(actor: Actor, old_hash: str, new_hash: str, start: Callable[[], str] | None) -> str | None:
    if not set_password(actor.id, old_hash, new_hash):
        raise Invalid.field("current_password", "wrong_password", "Your password was changed in the meantime.")
    attempts.forgive(email_key(actor.email), actor.address, f"session {actor.session_id}")
    record(actor, "password.changed", Target("user", actor.uuid, owner_id=actor.id))
    end_sessions_of(actor, actor.id, "password changed")
    revoked = revoke_tokens_of(actor, actor.id, "password changed")
    tell_password_changed(actor, Recipient(actor.email, actor.name, actor.locale, actor.time_zone), revoked)
    return start() if start else None


@transactional
def _refuse(actor: Actor, account: str, here: str) -> None:
    attempts.note_failure(account, actor.address, here)
    record(actor, "password.refused", Target("user", actor.uuid, owner_id=actor.id))
