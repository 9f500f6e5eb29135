"""Codes of an app (TOTP, RFC 6238): thirty seconds, six digits, a step of drift; each step is used once."""

from typing import Annotated

import msgspec
from sqlalchemy import delete

from webapp.config import current_settings
from webapp.db import db, transactional
from webapp.errors import Conflict, Missing
from webapp.infra.clock import now
from webapp.models.factors import TOTP, Factor, live_totp_of, step_taken
from webapp.models.users import live_user
from webapp.policies import Actor, require
from webapp.services import attempts
from webapp.services.factors import FactorMade, keep_factor, refuse_wrong
from webapp.services.inputs import Input, Line

DRIFT = 1  # steps that the clocks of phone and server may be apart


class TotpCode(Input):
    """What the app shows; spaces do not matter."""

    code: Annotated[str, Line(20)]


class TotpSetup(msgspec.Struct, frozen=True, kw_only=True):
    """What an app needs: `uri` (otpauth://, what the picture holds), or `secret` to type. Nothing counts until
    the app's first code came back."""

    secret: str
    uri: str


@transactional
def start_totp(actor: Actor) -> TotpSetup:
    """A new secret for an app, in place of one that was never confirmed. Raises Conflict for who has an app."""
    import pyotp

    require(actor, "account.secure")
    db.session.execute(live_user(actor.id).with_for_update())
    before = db.session.scalar(live_totp_of(actor.id))
    if before is not None and before.confirmed_at is not None:
        raise Conflict("An app is set up already. Remove it before you set up another.", code="totp_exists")
    if before is not None:
        db.session.execute(delete(Factor).where(Factor.id == before.id, Factor.confirmed_at.is_(None)))
    secret = pyotp.random_base32()
    db.session.add(Factor(user_id=actor.id, kind=TOTP, name="", secret=secret))
    db.session.flush()
    return _setup(actor, secret)


@transactional
def show_totp_setup(actor: Actor) -> TotpSetup:
    """The one that waits for its first code. Raises Missing."""
    require(actor, "account.secure")
    return _setup(actor, _waiting(actor).secret or "")


def confirm_totp(actor: Actor, wish: TotpCode) -> FactorMade:
    """The app's first code: it counts from now on. Raises Missing, Invalid for a wrong code, Limited."""
    require(actor, "account.secure")
    made = _confirm(actor, wish)
    if made is None:
        refuse_wrong("wrong_code")
    return made


@transactional
def _confirm(actor: Actor, wish: TotpCode) -> FactorMade | None:
    db.session.execute(live_user(actor.id).with_for_update())
    account = f"totp setup {actor.uuid}"
    attempts.refuse_if_limited(account, actor.address, inside=True)
    factor = _waiting(actor)
    step = matching_step(factor.secret or "", wish.code)
    if step is None:
        attempts.note_failure(account, actor.address)
        return None
    attempts.forgive(account, actor.address)
    factor.confirmed_at, factor.last_step = now(), step
    return keep_factor(actor, factor)


def use_totp(user_id: int, code: str) -> str | None:
    """Use what the app shows; else why not: wrong_code or used_code. Must run inside a transaction."""
    factor = db.session.scalar(live_totp_of(user_id))
    step = matching_step(factor.secret or "", code) if factor and factor.confirmed_at else None
    if factor is None or step is None:
        return "wrong_code"
    return None if db.session.execute(step_taken(factor.id, step, now())).first() else "used_code"


def matching_step(secret: str, code: str) -> int | None:
    """The time step, now or one beside it, whose code this is."""
    import pyotp
    from pyotp.exceptions import OTPVerificationError

    plain = "".join(code.split())
    if len(plain) != 6 or not (plain.isascii() and plain.isdigit()):
        return None
    try:
        return pyotp.TOTP(secret).verify_and_get_timecode(plain, for_time=now().timestamp(), valid_window=DRIFT)
    except OTPVerificationError:
        return None


def _waiting(actor: Actor) -> Factor:
    factor = db.session.scalar(live_totp_of(actor.id))
    if factor is None or factor.confirmed_at is not None:
        raise Missing("No app waits for its first code. Start the set-up again.")
    return factor


def _setup(actor: Actor, secret: str) -> TotpSetup:
    import pyotp

    host = current_settings().origin.partition("://")[2]
    uri = pyotp.TOTP(secret).provisioning_uri(name=actor.email, issuer_name=f"Holdfast {host}")
    return TotpSetup(secret=secret, uri=uri)
