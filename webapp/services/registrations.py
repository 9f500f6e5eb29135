"""Registering: an account begins when its e-mail is confirmed by a mailed link and the password that was chosen.

The password keeps out whoever registered somebody else's address: its owner, who gets the link, does not know it.
Whether an address has an account shows in its own mail alone.
"""

from datetime import timedelta
from typing import Annotated
from uuid import UUID

from sqlalchemy import delete

from webapp.config import current_settings
from webapp.db import db, read_row, transactional
from webapp.errors import Gone, Invalid, Refused
from webapp.infra.clock import now
from webapp.infra.links import read_words, sign_words
from webapp.models.registrations import (
    Registration,
    any_last_registration,
    any_registration,
    registrations_over,
)
from webapp.models.users import User, live_user_by_email
from webapp.policies import MEMBER
from webapp.services import attempts, passwords
from webapp.services.auth import SignIn
from webapp.services.events import Target, record
from webapp.services.inputs import Input, Line
from webapp.services.mails import Recipient, send_mail
from webapp.services.passwords import Password
from webapp.services.resets import ForgottenPassword, stranger
from webapp.services.sessions import Origin
from webapp.services.settings import in_force
from webapp.services.users import NewUser, Person, email_key, hash_new_password, insert_user

LIFE = timedelta(hours=24)
OVER = "This link was used, or is over. Register again, or have it sent again."
CLOSED = {
    "invitation": "Registration is by invitation here. Ask an administrator for one.",
    "closed": "Registration is closed here.",
}


class Confirmation(Input):
    """The token of a mailed link, and the password that was chosen when registering."""

    token: Annotated[str, Line(2000)]
    password: Password


class Resend(ForgottenPassword):
    """The address whose link shall be mailed again."""


def registration_open() -> bool:
    """Whether anybody may register."""
    return in_force().registration == "open"


def refuse_closed() -> None:
    """Raise Refused, with the reason, where registration is not open."""
    mode = in_force().registration
    if mode != "open":
        raise Refused(CLOSED[mode], code="registration_closed")


def register(wish: NewUser, origin: Origin) -> None:
    """Mail a link that makes the account, or, where there is one already, that there is.

    Raises Refused where registration is not open, Invalid for a weak password.
    """
    refuse_closed()
    password_hash = hash_new_password(wish.name, wish.email, wish.password)
    _register(wish, password_hash, origin)


@transactional
def _register(wish: NewUser, password_hash: str, origin: Origin) -> None:
    key, moment = email_key(wish.email), now()
    if not attempts.may_mail(key):
        return
    taken = db.session.scalar(live_user_by_email(key))
    registration = Registration(email=wish.email, email_key=key, name=wish.name, password_hash=password_hash,
                                created_at=moment, expires_at=moment + LIFE)  # fmt: skip
    db.session.add(registration)
    db.session.flush()
    _write(wish.email, registration, taken)
    record(stranger(origin), "registration.asked", Target("registration", registration.uuid))


@transactional
def resend_confirmation(wish: Resend, origin: Origin) -> None:
    """Mail the link again, or that there is nothing to confirm. Raises Refused where registration is not open."""
    refuse_closed()
    key = email_key(wish.email)
    if not attempts.may_mail(key):
        return
    taken = db.session.scalar(live_user_by_email(key))
    registration = db.session.scalar(any_last_registration(key, now()))
    _write(wish.email, registration, taken)
    record(stranger(origin), "registration.asked", Target("registration", None))


def _write(email: str, registration: Registration | None, taken: User | None) -> None:
    origin = current_settings().origin
    if taken is not None:
        to = Recipient(taken.email, taken.name, taken.locale, taken.time_zone)
        pages = {"sign_in": f"{origin}/sign-in", "reset": f"{origin}/forgot-password"}
        send_mail(None, "address_taken", to, pages)
    elif registration is not None:
        until = registration.expires_at
        token = sign_words("registration", until, id=str(registration.uuid))
        to = Recipient(registration.email)  # the name is a stranger's words: nobody is sent those
        url = f"{origin}/verify-email?token={token}"
        send_mail(None, "confirm_address", to, {"url": url, "until": until.isoformat()})
    else:
        send_mail(None, "no_account", Recipient(email), {"address": ""})


def check_confirmation(token: str) -> str:
    """The e-mail that this link confirms. Raises Gone."""
    return _pending(token).email


def confirm_email(wish: Confirmation, origin: Origin) -> SignIn:
    """Make the account; returns what signs it in. Of two at once one makes it.

    Raises Gone for a link that is over, Invalid for another password than was chosen, Limited, Conflict where the
    address has an account by now, Refused where registration is not open any more.
    """
    refuse_closed()
    pending = _pending(wish.token)
    subject = f"registration {pending.uuid}"
    with passwords.turn() as hashing:
        attempts.refuse_if_limited(subject, origin.address)
        if not hashing.matches(pending.password_hash, wish.password):
            _refuse(subject, origin)
            raise Invalid.field("password", "wrong_password", "This is not the password that was chosen.")
    _confirm(pending, origin)
    return SignIn(email=pending.email, password=wish.password)


@transactional
def _confirm(pending: Registration, origin: Origin) -> None:
    taken_out = delete(Registration).where(Registration.id == pending.id).returning(Registration.id)
    if not db.session.execute(taken_out).all():
        raise Gone(OVER)
    person = Person(email=pending.email, name=pending.name)
    actor = insert_user(stranger(origin), person, MEMBER, pending.password_hash)
    record(actor, "registration.confirmed", Target("user", actor.uuid, owner_id=actor.id))


@transactional
def _refuse(subject: str, origin: Origin) -> None:
    attempts.note_failure(subject, origin.address)


@transactional
def sweep_registrations() -> int:
    """Forget those that nobody confirmed in time. Returns how many."""
    return len(db.session.execute(registrations_over(now()).returning(Registration.id)).all())


def _pending(token: str) -> Registration:
    said = read_words("registration", token)
    columns = tuple(Registration.__table__.columns)
    statement = any_registration(UUID(said["id"]), now()).with_only_columns(*columns) if said else None
    row = read_row(statement) if statement is not None else None
    if row is None:
        raise Gone(OVER)
    return Registration(**row._mapping)
