"""What was where at an instant, and what has changed since: the selects of time travel, and going back to it."""

from collections.abc import Collection
from datetime import datetime
from typing import Any

from sqlalchemy import ColumnElement, Select, Update, bindparam, case, or_, update
from sqlalchemy.sql import and_

from webapp.models.files import Blob, File, FileVersion, file_place
from webapp.models.folders import Folder, folder_place
from webapp.models.placements import Placement
from webapp.models.record import any_state, change_rows, live

RANK = case((Placement.item_type == "folder", 0), else_=1)  # folders before files


def valid_at(moment: datetime) -> ColumnElement[bool]:
    """Placements that held at this instant."""
    return and_(Placement.valid_from <= moment, or_(Placement.valid_to.is_(None), Placement.valid_to > moment))


def any_changes_since(owner_id: int, moment: datetime, most: int) -> Select[Any]:
    """Of every item of the owner that has changed since: where it was at the instant, and where it is now."""
    since = any_state(Placement, Placement.item_id).where(
        Placement.owner_id == owner_id, or_(Placement.valid_from > moment, Placement.valid_to > moment)
    )
    columns = (Placement.item_id, Placement.item_type, Placement.parent_id, Placement.name, Placement.deleted,
               Placement.number, Placement.valid_from)  # fmt: skip
    chosen = any_state(Placement, *columns)
    wanted = or_(valid_at(moment), Placement.valid_to.is_(None))
    return chosen.where(Placement.owner_id == owner_id, Placement.item_id.in_(since), wanted).limit(most)


def any_newest_placement(owner_id: int) -> Select[datetime]:
    """When the owner's tree last changed."""
    chosen = any_state(Placement, Placement.valid_from).where(Placement.owner_id == owner_id)
    return chosen.order_by(Placement.valid_from.desc()).limit(1)


def any_folders_of(owner_id: int) -> Select[Any]:
    """All folders of a person, trashed ones too."""
    columns = (Folder.id, Folder.uuid, Folder.parent_id, Folder.name, Folder.path, Folder.deleted_at)
    return any_state(Folder, *columns).where(Folder.owner_id == owner_id)


def any_files_at(ids: Collection[int]) -> Select[Any]:
    """What time travel needs of these files, trashed or not."""
    columns = (File.id, File.uuid, File.folder_id.label("parent_id"), File.name, File.number, File.mime, File.size,
               File.sha256, File.deleted_at)  # fmt: skip
    return any_state(File, *columns).where(File.id.in_(list(ids)))


def any_contents_of(file_ids: Collection[int]) -> Select[Any]:
    """(file_id, number, mime, size, sha256) of every version of these files."""
    columns = (FileVersion.file_id, FileVersion.number, FileVersion.mime, Blob.size, Blob.sha256)
    chosen = any_state(FileVersion, *columns).join(Blob, Blob.id == FileVersion.blob_id)
    return chosen.where(FileVersion.file_id.in_(list(file_ids)))


def live_names_in(model: type[Any], owner_id: int, parents: Collection[int]) -> Select[Any]:
    """(id, place, name_key) of what lives in these folders; 0 is the top."""
    place = file_place if model is File else folder_place
    chosen = live(model, model.id, place.label("place"), model.name_key)
    return chosen.where(model.owner_id == owner_id, place.in_(list(parents)))


def any_folder_at(folder_id: Any) -> Select[Folder]:
    """A folder, trashed or not."""
    return any_state(Folder).where(Folder.uuid == folder_id)


def any_past_items(owner_id: int, parent_id: int | None, moment: datetime) -> Select[Any]:
    """What lay in a folder at an instant, folders first, by name."""
    columns = (Placement.item_id, Placement.item_type, Placement.name, Placement.number, Placement.valid_from,
               RANK.label("rank"), FileVersion.mime, Blob.size, File.uuid.label("file_uuid"),
               Folder.uuid.label("folder_uuid"))  # fmt: skip
    chosen = any_state(Placement, *columns).outerjoin(File, File.id == Placement.item_id)
    chosen = chosen.outerjoin(Folder, Folder.id == Placement.item_id)
    same = and_(FileVersion.file_id == Placement.item_id, FileVersion.number == Placement.number)
    chosen = chosen.outerjoin(FileVersion, same).outerjoin(Blob, Blob.id == FileVersion.blob_id)
    here = Placement.parent_id.is_(None) if parent_id is None else Placement.parent_id == parent_id
    chosen = chosen.where(Placement.owner_id == owner_id, here, Placement.deleted.is_(False), valid_at(moment))
    return chosen.order_by(RANK, Placement.name, Placement.item_id)


def parked(model: type[Any], ids: Collection[int], moment: datetime) -> Update:
    """Take living rows out of the unique index of names, until they have their new ones."""
    return change_rows(model, model.id.in_(list(ids)), model.deleted_at.is_(None), deleted_at=moment)


def placed_file() -> Update:
    """Bring one file to the state of the parameters; to be executed for many."""
    given = {name: bindparam(f"to_{name}", type_=File.__table__.c[name].type) for name in FILE_STATE}
    return change_rows(File, File.id == bindparam("row_id"), **given)


def placed_folder() -> Update:
    """The same of a folder."""
    given = {name: bindparam(f"to_{name}", type_=Folder.__table__.c[name].type) for name in FOLDER_STATE}
    return change_rows(Folder, Folder.id == bindparam("row_id"), **given)


def stand_alone(model: type[Any], folders: Collection[int]) -> Update:
    """What stays in the trash though the folder came back that it went there with: from now on by itself."""
    return change_rows(model, model.trashed_with.in_(list(folders)), model.deleted_at.is_not(None), trashed_with=None)


def moved_path() -> Update:
    """The path of a folder of which only one above has moved. What clients see of it stays, and so does its version."""
    return update(Folder).where(Folder.id == bindparam("row_id")).values(
        path=bindparam("to_path"), updated_at=Folder.updated_at
    )  # fmt: skip


FILE_STATE = (
    "folder_id",
    "name",
    "name_key",
    "sort_key",
    "number",
    "mime",
    "size",
    "sha256",
    "deleted_at",
    "trashed_with",
)
FOLDER_STATE = ("parent_id", "path", "name", "name_key", "sort_key", "deleted_at", "trashed_with")
