"""What an archive download reads: several files, and the folders and files of whole subtrees, each in one statement."""

from collections.abc import Collection
from typing import Any
from uuid import UUID

from sqlalchemy import Select, or_

from webapp.models.files import Blob, File, FileVersion
from webapp.models.folders import Folder
from webapp.models.record import live

_FILE = (File.id, File.uuid, File.owner_id, File.folder_id, File.name, File.sort_key, Folder.path,
         FileVersion.created_at.label("modified"), Blob.size, Blob.storage_key, Blob.damaged_at,
         Blob.scanned_at, Blob.infected_with)  # fmt: skip
_FOLDER = (Folder.id, Folder.uuid, Folder.owner_id, Folder.parent_id, Folder.path, Folder.name, Folder.updated_at)


def live_stored_files(file_ids: Collection[UUID]) -> Select[Any]:
    """These files, with where their current bytes are."""
    return _stored().where(File.uuid.in_(list(file_ids)))


def live_stored_files_under(paths: Collection[str]) -> Select[Any]:
    """The same of all files in the folders of these paths and below, folder by folder."""
    inside = or_(*(Folder.path.startswith(path, autoescape=True) for path in paths))
    return _stored().where(inside).order_by(Folder.path, File.sort_key, File.id)


def live_folders_at(folder_ids: Collection[UUID]) -> Select[Any]:
    """These folders."""
    return live(Folder, *_FOLDER).where(Folder.uuid.in_(list(folder_ids)))


def live_folders_under(paths: Collection[str]) -> Select[Any]:
    """The folders of these paths and all below them, parents first."""
    below = or_(*(Folder.path.startswith(path, autoescape=True) for path in paths))
    return live(Folder, *_FOLDER).where(below).order_by(Folder.path)


def _stored() -> Select[Any]:
    chosen = live(File, *_FILE).outerjoin(Folder, Folder.id == File.folder_id)
    current = (FileVersion.file_id == File.id) & (FileVersion.number == File.number)
    return chosen.join(FileVersion, current).join(Blob, Blob.id == FileVersion.blob_id)
