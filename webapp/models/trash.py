"""The trash as sets of rows: what goes with a folder, comes back with it, or is removed with it, in few statements."""

from collections.abc import Collection
from datetime import datetime
from typing import Any

from sqlalchemy import (
    BigInteger,
    ColumnElement,
    Delete,
    Insert,
    Select,
    Update,
    delete,
    func,
    insert,
    literal,
    or_,
    update,
)

from webapp.infra.ids import nth_id
from webapp.models.files import Blob, File, FileVersion
from webapp.models.folders import Folder
from webapp.models.placements import Placement
from webapp.models.record import any_state, change_rows, live


def below(path: str) -> ColumnElement[bool]:
    """Folders under this path, in the trash or not, without the folder itself."""
    return Folder.path.startswith(path, autoescape=True) & (Folder.path != path)


def sink(folder: Folder, moment: datetime) -> tuple[Update, Update]:
    """Put all that lives below a folder into the trash with it: its files, then its folders."""
    inside = live(Folder, Folder.id).where(Folder.path.startswith(folder.path, autoescape=True))
    files = (File.deleted_at.is_(None), File.folder_id.in_(inside))
    folders = (Folder.deleted_at.is_(None), below(folder.path))
    return (
        change_rows(File, *files, deleted_at=moment, trashed_with=folder.id),
        change_rows(Folder, *folders, deleted_at=moment, trashed_with=folder.id),
    )


def lift(folder_id: int) -> tuple[Update, Update]:
    """Take out of the trash what went there with a folder."""
    return (
        change_rows(File, File.trashed_with == folder_id, deleted_at=None, trashed_with=None),
        change_rows(Folder, Folder.trashed_with == folder_id, deleted_at=None, trashed_with=None),
    )


def graft(old: str, new: str) -> Update:
    """Give all folders below a path, in the trash or not, another beginning of theirs."""
    return change_rows(Folder, below(old), path=literal(new) + func.substr(Folder.path, len(old) + 1))


def any_depth_below(path: str, folder_id: int) -> Select[int]:
    """How many slashes the longest path has among what went to the trash with a folder."""
    slashes = func.length(Folder.path) - func.length(func.replace(Folder.path, "/", ""))
    return any_state(Folder, func.max(slashes)).where(below(path), Folder.trashed_with == folder_id)


def any_many(model: type[File | Folder], which: ColumnElement[bool]) -> Select[int]:
    """How many these are."""
    return any_state(model, func.count()).where(which)


def close_placements(model: type[File | Folder], which: ColumnElement[bool], moment: datetime) -> Update:
    """End the present placement of each of these."""
    items = any_state(model, model.id).where(which)
    return update(Placement).where(Placement.item_id.in_(items), Placement.valid_to.is_(None)).values(valid_to=moment)


def any_open_placements(model: type[File | Folder], which: ColumnElement[bool], moment: datetime, first: int) -> Insert:
    """Note where each of these is now; `first` of as many reserved ids."""
    number = func.row_number(type_=BigInteger()).over(order_by=model.id) - 1  # untyped, // would be that of floats
    parent = File.folder_id if model is File else Folder.parent_id
    values: dict[str, Any] = {
        "id": nth_id(first, number), "item_id": model.id, "item_type": literal("file" if model is File else "folder"),
        "owner_id": model.owner_id, "parent_id": parent, "name": model.name,
        "deleted": model.deleted_at.is_not(None), "number": File.number if model is File else literal(None),
        "valid_from": literal(moment, Placement.valid_from.type),
    }  # fmt: skip
    return insert(Placement).from_select(list(values), any_state(model, *values.values()).where(which))


def deleted_roots(owner_id: int | None, moment: datetime, after: tuple[int, int], rows: int) -> Select[Any]:
    """Folders that lie in the trash by themselves since `moment` at the latest, or whose removal has begun."""
    chosen = any_state(Folder, Folder.id, Folder.owner_id).where(Folder.deleted_at <= moment)
    chosen = chosen.where(or_(Folder.trashed_with.is_(None), Folder.trashed_with == Folder.id))
    if owner_id is not None:
        chosen = chosen.where(Folder.owner_id == owner_id)
    mark = or_(Folder.owner_id > after[0], (Folder.owner_id == after[0]) & (Folder.id > after[1]))
    return chosen.where(mark).order_by(Folder.owner_id, Folder.id).limit(rows)


def deleted_with(folder_id: int, rows: int) -> Select[int]:
    """Some of the files that went to the trash with a folder."""
    return any_state(File, File.id).where(File.trashed_with == folder_id).order_by(File.id).limit(rows)


def any_bytes_of(files: Collection[int]) -> Select[Any]:
    """(blob_id, named how often, size) of all versions of these files."""
    chosen = any_state(FileVersion, FileVersion.blob_id, func.count().label("named"), Blob.size)
    chosen = chosen.join(Blob, Blob.id == FileVersion.blob_id).where(FileVersion.file_id.in_(files))
    return chosen.group_by(FileVersion.blob_id, Blob.size).order_by(FileVersion.blob_id)


def any_locked_blobs(blobs: Collection[int]) -> Select[int]:
    """Hold these blobs, in one order, so that two removals never wait for each other."""
    return any_state(Blob, Blob.id).where(Blob.id.in_(blobs)).order_by(Blob.id).with_for_update()


def unname(files: Collection[int]) -> Update:
    """Take the references of all versions of these files off their blobs."""
    named = any_state(FileVersion, func.count()).where(FileVersion.blob_id == Blob.id, FileVersion.file_id.in_(files))
    blobs = any_state(FileVersion, FileVersion.blob_id).where(FileVersion.file_id.in_(files))
    return update(Blob).where(Blob.id.in_(blobs)).values(refcount=Blob.refcount - named.scalar_subquery())


def drop_files(files: Collection[int]) -> tuple[Delete, Delete]:
    """Remove files with their versions."""
    return delete(FileVersion).where(FileVersion.file_id.in_(files)), delete(File).where(File.id.in_(files))


def gone_with(folder_id: int) -> ColumnElement[bool]:
    """A folder in the trash and the folders that went there with it."""
    return or_(Folder.id == folder_id, Folder.trashed_with == folder_id)


def any_left_files(folder_id: int) -> Select[int]:
    """Files that were trashed by themselves, before the folder around them."""
    gone = any_state(Folder, Folder.id).where(gone_with(folder_id))
    return any_state(File, File.id).where(File.folder_id.in_(gone))


def leave_top(files: Collection[int]) -> Update:
    """Put files to the top of their owner's tree: the folder around them is being removed."""
    return change_rows(File, File.id.in_(files), folder_id=None)


def any_left_folders(folder_id: int) -> Select[Folder]:
    """Folders that were trashed by themselves, before the one around them."""
    gone = any_state(Folder, Folder.id).where(gone_with(folder_id))
    apart = Folder.trashed_with.is_(None) | (Folder.trashed_with == Folder.id)
    return any_state(Folder).where(Folder.parent_id.in_(gone), Folder.id != folder_id, apart)


def drop_folders(folder_id: int) -> Delete:
    """Remove a folder and what went to the trash with it."""
    return delete(Folder).where(gone_with(folder_id))


def deleted_weights(folders: Collection[int]) -> Select[Any]:
    """(folder, how many files went to the trash with it, their bytes)."""
    sums = func.count().label("files"), func.sum(File.size).label("bytes")
    chosen = any_state(File, File.trashed_with.label("folder"), *sums)
    return chosen.where(File.trashed_with.in_(folders)).group_by(File.trashed_with)


def any_names(numbers: Collection[int]) -> Select[Any]:
    """(id, name) of folders, in the trash or not: where something was."""
    return any_state(Folder, Folder.id, Folder.name).where(Folder.id.in_(numbers))
