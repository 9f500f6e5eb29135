"""Which rows an actor reaches, and how: the selects behind services/access.py, where the rule itself stands."""

from collections.abc import Collection
from datetime import datetime
from typing import Any
from uuid import UUID

from sqlalchemy import ColumnElement, Select, and_, func, or_, select
from sqlalchemy.orm import aliased

from webapp.models.files import File
from webapp.models.folders import Folder
from webapp.models.grants import Grant, in_force, live_grants
from webapp.models.groups import GroupMember
from webapp.models.record import any_state, live
from webapp.models.roles import RolePermission
from webapp.models.users import User, UserRole

_PERSON = (User.id.label("user_id"), User.uuid.label("user_uuid"), User.name.label("user_name"), User.email)


def mine(user_id: int, groups: Collection[int], moment: datetime) -> ColumnElement[bool]:
    """Grants in force to this person or to one of these groups."""
    direct = Grant.user_id == user_id
    return and_(or_(direct, Grant.group_id.in_(sorted(groups))) if groups else direct, in_force(moment))


def live_levels(whose: ColumnElement[bool], folders: Collection[int], files: Collection[int]) -> Select[Any]:
    """(folder_id, file_id, level) of grants on these folders and files: read by their keys, however many one has."""
    places = [Grant.folder_id.in_(sorted(folders))] if folders else []
    places += [Grant.file_id.in_(sorted(files))] if files else []
    return live(Grant, Grant.folder_id, Grant.file_id, Grant.level).where(whose, or_(*places))


def live_file_at(file_id: UUID) -> Select[Any]:
    """A living file and the path of its folder (None at the top), whoever it belongs to."""
    return live(File, File, Folder.path).outerjoin(Folder, Folder.id == File.folder_id).where(File.uuid == file_id)


def deleted_file_at(file_id: UUID) -> Select[Any]:
    """The same of a file in somebody's trash, and whether the folder it went there with is being removed."""
    around = aliased(Folder)
    leaving = and_(around.id.is_not(None), around.trashed_with == around.id).label("leaving")
    chosen = any_state(File, File, Folder.path, leaving).outerjoin(Folder, Folder.id == File.folder_id)
    chosen = chosen.outerjoin(around, around.id == File.trashed_with)
    return chosen.where(File.uuid == file_id, File.deleted_at.is_not(None))


def deleted_folder_at(folder_id: UUID) -> Select[Folder]:
    """A folder that lies in somebody's trash by itself."""
    chosen = any_state(Folder).where(Folder.uuid == folder_id, Folder.deleted_at.is_not(None))
    return chosen.where(Folder.trashed_with.is_(None))


def live_folder_at(folder_id: UUID) -> Select[Folder]:
    """A living folder, whoever it belongs to."""
    return live(Folder).where(Folder.uuid == folder_id)


def live_spots(file_ids: Collection[UUID]) -> Select[Any]:
    """Where these files lie: (id, uuid, owner_id, path)."""
    chosen = live(File, File.id, File.uuid, File.owner_id, Folder.path)
    return chosen.outerjoin(Folder, Folder.id == File.folder_id).where(File.uuid.in_(list(file_ids)))


def live_roots(whose: ColumnElement[bool], user_id: int, before: int | None, rows: int) -> Select[Any]:
    """Files and folders of others that these grants name, each once, the newest grant first; `before` is a `mark`.

    Grouped before anything is joined for its words: a thousand grants are a thousand rows of one index.
    """
    newest, place = func.max(Grant.id), aliased(Folder)
    file = and_(File.id == Grant.file_id, File.deleted_at.is_(None), File.owner_id != user_id)
    folder = and_(Folder.id == Grant.folder_id, Folder.deleted_at.is_(None), Folder.owner_id != user_id)
    columns = (newest.label("mark"), func.max(Grant.created_at).label("shared_at"), Grant.file_id, Grant.folder_id)
    chosen = live(Grant, *columns).outerjoin(File, file).outerjoin(Folder, folder)
    chosen = chosen.where(whose, or_(File.id.is_not(None), Folder.id.is_not(None)))
    chosen = chosen.group_by(Grant.file_id, Grant.folder_id).order_by(newest.desc()).limit(rows)
    each = (chosen if before is None else chosen.having(newest < before)).subquery()
    owner = func.coalesce(File.owner_id, Folder.owner_id)
    words = select(each.c.mark, each.c.shared_at, File.id, func.coalesce(File.uuid, Folder.uuid).label("uuid"),
                   func.coalesce(File.name, Folder.name).label("name"), File.mime, File.size, owner.label("owner_id"),
                   func.coalesce(File.updated_at, Folder.updated_at).label("updated_at"), User.name.label("owner"),
                   func.coalesce(Folder.path, place.path).label("path"))  # fmt: skip
    words = words.select_from(each).outerjoin(File, File.id == each.c.file_id)
    words = words.outerjoin(Folder, Folder.id == each.c.folder_id).outerjoin(place, place.id == File.folder_id)
    return words.join(User, User.id == owner).order_by(each.c.mark.desc())


def live_spot_of_folder(folder_id: UUID) -> Select[Any]:
    """Where a folder lies: (id, owner_id, path), its own id at the end of the path."""
    return live(Folder, Folder.id, Folder.owner_id, Folder.path).where(Folder.uuid == folder_id)


def live_folder_names(numbers: Collection[int]) -> Select[Any]:
    """(id, uuid, name) of these folders."""
    return live(Folder, Folder.id, Folder.uuid, Folder.name).where(Folder.id.in_(list(numbers)))


def live_grants_on(folders: Collection[int], file_id: int | None, moment: datetime) -> Select[Any]:
    """Grants in force on one of these folders or on this file, to people who may sign in and to groups."""
    here: ColumnElement[bool] = Grant.folder_id.in_(list(folders))
    here = here if file_id is None else or_(here, Grant.file_id == file_id)
    return live_grants(here, in_force(moment), User.suspended_at.is_(None))


def live_group_people(groups: Collection[int]) -> Select[Any]:
    """Members of these groups who may sign in: (group_id, columns of a person)."""
    chosen = live(User, GroupMember.group_id, *_PERSON).join(GroupMember, GroupMember.user_id == User.id)
    return chosen.where(GroupMember.group_id.in_(list(groups)), User.suspended_at.is_(None))


def live_owner(user_id: int) -> Select[Any]:
    """Columns of the person whose it is."""
    return live(User, *_PERSON).where(User.id == user_id)


def any_owner_of(model: type[File | Folder], uuid: UUID) -> Select[int]:
    """Whose it is, trashed or not; that never changes."""
    return any_state(model, model.owner_id).where(model.uuid == uuid)


def live_holders_of_vault(permissions: Collection[str], admin: str) -> Select[Any]:
    """Accounts that may sign in and that a role lets into everybody's files: (columns, role, permission)."""
    columns = (*_PERSON, UserRole.role, RolePermission.permission)
    chosen = live(User, *columns).join(UserRole, UserRole.user_id == User.id)
    allows = and_(RolePermission.role == UserRole.role, RolePermission.permission.in_(list(permissions)))
    chosen = chosen.outerjoin(RolePermission, allows)
    return chosen.where(
        User.suspended_at.is_(None), or_(UserRole.role == admin, RolePermission.permission.is_not(None))
    )
