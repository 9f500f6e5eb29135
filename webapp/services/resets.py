"""Forgotten passwords: a link to the account's address, good once and for an hour, bound to the password it replaces.

Whether an address has an account shows in its own mail alone: answer, statements and work are the same.
"""

from dataclasses import replace
from datetime import datetime, timedelta
from typing import Annotated, Any
from uuid import UUID

from webapp.config import current_settings
from webapp.db import db, read_row, transactional
from webapp.errors import Gone
from webapp.infra.clock import now
from webapp.infra.crypto import keyed_digest
from webapp.infra.links import read_words, sign_words
from webapp.models.users import live_account, live_account_by_uuid
from webapp.policies import Actor, system_actor
from webapp.services import attempts, passwords
from webapp.services.credentials import set_password, tell_password_changed
from webapp.services.events import Target, record
from webapp.services.inputs import Input, Line
from webapp.services.mails import Recipient, send_mail
from webapp.services.passwords import Password
from webapp.services.sessions import Origin, end_sessions_of
from webapp.services.tokens import revoke_tokens_of
from webapp.services.users import Email, email_key

LIFE = timedelta(hours=1)
OVER = "This link was used, or is over. Ask for a new one."


class ForgottenPassword(Input):
    """The address of an account whose password nobody knows any more."""

    email: Email


class PasswordReset(Input):
    """The token of a mailed link, and the new password."""

    token: Annotated[str, Line(2000)]
    password: Password


@transactional
def ask_reset(wish: ForgottenPassword, origin: Origin) -> None:
    """Mail a link that sets a new password, or that there is no account to set one for. At most three in 15 minutes."""
    account = email_key(wish.email)
    if not attempts.may_mail(account):
        return
    row = db.session.execute(live_account(account)).first()
    if row is None:
        send_mail(None, "no_account", Recipient(wish.email), {"address": origin.address or ""})
    else:
        send_reset_link(row, now() + LIFE, "password_reset", {"address": origin.address or ""})
    record(stranger(origin), "password.reset_asked", Target("user", row.uuid if row else None))


def send_reset_link(row: Any, until: datetime, template: str, variables: dict[str, Any]) -> None:
    """Mail the link to the account of this row (see live_account). Must run inside a transaction."""
    token = sign_words("password reset", until, user=str(row.uuid), now=_mark(row.password_hash))
    url = f"{current_settings().origin}/reset-password?token={token}"
    to = Recipient(row.email, row.name, row.locale, row.time_zone)
    send_mail(None, template, to, {"url": url, "until": until.isoformat(), **variables})


def check_reset(token: str) -> str:
    """The e-mail of the account whose password this link sets. Raises Gone."""
    return str(_account(token).email)


def reset_password(wish: PasswordReset, origin: Origin) -> str:
    """Set the password and end every session of the account; returns its e-mail. Of two at once one wins.

    Raises Gone for a link that was used or is over, Invalid for a weak password.
    """
    row = _account(wish.token)
    passwords.refuse_weak(wish.password, (row.name, row.email))
    with passwords.turn() as hashing:
        new_hash = hashing.make(wish.password)
    _reset(row, new_hash, origin)
    return str(row.email)


@transactional
def _reset(row: Any, new_hash: str, origin: Origin) -> None:
    if not set_password(row.id, row.password_hash, new_hash):
        raise Gone(OVER)
    actor = replace(stranger(origin), id=row.id, uuid=row.uuid, email=row.email, name=row.name)
    record(actor, "password.reset", Target("user", row.uuid, owner_id=row.id))
    end_sessions_of(actor, row.id, "password reset")
    revoked = revoke_tokens_of(actor, row.id, "password reset")
    tell_password_changed(actor, Recipient(row.email, row.name, row.locale, row.time_zone), revoked)


def _account(token: str) -> Any:
    said = read_words("password reset", token)
    row = read_row(live_account_by_uuid(UUID(said["user"]))) if said else None
    if said is None or row is None or _mark(row.password_hash) != said["now"]:
        raise Gone(OVER)
    return row


def stranger(origin: Origin) -> Actor:
    """Who acts before it is known who it is."""
    nobody = system_actor(origin.request_id)
    return replace(nobody, address=origin.address, agent=origin.agent)


def _mark(password_hash: str | None) -> str:
    return keyed_digest(password_hash or "none yet", "password reset")[:22]
