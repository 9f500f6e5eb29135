"""Roles and what they allow. Built-in ones stand here from the first migration on; administrators edit the rows."""

from collections.abc import Iterable
from typing import Any
from uuid import UUID

from sqlalchemy import Boolean, ForeignKey, Select, String, bindparam, false, func
from sqlalchemy.orm import Mapped, mapped_column

from webapp.db import Base
from webapp.models.record import Record, any_state, live
from webapp.models.users import User, UserRole


class Role(Record, Base):
    """A role. `slug` never changes: accounts hold roles by it. Removing one deletes the row, so its slug is free."""

    __tablename__ = "roles"

    slug: Mapped[str] = mapped_column(String(40), unique=True)
    name: Mapped[str] = mapped_column(String(80))
    about: Mapped[str] = mapped_column(String(300), default="")
    built_in: Mapped[bool] = mapped_column(Boolean, default=False)
    requires_second_factor: Mapped[bool] = mapped_column(Boolean, default=False, server_default=false())


class RolePermission(Base):
    """A permission that a role holds. The administrator's role holds all without rows."""

    __tablename__ = "role_permissions"

    role: Mapped[str] = mapped_column(String(40), ForeignKey("roles.slug", ondelete="CASCADE"), primary_key=True)
    permission: Mapped[str] = mapped_column(String(60), primary_key=True)


def live_role(role_id: UUID) -> Select[Role]:
    """One role by its public id."""
    return live(Role).where(Role.uuid == role_id)


def any_permissions_of_roles(roles: Iterable[str]) -> Select[Any]:
    """(role, permission) of these roles."""
    columns = (RolePermission.role, RolePermission.permission)
    return any_state(RolePermission, *columns).where(RolePermission.role.in_(list(roles)))


def any_permissions_of_user() -> Select[str]:
    """Permissions of all roles of the user `user_id`."""
    held = any_state(RolePermission, RolePermission.permission)
    return held.join(UserRole, UserRole.role == RolePermission.role).where(UserRole.user_id == bindparam("user_id"))


def live_holders(role: str) -> Select[int]:
    """How many living accounts hold the role."""
    chosen = live(User, func.count(User.id)).join(UserRole, UserRole.user_id == User.id)
    return chosen.where(UserRole.role == role)


def live_active_admins(role: str) -> Select[int]:
    """Ids of living, unsuspended accounts that hold this role."""
    chosen = live(User, User.id).join(UserRole, UserRole.user_id == User.id)
    return chosen.where(UserRole.role == role, User.suspended_at.is_(None))
