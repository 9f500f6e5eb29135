"""Where a search may look: one's own, what grants give with all that lies in it, within a token's limit and a folder.

One statement, however deep the folders are. The rule of access stands in services/access.py; tests hold both together.
"""

from collections import defaultdict
from dataclasses import dataclass, field, replace
from uuid import UUID

from sqlalchemy import ColumnElement, Select, func, literal, union_all
from sqlalchemy.orm import aliased

from webapp.db import read_rows
from webapp.infra.clock import now
from webapp.models.access import mine
from webapp.models.files import File
from webapp.models.folders import TOP, Folder
from webapp.models.grants import Grant
from webapp.models.record import any_state, live
from webapp.policies import Actor, Level, level_by_role
from webapp.services.access import refuse_missing


@dataclass(frozen=True, slots=True)
class Scope:
    """Internal ids of what may be found. `everything`: all that there is; `folders` are granted, each with those below;
    `inside` and `within` are limits, where there are: of the token, and of what is asked for."""

    owner_id: int
    everything: bool
    folders: frozenset[int] = frozenset()
    files: frozenset[int] = frozenset()
    owners: frozenset[int] = frozenset()
    inside: frozenset[int] | None = None
    within: frozenset[int] | None = None
    top: int | None = field(default=None)  # the folder that was asked for, which is not found in itself

    def shows_folder(self, owner_id: int, folder_id: int | None) -> bool:
        """Whether the actor sees this folder itself, so that its name may be told."""
        if folder_id is None or (self.inside is not None and folder_id not in self.inside):
            return False
        return self.everything or owner_id == self.owner_id or folder_id in self.folders


def scope_of(actor: Actor, folder_id: UUID | None = None) -> Scope:
    """What the actor may find in this folder and below it, or anywhere. Raises Missing for one that they do not see."""
    everything = level_by_role(actor) > Level.NONE
    starts = [] if everything else [_granted(actor)]
    starts += [_start("inside", Folder.id == actor.root)] if actor.root is not None else []
    starts += [_start("within", Folder.uuid == folder_id)] if folder_id is not None else []
    found: dict[str, dict[int, tuple[int, bool]]] = defaultdict(dict)
    for row in read_rows(_tree(actor, starts, files=not everything)) if starts else []:
        found[row.part][row.id] = (row.owner_id, row.first)
    inside = frozenset(found["inside"]) if actor.root is not None else None
    scope = Scope(actor.id, everything, frozenset(found["granted"]), frozenset(found["file"]),
                  frozenset(owner for part in ("granted", "file") for owner, _ in found[part].values()), inside,
                  frozenset(found["within"]) if folder_id is not None else None)  # fmt: skip
    if folder_id is None:
        return scope
    top = next((number for number, (_, first) in found["within"].items() if first), None)
    if top is None or not scope.shows_folder(found["within"][top][0], top):
        refuse_missing("folder")
    return replace(scope, top=top)


def _start(part: str, criterion: ColumnElement[bool]) -> Select[tuple[str, int, int, int]]:
    return live(Folder, literal(part).label("part"), Folder.id, Folder.owner_id, literal(1).label("first")).where(
        criterion
    )


def _granted(actor: Actor) -> Select[tuple[str, int, int, int]]:
    granted = live(Grant, Grant.folder_id).where(mine(actor.id, actor.groups, now()), Grant.folder_id.is_not(None))
    return _start("granted", Folder.id.in_(granted))


def _tree(actor: Actor, starts: list[Select[tuple[str, int, int, int]]], *, files: bool) -> Select[tuple[str, int]]:
    first = union_all(*starts).subquery("first_ones")
    tree = any_state(first, first.c.part, first.c.id, first.c.owner_id, first.c.first).cte("tree", recursive=True)
    below = aliased(Folder)
    step = live(below, tree.c.part, below.id, below.owner_id, literal(0)).join(
        tree, (below.owner_id == tree.c.owner_id) & (func.coalesce(below.parent_id, TOP) == tree.c.id)
    )
    tree = tree.union(step)
    folders = any_state(tree, tree.c.part, tree.c.id, tree.c.owner_id, tree.c.first)
    if not files:
        return folders
    granted = live(Grant, Grant.file_id).where(mine(actor.id, actor.groups, now()), Grant.file_id.is_not(None))
    alone = live(File, literal("file"), File.id, File.owner_id, literal(1)).where(File.id.in_(granted))
    return union_all(folders, alone)  # type: ignore[return-value]
