"""Second factors of an account: the list, what a new one brings, renaming, removing; an administrator's reset."""

from datetime import datetime
from typing import Annotated, Any, NoReturn
from uuid import UUID

import msgspec
from sqlalchemy import delete

from webapp.config import current_settings
from webapp.db import after_commit, db, read_row, transactional
from webapp.errors import Conflict, Invalid, Missing
from webapp.infra.clock import now
from webapp.models.factors import (
    PASSKEY,
    TOTP,
    Challenge,
    Factor,
    live_factor_of,
    live_factors_of,
)
from webapp.models.record import change_rows, live
from webapp.models.users import User, live_user
from webapp.policies import Actor, require, system_actor
from webapp.services.accounts import find_account
from webapp.services.events import Target, record
from webapp.services.folders import check_version
from webapp.services.identities import other_ways
from webapp.services.inputs import Input, Line
from webapp.services.mails import Recipient, send_mail
from webapp.services.recovery_codes import codes_left, forget_codes, insert_codes
from webapp.services.sessions import end_sessions_of, forget_identities, note_proof
from webapp.services.users import email_key

MOST = 20  # passkeys of one account
WORDS = {
    "wrong_code": "This code is wrong.",
    "used_code": "This code was used already. Take the next one.",
    "wrong_passkey": "This passkey does not belong here, or took too long. Try again.",
    "copied_passkey": "This passkey seems to have a copy. Sign in another way and remove it.",
}


class FactorView(msgspec.Struct, frozen=True, kw_only=True):
    """A factor that counts. `kind` is totp or passkey; `synced`: the passkey's maker keeps copies on other devices."""

    id: UUID
    kind: str
    name: str
    synced: bool
    created_at: datetime
    used_at: datetime | None
    version: int


class FactorList(msgspec.Struct, frozen=True, kw_only=True):
    """All factors of an account, oldest first, and how many recovery codes are unused."""

    items: list[FactorView]
    recovery_codes: int
    next_cursor: str | None = None


class FactorMade(msgspec.Struct, frozen=True, kw_only=True):
    """A new factor and, with the first one, recovery codes, which no answer shows again."""

    factor: FactorView
    recovery_codes: list[str] | None = None


class FactorChange(Input):
    """A passkey's new name."""

    name: Annotated[str, Line(80)]


@transactional
def list_factors(actor: Actor) -> FactorList:
    """The actor's."""
    require(actor, "account.read")
    rows = db.session.execute(live_factors_of(actor.id)).all()
    return FactorList(items=[_view(row) for row in rows], recovery_codes=codes_left(actor.id))


@transactional
def show_factor(actor: Actor, factor_id: UUID) -> FactorView:
    """One of them. Raises Missing."""
    require(actor, "account.read")
    factor = db.session.scalar(live_factor_of(actor.id, factor_id))
    if factor is None:
        raise Missing("There is no such factor.")
    return _view(factor)


def methods_of(user_id: int) -> list[str]:
    """By what this account can prove more than a password; nothing where it has no factor. In a transaction."""
    kinds = {row.kind for row in db.session.execute(live_factors_of(user_id))}
    if not kinds:
        return []
    return [*(kind for kind in (PASSKEY, TOTP) if kind in kinds), *(["recovery_code"] if codes_left(user_id) else [])]


def keep_factor(actor: Actor, factor: Factor) -> FactorMade:
    """A factor that was just shown to work: recorded, mailed; it proves this session. Must run inside a transaction
    that holds the actor's row."""
    others = db.session.execute(live_factors_of(actor.id)).all()
    db.session.add(factor)
    db.session.flush()
    first = not [row for row in others if row.uuid != factor.uuid]
    codes = insert_codes(actor).codes if first else None
    record(actor, "factor.added", Target("factor", factor.uuid, factor.name, actor.id), {"kind": (None, factor.kind)})
    tell(actor, _owner(actor), "factor_added", kind=factor.kind, name=factor.name)
    note_proof(actor, second_factor=True)
    after_commit(forget_identities)
    return FactorMade(factor=_view(factor), recovery_codes=codes)


@transactional
def rename_factor(actor: Actor, factor_id: UUID, wish: FactorChange, expected: int | None = None) -> FactorView:
    """Raises Missing, Stale."""
    factor = _find(actor, factor_id, expected)
    if wish.name != factor.name:
        changes = {"name": (factor.name, wish.name)}
        factor.name = wish.name
        db.session.flush()
        record(actor, "factor.renamed", Target("factor", factor.uuid, factor.name, actor.id), changes)
    return _view(factor)


@transactional
def remove_factor(actor: Actor, factor_id: UUID, expected: int | None = None) -> None:
    """Forget it, and with the last one the recovery codes.

    Raises Missing, Stale, Conflict for the only one where a role asks for it, or for the only way to sign in.
    """
    factor = _find(actor, factor_id, expected)
    last = len(db.session.execute(live_factors_of(actor.id)).all()) == 1
    if last and actor.asks_factor:
        raise Conflict("Your role asks for a second factor. Set up another one first.", code="factor_required")
    if factor.kind == PASSKEY and not other_ways(actor, factor.uuid):
        raise Conflict("This is your only way to sign in. Set a password or link another account first.",
                       code="last_way_in")  # fmt: skip
    factor.deleted_at = now()
    db.session.flush()
    if last:
        forget_codes(actor.id)
    record(actor, "factor.removed", Target("factor", factor.uuid, factor.name, actor.id), {"kind": (factor.kind, None)})
    tell(actor, _owner(actor), "factor_removed", kind=factor.kind, name=factor.name)
    after_commit(forget_identities)


@transactional
def reset_factors(actor: Actor, user_id: UUID) -> None:
    """Take all factors and recovery codes of an account, whose owner has lost them and is mailed; its sessions end.

    Raises Missing, Refused, Conflict for one's own account or one without factors.
    """
    require(actor, "users.write")
    user, _ = find_account(actor, user_id, None)
    if user.id == actor.id:
        raise Conflict("Remove your own factors on your security page.", code="own_account")
    mine = (Factor.user_id == user.id) & Factor.deleted_at.is_(None)
    gone = db.session.execute(
        change_rows(Factor, mine, deleted_at=now()).returning(Factor.confirmed_at),
        execution_options={"synchronize_session": False},
    ).all()
    count = sum(row.confirmed_at is not None for row in gone)
    if not count:
        raise Conflict("This account has no second factor.", code="no_factor")
    forget_codes(user.id)
    db.session.execute(delete(Challenge).where(Challenge.user_id == user.id))
    end_sessions_of(actor, user.id, "second factor reset")
    record(actor, "factor.reset", Target("user", user.uuid, user.name, owner_id=user.id), {"factors": (count, 0)})
    tell(actor, Recipient(user.email, user.name, user.locale, user.time_zone), "factors_reset")
    after_commit(forget_identities)


def reset_by_email(email: str) -> UUID:
    """The same by the account's address, for whoever runs the vault's commands. Raises Missing, Conflict."""
    row = read_row(live(User, User.uuid).where(User.email_key == email_key(email)))
    if row is None:
        raise Missing("There is no account with this e-mail.")
    uuid: UUID = row.uuid
    reset_factors(system_actor(), uuid)
    return uuid


def tell(actor: Actor, to: Recipient, template: str, **more: str) -> None:
    """Mail an account's owner what became of a factor. Must run inside a transaction."""
    where = {"at": now().isoformat(), "address": actor.address or "",
             "security": f"{current_settings().origin}/account/security"}  # fmt: skip
    send_mail(actor, template, to, {**where, **more})


def refuse_wrong(code: str) -> NoReturn:
    """Raise Invalid: why a proof was none."""
    field = "credential" if code.endswith("passkey") else "code"
    raise Invalid.field(field, code, WORDS[code])


def _owner(actor: Actor) -> Recipient:
    return Recipient(actor.email, actor.name, actor.locale, actor.time_zone)


def _find(actor: Actor, factor_id: UUID, expected: int | None) -> Factor:
    require(actor, "account.secure")
    db.session.execute(live_user(actor.id).with_for_update())  # of two that remove at once, the second sees the first
    factor = db.session.scalar(live_factor_of(actor.id, factor_id))
    if factor is None:
        raise Missing("There is no such factor.")
    check_version(factor.version, expected)
    return factor


def _view(row: Any) -> FactorView:
    return FactorView(id=row.uuid, kind=row.kind, name=row.name, synced=row.synced, created_at=row.confirmed_at,
                      used_at=row.used_at, version=row.version)  # fmt: skip
