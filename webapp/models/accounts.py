"""Accounts as administrators see them: with roles, quota, and when they were last here."""

from typing import Any
from uuid import UUID

from sqlalchemy import Select, func

from webapp.models.factors import HAS_FACTOR
from webapp.models.record import any_state, live
from webapp.models.sessions import Session
from webapp.models.users import Quota, User, UserRole

_roles = any_state(UserRole, func.aggregate_strings(UserRole.role, ",")).where(UserRole.user_id == User.id)
ROLES_HELD = _roles.correlate(User).scalar_subquery()
_COLUMNS = (
    User.id.label("row_id"), User.uuid, User.email, User.email_key, User.name, User.locale, User.time_zone,
    User.suspended_at, User.deleted_at, User.created_at, User.updated_at, User.version, Quota.byte_limit,
    Quota.byte_used, ROLES_HELD.label("roles"), HAS_FACTOR.correlate(User).label("second_factor"),
)  # fmt: skip


def any_accounts() -> Select[Any]:
    """All that were not erased, deleted ones too."""
    seen = any_state(Session, func.max(Session.seen_at)).where(Session.user_id == User.id, Session.parent_id.is_(None))
    columns = (*_COLUMNS, seen.correlate(User).scalar_subquery().label("seen_at"))
    return any_state(User, *columns).join(Quota, Quota.user_id == User.id).where(User.erased_at.is_(None))


def any_account(uuid: UUID) -> Select[User]:
    """One of them, held until the transaction ends."""
    return any_state(User).where(User.uuid == uuid, User.erased_at.is_(None)).with_for_update()


def live_holders_held(role: str) -> Select[User]:
    """Those who hold the role and may sign in, held until the transaction ends, always in the same order."""
    held = any_state(UserRole, UserRole.user_id).where(UserRole.role == role)
    chosen = live(User).where(User.id.in_(held), User.suspended_at.is_(None))
    return chosen.order_by(User.id).with_for_update()
