"""How much an owner stores and may store; the row is also the lock of the owner's tree."""

import msgspec
from sqlalchemy import bindparam, update

from webapp.db import db, read_row
from webapp.errors import TooLarge
from webapp.models.record import any_state
from webapp.models.users import Quota
from webapp.policies import Actor

_USE = any_state(Quota, Quota.byte_used, Quota.byte_limit).where(Quota.user_id == bindparam("user_id"))


class StorageUse(msgspec.Struct, frozen=True, kw_only=True):
    """Bytes held and allowed."""

    used: int
    limit: int


def show_use(actor: Actor) -> StorageUse:
    """What the actor's files take of their quota, old versions and trash included."""
    return _use(actor.id)


def _use(owner_id: int) -> StorageUse:
    row = read_row(_USE, {"user_id": owner_id})
    return StorageUse(used=row.byte_used, limit=row.byte_limit) if row else StorageUse(used=0, limit=0)


def check_room(owner_id: int, size: int | None) -> None:
    """Refuse early what cannot fit, before its bytes are read; a `size` not known yet is one byte. Raises TooLarge.

    The charge itself decides.
    """
    use = _use(owner_id)
    if use.used + (1 if size is None else size) > use.limit:
        raise _over_quota()


def charge(owner_id: int, size: int) -> None:
    """Add bytes to the owner's account, or nothing. Raises TooLarge.

    One conditional update: parallel uploads cannot pass the limit together. It also locks the owner's tree until the
    transaction ends, so call it first.
    """
    fits = (Quota.user_id == owner_id) & (Quota.byte_used + size <= Quota.byte_limit)
    charged = update(Quota).where(fits).values(byte_used=Quota.byte_used + size).returning(Quota.user_id)
    if db.session.execute(charged).first() is None:
        raise _over_quota()


def give_back(owner_id: int, size: int) -> None:
    """Take bytes off the owner's account. Must run in the transaction that removes what they were charged for."""
    db.session.execute(update(Quota).where(Quota.user_id == owner_id).values(byte_used=Quota.byte_used - size))


def _over_quota() -> TooLarge:
    return TooLarge(
        "This does not fit into the storage of who owns the folder. Empty the trash or ask for more room.",
        code="quota_exceeded",
    )


def lock_tree(owner_id: int) -> None:
    """Hold the owner's names and folders still until the transaction ends.

    The quota row serves, not the user row: sign-ins and profile changes never wait for it. SQLite's writers are alone.
    """
    db.session.execute(any_state(Quota, Quota.user_id).where(Quota.user_id == owner_id).with_for_update())
