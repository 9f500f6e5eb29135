"""Files: found through the actor, stored, renamed, moved. Bytes come as a draft of the store."""

from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager
from datetime import datetime
from typing import Annotated, Literal
from uuid import UUID

import msgspec
from pydantic import ConfigDict, Field
from sqlalchemy import bindparam, func, insert

from webapp.db import db, read_row, release_connection, transactional
from webapp.errors import Invalid
from webapp.infra.clock import now
from webapp.infra.ids import next_id
from webapp.infra.locks import Held, locked
from webapp.infra.sniffing import guess_type
from webapp.infra.storage import LocalDraft
from webapp.models.access import live_file_at
from webapp.models.files import File, FileVersion, live_file_named
from webapp.models.folders import Folder
from webapp.models.record import any_state, live
from webapp.policies import Actor, require
from webapp.services.access import Reach, owner_of, prove, reach, refuse_missing
from webapp.services.blobs import adopt_draft
from webapp.services.events import Target, record
from webapp.services.folders import NAME, check_goal, check_version, find_parent, refuse_taken, taken_keys
from webapp.services.inputs import Input
from webapp.services.names import check_name, name_key, next_free, sibling_prefix, sort_key
from webapp.services.placements import place
from webapp.services.quotas import charge, check_room, lock_tree

Tag = Annotated[str, Field(min_length=1, max_length=50)]
Conflicts = Literal["refuse", "rename", "replace"]


class NewFile(Input):
    """Where an upload goes. `conflict` says what becomes of a taken name: refuse it, rename to “name (1)”, or replace
    the file of that name by a new version of it.
    """

    model_config = ConfigDict(str_strip_whitespace=False)
    name: NAME
    folder_id: UUID | None = None
    conflict: Conflicts = "refuse"


class UploadQuery(Input):
    """Where an upload goes, as its query says it; a form's fields of the same names win."""

    model_config = ConfigDict(str_strip_whitespace=False)
    name: NAME | None = None
    folder_id: UUID | None = None
    conflict: Conflicts = "refuse"


class FileChange(Input):
    """What to change of a file; what is absent stays. `folder_id` null is the top."""

    model_config = ConfigDict(str_strip_whitespace=False)
    name: NAME | None = None
    folder_id: UUID | None = None
    description: Annotated[str | None, Field(max_length=5000)] = None
    tags: Annotated[list[Tag] | None, Field(max_length=50)] = None


class FileMove(Input):
    """Another folder; none is the top."""

    folder_id: UUID | None = None


class FileView(msgspec.Struct, frozen=True, kw_only=True):
    """A file as clients see it. `size` is bytes, `number` counts contents, `version` counts changes of any kind."""

    id: UUID
    name: str
    folder_id: UUID | None
    mime: str
    size: int
    sha256: str
    number: int
    description: str
    tags: list[str]
    created_at: datetime
    updated_at: datetime
    deleted_at: datetime | None
    version: int


FILE_COLUMNS = (
    File.uuid,
    File.name,
    Folder.uuid.label("folder_uuid"),
    File.mime,
    File.size,
    File.sha256,
    File.number,
    File.description,
    File.tags,
    File.created_at,
    File.updated_at,
    File.deleted_at,
    File.version,
)
_ONE = (
    live(File, *FILE_COLUMNS, File.id.label("row_id"), File.owner_id, Folder.path)
    .outerjoin(Folder, Folder.id == File.folder_id)
    .where(File.uuid == bindparam("file_id"))
)


def view_row(row: object) -> FileView:
    """The struct of a row of FILE_COLUMNS, in their order."""
    return FileView(**dict(zip(FileView.__struct_fields__, row[: len(FILE_COLUMNS)], strict=True)))  # type: ignore[index]


def find_file(actor: Actor, file_id: UUID, permission: str = "files.read") -> File:
    """The living file, found through the actor. Raises Missing for what is not there or not theirs to see, Refused
    for what they may only look at.
    """
    require(actor, permission)
    row = db.session.execute(live_file_at(file_id)).first()
    if row is None:
        refuse_missing("file")
    file: File = row[0]
    prove(reach(actor, file.owner_id, row.path, file.id), permission, "file")
    return file


def show_file(actor: Actor, file_id: UUID) -> FileView:
    """One file, read without a session. Raises Missing."""
    return look_at(actor, file_id)[0]


def look_at(actor: Actor, file_id: UUID) -> tuple[FileView, Reach, int]:
    """The same with what the actor may do with it, and the internal id of its owner."""
    require(actor, "files.read")
    row = read_row(_ONE, {"file_id": file_id})
    if row is None:
        refuse_missing("file")
    found = reach(actor, row.owner_id, row.path, row.row_id)
    prove(found, "files.read", "file")
    return view_row(row), found, row.owner_id


def check_upload(actor: Actor, query: UploadQuery, size: int | None) -> None:
    """Refuse before the first byte what would be refused after the last: name, folder, taken name, quota."""
    require(actor, "files.write")
    try:
        named = query.name is not None or query.folder_id is not None  # a form says both later
        parent = find_parent(actor, query.folder_id, "folder_id") if named else None
        owner_id = parent.owner_id if parent else actor.id
        check_room(owner_id, size)
        if query.name is not None:
            check_name(query.name)
            refuse_early(owner_id, parent.id if parent else None, query.name, query.conflict)
    finally:
        release_connection()  # the body may take hours


def refuse_early(owner_id: int, parent_id: int | None, name: str, conflict: Conflicts) -> None:
    """Raise Conflict for a taken name that neither another one nor a new version gets around."""
    if conflict == "refuse" or (conflict == "replace" and _named(owner_id, parent_id, name) is None):
        refuse_taken(owner_id, parent_id, name)


def _named(owner_id: int, parent_id: int | None, name: str) -> File | None:
    return db.session.scalar(live_file_named(owner_id, parent_id, name_key(name)))


def check_replacement(actor: Actor, file_id: UUID, expected: int | None, size: int | None) -> None:
    """The same for a new version of a file."""
    try:
        file = find_file(actor, file_id, "files.write")
        check_version(file.version, expected)
        check_room(file.owner_id, size)
    finally:
        release_connection()  # the body may take hours


@transactional
def create_files(actor: Actor, uploads: Sequence[tuple[NewFile, LocalDraft]]) -> list[FileView]:
    """Store several uploads together or not at all."""
    return [create_file(actor, wish, draft) for wish, draft in uploads]


@transactional
def create_file(actor: Actor, wish: NewFile, draft: LocalDraft) -> FileView:
    """Store an upload as a new file. The bytes are on the disk before the row commits; on any error nothing stays.

    With `conflict` replace, a file of that name gets a new version instead; a folder of that name stays a Conflict.
    Raises Conflict for a taken name, TooLarge over quota, Invalid for the name or an unknown folder, DiskFull.
    """
    require(actor, "files.write")
    name = check_name(wish.name)
    owner_id = owner_of(Folder, wish.folder_id, actor)
    charge(owner_id, draft.size)  # whose folder it is pays, whoever uploads
    parent = find_parent(actor, wish.folder_id, "folder_id")
    parent_id = parent.id if parent else None
    if wish.conflict == "replace" and (taken_file := _named(owner_id, parent_id, name)) is not None:
        return _renew(actor, taken_file, draft)
    if wish.conflict == "rename":
        taken = taken_keys(owner_id, parent_id, sibling_prefix(name), exact=False)
        name = next_free(name, taken) if name_key(name) in taken else name
    else:
        refuse_taken(owner_id, parent_id, name)
    mime = guess_type(name, draft.head())
    file = File(
        id=next_id(),
        owner_id=owner_id,
        folder_id=parent_id,
        name=name,
        name_key=name_key(name),
        sort_key=sort_key(name),
        mime=mime,
        size=draft.size,
        sha256=draft.sha256(),
        tags=[],
    )
    add_version(actor, file, adopt_draft(draft))
    record(actor, "file.created", target_of(file), {"name": (None, name), "size": (None, draft.size)})
    return view_of(file)


def hold_content(file_id: UUID) -> AbstractContextManager[Held]:
    """Keep a file's content to oneself while its next version comes in. Raises Locked at once when somebody has it."""
    return locked(f"content:{file_id}", ttl=60, wait=0)


@transactional
def replace_content(
    actor: Actor, file_id: UUID, draft: LocalDraft, expected: int | None = None, held: Held | None = None
) -> FileView:
    """Make the draft the file's next version; the earlier ones stay. Raises Stale, TooLarge, DiskFull, Missing.

    Conflict when `held` went to somebody else while this upload slept.
    """
    require(actor, "files.write")
    if held is not None:
        held.guard()
    charge(owner_of(File, file_id, actor), draft.size)
    file = find_file(actor, file_id, "files.write")
    check_version(file.version, expected)
    return _renew(actor, file, draft)


def _renew(actor: Actor, file: File, draft: LocalDraft) -> FileView:
    before = file.sha256
    file.number = newest_number(file.id) + 1
    file.size, file.sha256, file.mime = draft.size, draft.sha256(), guess_type(file.name, draft.head())
    add_version(actor, file, adopt_draft(draft))
    record(actor, "file.replaced", target_of(file), {"sha256": (before, file.sha256)})
    return view_of(file)


def newest_number(file_id: int) -> int:
    """The highest number of a file's versions: not always the current one, after time travel."""
    numbers = any_state(FileVersion, func.max(FileVersion.number)).where(FileVersion.file_id == file_id)
    return int(db.session.scalar(numbers) or 0)


def add_version(actor: Actor, file: File, blob_id: int) -> None:
    """Write the file with its present number, and the version that the number stands for. Its blob counts it."""
    db.session.add(file)
    db.session.flush()
    version = {
        "id": next_id(),
        "file_id": file.id,
        "number": file.number,
        "blob_id": blob_id,
        "author_id": actor.id or None,
        "mime": file.mime,
        "created_at": now(),
    }
    db.session.execute(insert(FileVersion).values(version))
    place(file)


@transactional
def change_file(actor: Actor, file_id: UUID, wish: FileChange, expected: int | None = None) -> FileView:
    """Rename, move, describe, tag. Raises Stale when the version is not `expected`, Conflict for a taken name."""
    require(actor, "files.write")
    lock_tree(owner_of(File, file_id, actor))
    file = find_file(actor, file_id, "files.write")
    check_version(file.version, expected)
    before = (file.name, file.folder_id, file.description, list(file.tags))
    if "folder_id" in wish.model_fields_set:  # first: this select must not write half of the change
        file.folder_id = _goal_of(actor, file, wish.folder_id)
    if wish.name is not None:
        file.name = check_name(wish.name)
        file.name_key, file.sort_key = name_key(file.name), sort_key(file.name)
    if wish.description is not None:
        file.description = _clean_text(wish.description, "description")
    if wish.tags is not None:
        file.tags = sorted({_clean_text(tag.strip(), "tags") for tag in wish.tags})
    after = (file.name, file.folder_id, file.description, list(file.tags))
    if before == after:
        db.session.expire(file)
        return view_of(file)
    if before[:2] != after[:2]:
        refuse_taken(file.owner_id, file.folder_id, file.name, but=file.id)
    db.session.flush()
    if before[:2] != after[:2]:
        place(file)
    names = ("name", "folder", "description", "tags")
    changes = {n: (b, a) for n, b, a in zip(names, before, after, strict=True) if b != a}
    record(actor, _event_of(changes), target_of(file), changes)
    return view_of(file)


def _goal_of(actor: Actor, file: File, folder_id: UUID | None) -> int | None:
    parent = find_parent(actor, folder_id, "folder_id")
    goal = parent.id if parent else None
    if goal != file.folder_id:
        check_goal(actor, file.owner_id, parent)
    return goal


def _event_of(changes: Mapping[str, object]) -> str:
    return "file.moved" if "folder" in changes else "file.renamed" if "name" in changes else "file.described"


def _clean_text(text: str, field: str) -> str:
    if "\0" in text or any("\ud800" <= c <= "\udfff" for c in text):
        raise Invalid.field(field, "characters", "The text holds characters that cannot be stored.")
    return text


def view_of(file: File) -> FileView:
    """The struct that answers encode, from an entity inside a transaction."""
    db.session.flush()
    parent = None
    if file.folder_id is not None:
        parent = db.session.scalar(any_state(Folder, Folder.uuid).where(Folder.id == file.folder_id))
    return FileView(
        id=file.uuid,
        name=file.name,
        folder_id=parent,
        mime=file.mime,
        size=file.size,
        sha256=file.sha256,
        number=file.number,
        description=file.description,
        tags=list(file.tags),
        created_at=file.created_at,
        updated_at=file.updated_at,
        deleted_at=file.deleted_at,
        version=file.version,
    )


def target_of(file: File) -> Target:
    """The file as the object of an event; its jobs work on the content that is current now."""
    return Target("file", file.uuid, file.name, file.owner_id, {"file_id": file.id, "number": file.number})
