"""Changing one's e-mail: a link to the new address proves it, the old one is told."""

from datetime import timedelta
from typing import Annotated, Any
from uuid import UUID

from webapp.config import current_settings
from webapp.db import after_commit, db, read_row, transactional
from webapp.errors import Gone
from webapp.infra.clock import now
from webapp.infra.crypto import keyed_digest
from webapp.infra.links import read_words, sign_words
from webapp.models.accounts import any_account
from webapp.models.users import live_account_by_uuid, live_user_by_email
from webapp.policies import Actor, require
from webapp.services import attempts
from webapp.services.accounts import move_account
from webapp.services.credentials import prove_if_any
from webapp.services.events import Target, record
from webapp.services.inputs import Input, Line
from webapp.services.mails import Recipient, send_mail
from webapp.services.passwords import Password
from webapp.services.resets import stranger
from webapp.services.sessions import Origin, forget_identities
from webapp.services.users import Email, email_key

LIFE = timedelta(hours=24)
OVER = "This link was used, or is over. Change your address again."


class EmailChange(Input):
    """The new address, and the present password of an account that has one."""

    email: Email
    current_password: Password | None = None


class EmailConfirmation(Input):
    """The token of a mailed link."""

    token: Annotated[str, Line(2000)]


def change_email(actor: Actor, wish: EmailChange) -> None:
    """Mail a link to the new address; until it is opened nothing changes. The answer never tells whether it is taken.

    Raises Invalid for a wrong password, Limited.
    """
    require(actor, "account.secure")
    password_hash = prove_if_any(actor, wish.current_password)
    _ask(actor, wish.email, password_hash)


@transactional
def _ask(actor: Actor, email: str, password_hash: str | None) -> None:
    key, until, origin = email_key(email), now() + LIFE, current_settings().origin
    if not attempts.may_mail(key):
        return
    taken = db.session.scalar(live_user_by_email(key))
    if taken is not None and taken.id != actor.id:
        to = Recipient(taken.email, taken.name, taken.locale, taken.time_zone)
        send_mail(actor, "address_taken", to, {"sign_in": f"{origin}/sign-in", "reset": f"{origin}/forgot-password"})
    else:
        mark = _mark(actor.email, password_hash)
        token = sign_words("email change", until, user=str(actor.uuid), email=email, now=mark)
        to = Recipient(email, actor.name, actor.locale, actor.time_zone)
        send_mail(actor, "confirm_email", to, {"url": f"{origin}/confirm-email?token={token}",
                                               "until": until.isoformat()})  # fmt: skip
    record(actor, "email.change_asked", Target("user", actor.uuid, owner_id=actor.id))


def check_change(token: str) -> str:
    """The new address in this link. Raises Gone."""
    return _said(token)[0]["email"]


def confirm_change(wish: EmailConfirmation, origin: Origin) -> None:
    """Give the account its new address. Raises Gone, Conflict for an address that was taken meanwhile."""
    said, row = _said(wish.token)
    _move(said["email"], row, origin)


@transactional
def _move(email: str, row: Any, origin: Origin) -> None:
    user = db.session.scalar(any_account(row.uuid))
    if user is None or user.deleted_at is not None or user.email != row.email:
        raise Gone(OVER)
    move_account(user, email)
    db.session.flush()
    target = Target("user", user.uuid, user.name, owner_id=user.id)
    record(stranger(origin), "user.changed", target, {"email": (row.email, email)})
    after_commit(forget_identities)


def _said(token: str) -> tuple[dict[str, str], Any]:
    said = read_words("email change", token)
    row = read_row(live_account_by_uuid(UUID(said["user"]))) if said else None
    if said is None or row is None or said["now"] != _mark(row.email, row.password_hash):
        raise Gone(OVER)
    return said, row


def _mark(email: str, password_hash: str | None) -> str:
    return keyed_digest(f"{email}\0{password_hash}", "email change")[:22]
