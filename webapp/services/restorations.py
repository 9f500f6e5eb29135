"""Going back in time: a folder or all of an account, as it was at an instant; looked at first, done at once, undone.

Everything is written as any other change is: to go back to the instant before undoes it.
"""

from collections import Counter
from collections.abc import Mapping
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Annotated, Any, Literal, Protocol
from uuid import UUID

import msgspec
from pydantic import Field

from webapp.db import db, transactional
from webapp.errors import Invalid, Missing, Refused
from webapp.infra.clock import now
from webapp.models.folders import Folder
from webapp.models.pasts import any_folder_at, any_newest_placement
from webapp.policies import Actor, Level, require, system_actor
from webapp.services.access import prove, reach, refuse_missing, rows_of
from webapp.services.events import Target, queue_jobs, record
from webapp.services.inputs import Input, Instant
from webapp.services.quotas import lock_tree
from webapp.services.returns import go_back
from webapp.services.rewinds import Rewind, Step, plan_rewind
from webapp.services.subtrees import refuse_top

AT_ONCE = 1000  # changes that are made while the person waits; a job makes more
SHOWN = 200
TICK = timedelta(milliseconds=1)  # what the clock counts


class Restoration(Input):
    """What to bring back to which instant: a folder with all in it, or the whole account. `preview` changes nothing."""

    folder_id: UUID | None = None
    at: Annotated[Instant, Field(description="the instant, with its offset")]
    preview: bool = False


class ChangeView(msgspec.Struct, frozen=True, kw_only=True):
    """What happens to one item: `what` of undeleted, moved, renamed, content, or trashed alone. `name` is the present
    one, `name_then` the one it gets, `place` the folders it will lie in, `number` the version of its content."""

    kind: Literal["file", "folder"]
    id: UUID
    name: str
    name_then: str
    place: str
    what: list[str]
    number: int | None = None


class RestorationView(msgspec.Struct, frozen=True, kw_only=True):
    """Counts of all changes and the first 200 of them. `lost` names what was removed for good and cannot come back,
    `kept` files whose content of then was removed, `beyond` counts what now lies where one has no say.

    Done: `undo_at` is the instant to go back to. Queued: a job does it, and its result holds that instant.
    """

    at: datetime
    state: Literal["preview", "done", "queued"]
    total: int
    counts: dict[str, int]
    changes: list[ChangeView]
    lost: list[str]
    kept: list[str]
    beyond: int
    undo_at: datetime | None = None
    job_id: UUID | None = None


class Work(Protocol):
    """The running job, as the jobs' side hands it over."""

    @property
    def args(self) -> Mapping[str, Any]: ...
    @property
    def request_id(self) -> str | None: ...
    def once(self, effect: str) -> bool: ...


def restore_tree(actor: Actor, wish: Restoration) -> RestorationView:
    """See Restoration. For the owner, and for managers of a folder inside it.

    Raises Missing, Refused, Invalid for a time to come, Conflict where it cannot be done (cycle, too_much).
    """
    require(actor, "files.write")
    if wish.at > now():
        raise Invalid.field("at", "future", "This time is yet to come.")
    return _look(actor, wish) if wish.preview else _do(actor, wish)


def _look(actor: Actor, wish: Restoration) -> RestorationView:
    owner_id, folder, whole = scope_of(actor, wish.folder_id)
    return _view(plan_rewind(owner_id, folder.id if folder else None, wish.at, whole=whole), wish.at, "preview")


@transactional
def _do(actor: Actor, wish: Restoration) -> RestorationView:
    owner_id, folder, whole = scope_of(actor, wish.folder_id)
    lock_tree(owner_id)
    root = folder.id if folder else None
    plan = plan_rewind(owner_id, root, wish.at, whole=whole)
    view = _view(plan, wish.at, "done")
    target = _target(owner_id, folder.uuid if folder else None, folder.name if folder else "")
    if len(plan.steps) <= AT_ONCE:
        return msgspec.structs.replace(view, undo_at=_carry_out(actor, plan, wish.at, target))
    args = {"owner_id": owner_id, "actor_id": actor.id, "root": root, "at": wish.at.isoformat(), "whole": whole,
            "uuid": str(target.uuid) if target.uuid else None, "name": target.about}  # fmt: skip
    (job,) = queue_jobs(actor, ["files.rewind"], replace(target, args=args), f"rewind:{owner_id}")
    return msgspec.structs.replace(view, state="queued", job_id=job)


@transactional
def restore_by_job(job: Work) -> dict[str, Any]:
    """The job that makes many changes, in one transaction, once."""
    args = job.args
    if not job.once("rewind"):
        return {}
    lock_tree(args["owner_id"])
    at = datetime.fromisoformat(args["at"])
    plan = plan_rewind(args["owner_id"], args["root"], at, whole=args["whole"])
    target = _target(args["owner_id"], UUID(args["uuid"]) if args["uuid"] else None, args["name"])
    undo_at = _carry_out(replace(system_actor(job.request_id), id=args["actor_id"]), plan, at, target)
    return {"changes": len(plan.steps), "undo_at": undo_at.isoformat() if undo_at else None}


def _target(owner_id: int, uuid: UUID | None, name: str) -> Target:
    return Target("folder" if uuid else "tree", uuid, name, owner_id)


def _carry_out(actor: Actor, plan: Rewind, at: datetime, target: Target) -> datetime | None:
    """Make the changes; returns the instant before them, None where there were none."""
    if not plan.steps:
        return None
    newest = db.session.scalar(any_newest_placement(plan.owner_id))
    moment = max(now(), newest + TICK) if newest else now()
    go_back(actor, plan, moment)
    record(actor, "tree.rewound", target, {"at": (None, at.isoformat()), "changes": (None, len(plan.steps))})
    return moment - TICK


def scope_of(actor: Actor, folder_id: UUID | None, permission: str = "files.write") -> tuple[int, Folder | None, bool]:
    """Whose tree, which folder of it (None: all), and whether the actor has a say outside that folder.

    What was there once is shown to who sees the trash: the owner and managers. Raises Missing, Refused.
    """
    require(actor, permission)
    if folder_id is None:
        refuse_top(actor)
        return actor.id, None, True
    rows = rows_of(any_folder_at(folder_id).with_only_columns(*Folder.__table__.c))
    if not rows:
        refuse_missing("folder")
    folder = rows[0]
    found = reach(actor, folder.owner_id, folder.path)
    prove(found, permission, "folder")
    if found.level < Level.MANAGER:
        raise Refused("Only its owner and managers see what was here once.", code="level")
    if folder.deleted_at is not None and permission == "files.write":
        raise Missing("This folder is in the trash. Go back in the folder that it was in.")
    return folder.owner_id, folder, found.whole and actor.root is None


def _view(plan: Rewind, at: datetime, state: Literal["preview", "done"]) -> RestorationView:
    steps = sorted(plan.steps.values(), key=lambda step: (step.kind == "file", step.name))
    return RestorationView(
        at=at, state=state, total=len(steps), counts=dict(Counter(what for step in steps for what in step.what)),
        changes=[_change(plan, step) for step in steps[:SHOWN]], lost=sorted(plan.lost)[:SHOWN],
        kept=sorted(plan.kept)[:SHOWN], beyond=plan.beyond,
    )  # fmt: skip


def _change(plan: Rewind, step: Step) -> ChangeView:
    above = [_name_of(plan, number) for number in plan.chain(step.parent_id)]
    return ChangeView(
        kind="file" if step.kind == "file" else "folder", id=step.row.uuid, name=step.row.name, name_then=step.name,
        place=" / ".join(reversed(above)), what=step.what, number=step.content.number if step.content else None,
    )  # fmt: skip


def _name_of(plan: Rewind, folder_id: int) -> str:
    step = plan.steps.get(folder_id)
    return step.name if step else str(plan.folders[folder_id].name)
