"""Unpacking a stored zip into a fresh folder: looked through first, then written by a job in portions, each once."""

from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import PurePosixPath
from typing import Any
from uuid import UUID

import msgspec
from pydantic import Field

from webapp.db import read_row, read_rows, transaction, transactional
from webapp.infra.storage import LocalDraft, store
from webapp.models.access import live_spot_of_folder
from webapp.models.archives import live_folders_at, live_folders_under
from webapp.models.folders import Folder
from webapp.models.jobs import any_effects
from webapp.models.sessions import live_person
from webapp.policies import Actor, permissions_of, require
from webapp.services import files, folders
from webapp.services.access import ids_of, owner_of
from webapp.services.bundles import Bundle, Part, Path, Unfit, key_of, read_bundle
from webapp.services.downloads import open_content
from webapp.services.events import Target, queue_jobs
from webapp.services.files import NewFile
from webapp.services.folders import NewFolder, taken_keys
from webapp.services.inputs import Input
from webapp.services.inspections import find_content
from webapp.services.jobs import Hopeless, StartedJob, Taken
from webapp.services.names import name_key, next_free, sibling_prefix
from webapp.services.quotas import check_room, lock_tree
from webapp.services.stored import open_blob

PORTION = 50  # files stored in one transaction
CHECKED = 30  # percent of the work that reading everything once is


class NewImport(Input):
    """Which stored zip to unpack, and where: beside it unless `folder_id` says another place (null: the top)."""

    file_id: UUID
    folder_id: UUID | None = Field(default=None)


class ImportView(msgspec.Struct, frozen=True, kw_only=True):
    """What was ordered: a job that shows how far it is, and what the zip holds. `bytes` are those unpacked."""

    job_id: UUID
    files: int
    folders: int
    bytes: int


def create_import(actor: Actor, wish: NewImport) -> ImportView:
    """Look through the zip and queue the job that unpacks it.

    Raises Unfit with what is wrong with it, TooLarge over quota, Invalid for an unknown folder, Conflict while it is
    being unpacked, Missing.
    """
    require(actor, "files.write")
    content = open_content(actor, wish.file_id)
    goal = wish.folder_id if "folder_id" in wish.model_fields_set else files.show_file(actor, wish.file_id).folder_id
    with transaction():
        folders.find_parent(actor, goal, "folder_id")
    spot = None if goal is None else read_row(live_spot_of_folder(goal))
    with open_blob(content.key, content.size) as file:
        bundle = read_bundle(file, content.size, depth=1 + len(ids_of(spot.path if spot else None)))
    check_room(spot.owner_id if spot else actor.id, bundle.total)
    job_id = _queue(actor, wish.file_id, goal, PurePosixPath(content.name).stem)
    return ImportView(job_id=job_id, files=len(bundle.parts), folders=len(bundle.folders), bytes=bundle.total)


@transactional
def _queue(actor: Actor, file_id: UUID, goal: UUID | None, name: str) -> UUID:
    file = files.find_file(actor, file_id)
    args = {"file_id": file.id, "number": file.number, "user": actor.id, "name": name,
            "goal": None if goal is None else str(goal)}  # fmt: skip
    target = Target("file", file.uuid, file.name, actor.id, args)
    return queue_jobs(actor, ["files.unpack"], target, unique_key=f"unpack:{file.id}:{goal}")[0]


def unpack(job: StartedJob) -> dict[str, Any]:
    """The job. Every byte is read and checked before the folder is made; then files come in portions, each once however
    often the job begins anew. Returns how many there are.

    Raises Hopeless, in words for people, for a zip that is not what its list says.
    """
    content = find_content(job)
    if content is None:
        raise Hopeless("The zip is gone.")
    actor = _actor_of(job)
    goal = None if job.args["goal"] is None else UUID(job.args["goal"])
    with _told(), open_blob(content.storage_key, content.size) as file:
        bundle = read_bundle(file, content.size)
        root = _root_of(job)
        if root is None:
            _read_all(job, bundle)
            root = _make_root(job, actor, goal)
        places = _make_folders(actor, root, bundle)
        _store_files(job, actor, bundle, places)
    return {"files": len(bundle.parts), "folders": len(bundle.folders), "skipped": bundle.skipped}


@contextmanager
def _told() -> Iterator[None]:
    try:
        yield
    except Unfit as error:
        raise Hopeless(error.detail) from error


def _actor_of(job: StartedJob) -> Actor:
    """Who ordered it, with what they may do by now."""
    row = read_row(live_person(job.args["user"]))
    if row is None:
        raise Hopeless("The account that ordered this is gone.")
    roles, held = (frozenset((text or "").split(",")) - {""} for text in (row.roles, row.permissions))
    groups = frozenset(int(number) for number in (row.groups or "").split(",") if number)
    return Actor(id=row.user_id, uuid=row.uuid, email=row.email, name=row.name, roles=roles, groups=groups,
                 permissions=permissions_of(roles, held), request_id=job.request_id)  # fmt: skip


def _read_all(job: StartedJob, bundle: Bundle) -> None:
    done = 0
    for part in bundle.parts:
        for data in bundle.read(part):
            done += len(data)
            job.progress(CHECKED * done / max(bundle.total, 1))


def _root_of(job: StartedJob) -> UUID | None:
    made = [row.effect for row in read_rows(any_effects(job.id)) if row.effect.startswith("folder ")]
    return UUID(made[0].partition(" ")[2]) if made else None


@transactional
def _make_root(job: StartedJob, actor: Actor, goal: UUID | None) -> UUID:
    """A folder named after the zip, with a number where that is taken."""
    owner_id, name = owner_of(Folder, goal, actor), job.args["name"]
    lock_tree(owner_id)
    if not job.once("folder"):
        raise Taken
    parent = folders.find_parent(actor, goal, "folder_id")
    taken = taken_keys(owner_id, parent.id if parent else None, sibling_prefix(name), exact=False)
    free = next_free(name, taken) if name_key(name) in taken else name
    folder = folders.create_folder(actor, NewFolder(name=free, parent_id=goal))
    job.once(f"folder {folder.id}")
    return folder.id


def _make_folders(actor: Actor, root: UUID, bundle: Bundle) -> dict[Path, UUID]:
    """The zip's folders that are not there yet; all of them by the keys of their paths."""
    places = _present(root)
    missing = [(key, path) for key, path in bundle.folders.items() if key not in places]
    for start in range(0, len(missing), PORTION):
        with transaction():
            for key, path in missing[start : start + PORTION]:
                wish = NewFolder(name=path[-1], parent_id=places[key[:-1]])
                places[key] = folders.create_folder(actor, wish).id
    return places


def _present(root: UUID) -> dict[Path, UUID]:
    top = read_row(live_folders_at([root]))
    if top is None:
        raise Hopeless("The folder was moved to the trash while it was filled.")
    keys: dict[int, Path] = {}
    places: dict[Path, UUID] = {}
    for row in read_rows(live_folders_under([top.path])):
        key = () if row.id == top.id else (*keys.get(row.parent_id, ("/",)), name_key(row.name))
        keys[row.id], places[key] = key, row.uuid
    return places


def _store_files(job: StartedJob, actor: Actor, bundle: Bundle, places: dict[Path, UUID]) -> None:
    done = {row.effect for row in read_rows(any_effects(job.id))}
    for start in range(0, len(bundle.parts), PORTION):
        portion = bundle.parts[start : start + PORTION]
        if f"files {start}" not in done:
            with ExitStack() as stack:
                drafts = [_draft(stack, bundle, part) for part in portion]
                _store(job, f"files {start}", actor, portion, drafts, places)
        job.progress(CHECKED + (100 - CHECKED) * (start + len(portion)) / len(bundle.parts))


def _draft(stack: ExitStack, bundle: Bundle, part: Part) -> LocalDraft:
    draft: LocalDraft = stack.enter_context(store().draft())
    for data in bundle.read(part):
        draft.write(data)
    draft.sync()  # the slow part, before the transaction
    return draft


@transactional
def _store(
    job: StartedJob, effect: str, actor: Actor, portion: Sequence[Part], drafts: Sequence[LocalDraft],
    places: dict[Path, UUID],
) -> None:  # fmt: skip
    if not job.once(effect):
        return
    for part, draft in zip(portion, drafts, strict=True):
        folder_id = places[key_of(part.path[:-1])]
        files.create_file(actor, NewFile(name=part.path[-1], folder_id=folder_id, conflict="rename"), draft)
