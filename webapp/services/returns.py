"""Carrying out a rewind: names, places, contents and trash of many items at once, and what is told of them."""

from collections.abc import Sequence
from datetime import datetime
from typing import Any

from webapp.db import db
from webapp.models.files import File
from webapp.models.folders import Folder
from webapp.models.pasts import FILE_STATE, FOLDER_STATE, moved_path, parked, placed_file, placed_folder, stand_alone
from webapp.policies import Actor
from webapp.services.events import Target, record
from webapp.services.names import name_key, sort_key
from webapp.services.placements import place_many
from webapp.services.rewinds import Rewind, Step

PART = 1000


def go_back(actor: Actor, plan: Rewind, moment: datetime) -> None:
    """Make every change of the plan at this moment. Must run under the lock of the owner's tree.

    Living items first leave the index of names: two that swap theirs would meet there.
    """
    files = [step for _, step in sorted(plan.steps.items()) if step.kind == "file"]
    folders = [step for _, step in sorted(plan.steps.items()) if step.kind == "folder"]
    line = db.session.connection()
    for model, steps in ((Folder, folders), (File, files)):
        ids = [step.row.id for step in steps if {"moved", "renamed", "trashed"} & set(step.what)]
        for start in range(0, len(ids), PART):
            line.execute(parked(model, ids[start : start + PART], moment))
    if folders:
        line.execute(placed_folder(), [_folder_state(plan, step, moment) for step in folders])
    below = [
        {"row_id": row.id, "to_path": path}
        for row in plan.folders.values()
        if row.id not in plan.steps and (path := plan.path_of(row.id)) != row.path
    ]
    if below:
        line.execute(moved_path(), below)
    if files:
        line.execute(placed_file(), [_file_state(plan, step, moment) for step in files])
    _leave_behind([step.row.id for step in folders if "undeleted" in step.what])
    place_many([_placement(plan.owner_id, step) for step in (*folders, *files)], moment)
    db.session.expire_all()
    for step in (*folders, *files):
        _tell(actor, plan.owner_id, step)


def _leave_behind(folders: Sequence[int]) -> None:
    """What went to the trash with these folders and does not come back with them lies there by itself."""
    for start in range(0, len(folders), PART):
        for model in (File, Folder):
            db.session.connection().execute(stand_alone(model, folders[start : start + PART]))


def _folder_state(plan: Rewind, step: Step, moment: datetime) -> dict[str, Any]:
    state = (step.parent_id, plan.path_of(step.row.id), *_names(step, moment), _with(plan, step))
    return {"row_id": step.row.id, **{f"to_{name}": value for name, value in zip(FOLDER_STATE, state, strict=True)}}


def _file_state(plan: Rewind, step: Step, moment: datetime) -> dict[str, Any]:
    name, key, order, deleted = _names(step, moment)
    content = step.content or step.row
    state = (step.parent_id, name, key, order, content.number, content.mime, content.size, content.sha256, deleted,
             _with(plan, step))  # fmt: skip
    return {"row_id": step.row.id, **{f"to_{name}": value for name, value in zip(FILE_STATE, state, strict=True)}}


def _with(plan: Rewind, step: Step) -> int | None:
    """The topmost folder that goes to the trash in this rewind and takes the item along; None for who goes alone."""
    above = () if step.alive else plan.chain(step.parent_id)
    going = [each for each in above if (taken := plan.steps.get(each)) is not None and not taken.alive]
    return going[-1] if going else None


def _names(step: Step, moment: datetime) -> Sequence[Any]:
    return step.name, name_key(step.name), sort_key(step.name), None if step.alive else moment


def _placement(owner_id: int, step: Step) -> dict[str, Any]:
    number = (step.content or step.row).number if step.kind == "file" else None
    return {"item_id": step.row.id, "item_type": step.kind, "owner_id": owner_id, "parent_id": step.parent_id,
            "name": step.name, "deleted": not step.alive, "number": number}  # fmt: skip


def _tell(actor: Actor, owner_id: int, step: Step) -> None:
    """The event of the weightiest change, and one of its own for a content: jobs follow from that."""
    what, row = step.what, step.row
    number = {"number": (step.content or row).number} if step.kind == "file" else {}
    target = Target(step.kind, row.uuid, step.name, owner_id, {f"{step.kind}_id": row.id, **number})
    name = {"name": (row.name, step.name)} if "renamed" in what else None
    first = next((each for each in what if each != "content"), None)
    if step.kind == "folder":
        if first == "trashed":
            record(actor, "folder.trashed", target)
        elif first == "undeleted":
            record(actor, "folder.restored", target, name)
        else:
            record(actor, "folder.moved" if first == "moved" else "folder.renamed", target, name)
        return
    if first == "trashed":
        record(actor, "file.trashed", target)
    elif first == "undeleted":
        record(actor, "file.restored", target, name)
    elif first is not None:
        record(actor, "file.moved" if first == "moved" else "file.renamed", target, name)
    if step.content is not None:
        record(actor, "file.replaced", target, {"sha256": (row.sha256, step.content.sha256)})
