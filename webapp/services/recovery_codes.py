"""Recovery codes: ten of 120 random bits, shown once, kept as digests (which need neither key nor salt nor time from
112 bits on: ASVS 5.0, 6.5.2), each good for one sign-in without the factor at hand."""

import hashlib
import secrets

import msgspec
from sqlalchemy import delete, insert

from webapp.db import db, transactional
from webapp.errors import Conflict
from webapp.infra.clock import now
from webapp.models.factors import RecoveryCode, any_unused_codes_of, code_taken, live_factors_of
from webapp.models.record import any_state
from webapp.models.users import live_user
from webapp.policies import Actor, require
from webapp.services.events import Target, record

COUNT, LENGTH, GROUP = 10, 24, 4
ALPHABET = "23456789abcdefghijkmnpqrstuvwxyz"  # 32 characters, without 0 and o, 1 and l


class RecoveryCodes(msgspec.Struct, frozen=True, kw_only=True):
    """New ones; those before are dead. No answer shows them again."""

    codes: list[str]


@transactional
def make_codes(actor: Actor) -> RecoveryCodes:
    """Exchange the actor's recovery codes. Raises Conflict where there is no factor that they could stand in for."""
    require(actor, "account.secure")
    db.session.execute(live_user(actor.id).with_for_update())
    if not db.session.execute(live_factors_of(actor.id)).all():
        raise Conflict("Set up an app or a passkey first; the codes stand in for it.", code="no_factor")
    return insert_codes(actor)


def insert_codes(actor: Actor) -> RecoveryCodes:
    """The same inside the transaction that makes a factor."""
    moment, codes = now(), [_new_code() for _ in range(COUNT)]
    forget_codes(actor.id)
    rows = [{"code_key": _digest(actor.id, code), "user_id": actor.id, "created_at": moment} for code in codes]
    db.session.execute(insert(RecoveryCode), rows)
    record(actor, "factor.codes_made", Target("user", actor.uuid, owner_id=actor.id))
    return RecoveryCodes(codes=codes)


def forget_codes(user_id: int) -> None:
    """They stand in for nothing any more. Must run inside a transaction."""
    db.session.execute(delete(RecoveryCode).where(RecoveryCode.user_id == user_id))


def use_code(user_id: int, code: str) -> str | None:
    """Use one; else why not: wrong_code or used_code. Must run inside a transaction."""
    digest = _digest(user_id, code)
    if db.session.execute(code_taken(user_id, digest, now())).first():
        return None
    known = any_state(RecoveryCode, RecoveryCode.code_key).where(RecoveryCode.code_key == digest)
    return "used_code" if db.session.execute(known).first() else "wrong_code"


def codes_left(user_id: int) -> int:
    """How many are unused."""
    return int(db.session.scalar(any_unused_codes_of(user_id)) or 0)


def _new_code() -> str:
    plain = "".join(secrets.choice(ALPHABET) for _ in range(LENGTH))
    return "-".join(plain[start : start + GROUP] for start in range(0, LENGTH, GROUP))


def _digest(user_id: int, code: str) -> str:
    plain = "".join(character for character in code.lower() if character.isalnum())
    return hashlib.sha256(f"recovery code\0{user_id}\0{plain}".encode()).hexdigest()
