"""What has to change so that a folder, or all of an account, is as it was at an instant: worked out, nothing done.

Items made since then go to the trash; what was moved, renamed, trashed or replaced goes back. What was removed for good
is named. From the placements: only what has changed since is looked at.
"""

from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from webapp.errors import Conflict
from webapp.models.files import File
from webapp.models.folders import MAX_DEPTH, Folder
from webapp.models.pasts import any_changes_since, any_contents_of, any_files_at, any_folders_of, live_names_in
from webapp.services.access import rows_of
from webapp.services.names import name_key, next_free

MOST = 200_000  # placements of one look
PART = 1000  # ids of one statement


@dataclass(slots=True)
class Step:
    """One item and the state that it goes to; `content` is a row of any_contents_of, None where it stays."""

    kind: str
    row: Any
    parent_id: int | None
    name: str
    alive: bool = True
    wholly: bool = True  # its content goes back, too
    content: Any = None

    @property
    def what(self) -> list[str]:
        """What happens to it."""
        if not self.alive:
            return ["trashed"]
        found = ["undeleted"] if self.row.deleted_at is not None else []
        found += ["moved"] if self.parent_id != self.row.parent_id else []
        found += ["renamed"] if self.name != self.row.name else []
        return found + (["content"] if self.content is not None else [])


@dataclass(slots=True)
class Rewind:
    """The plan: steps by item, all folders of the owner, and what cannot be brought back."""

    owner_id: int
    root: int | None
    folders: Mapping[int, Any]
    steps: dict[int, Step] = field(default_factory=dict)
    lost: list[str] = field(default_factory=list)  # names of what was removed for good
    kept: list[str] = field(default_factory=list)  # names of files whose content of then is gone: the present one stays
    guests: list[tuple[str, Any]] = field(default_factory=list)  # what came from elsewhere and stays
    beyond: int = 0  # items that now lie where the actor has no say

    def parent_of(self, folder_id: int) -> int | None:
        """Where a folder will be."""
        step = self.steps.get(folder_id)
        found: int | None = step.parent_id if step else self.folders[folder_id].parent_id
        return found

    def lives(self, folder_id: int | None) -> bool:
        """Whether a folder will be there; the top always is."""
        if folder_id is None:
            return True
        step = self.steps.get(folder_id)
        row = self.folders.get(folder_id)
        return step.alive if step else row is not None and row.deleted_at is None

    def chain(self, folder_id: int | None) -> Iterator[int]:
        """The folders above, from this one up. Raises Conflict where they go round in a circle."""
        count = 0
        while folder_id is not None:
            yield folder_id
            folder_id, count = self.parent_of(folder_id), count + 1
            if count > MAX_DEPTH:
                raise Conflict("Folders would be inside themselves or too deep. Go back in a folder further up.",
                               code="cycle")  # fmt: skip

    def path_of(self, folder_id: int) -> str:
        """The path that a folder will have."""
        return "/" + "".join(f"{each}/" for each in reversed(list(self.chain(folder_id))))


def plan_rewind(owner_id: int, root: int | None, moment: datetime, *, whole: bool) -> Rewind:
    """The plan for a folder (`root`) or the whole account. `whole`: the actor has a say outside the folder, too."""
    rows = rows_of(any_changes_since(owner_id, moment, MOST + 1))
    if len(rows) > MOST:
        raise Conflict(
            "Too much has changed since then for one step. Choose a later time or a folder.", code="too_much"
        )
    past = {row.item_id: row for row in rows if row.valid_from <= moment}
    kinds = {row.item_id: row.item_type for row in rows}
    folders = {row.id: row for row in rows_of(any_folders_of(owner_id))}
    plan = Rewind(owner_id, root, folders)
    files = {row.id: row for row in _parts(any_files_at, [i for i, kind in kinds.items() if kind == "file"])}
    then, now_ = _Then(plan, past, kinds), _Now(plan)
    for item, kind in kinds.items():
        row = (files if kind == "file" else folders).get(item)
        if item != root:
            _decide(plan, kind, row, past.get(item), then, now_, whole=whole)
    _settle(plan)
    _add_contents(plan, past)
    _free_names(plan)
    plan.steps = {item: step for item, step in plan.steps.items() if step.what and not _is_there(step)}
    return plan


class _Inside:
    """Whether something in this folder is in what is restored; remembers."""

    def __init__(self, plan: Rewind) -> None:
        self.plan, self.known = plan, dict[int | None, bool]()

    def above(self, folder_id: int) -> tuple[bool, int | None]:
        """Whether the folder is there, and where it lies."""
        row = self.plan.folders.get(folder_id)
        return row is not None and row.deleted_at is None, None if row is None else row.parent_id

    def __call__(self, folder_id: int | None) -> bool:
        trail, place = list[int](), folder_id
        while place is not None and place != self.plan.root and place not in self.known and len(trail) <= MAX_DEPTH:
            there, above = self.above(place)
            trail.append(place)
            if not there:
                self.known[place] = False
                break
            place = above
        found = self.known.get(place, place == self.plan.root)
        self.known.update(dict.fromkeys(trail, found))
        return found


class _Now(_Inside):
    """As things are."""


class _Then(_Inside):
    """As they were."""

    def __init__(self, plan: Rewind, past: Mapping[int, Any], kinds: Mapping[int, str]) -> None:
        super().__init__(plan)
        self.past, self.changed = past, kinds

    def above(self, folder_id: int) -> tuple[bool, int | None]:
        """From the placements where the folder has changed since."""
        if folder_id not in self.changed:
            return super().above(folder_id)
        was = self.past.get(folder_id)
        return was is not None and not was.deleted, None if was is None else was.parent_id


def _decide(plan: Rewind, kind: str, row: Any, was: Any, then: _Then, now_: _Now, *, whole: bool) -> None:
    there = was is not None and not was.deleted
    if there and then(was.parent_id):
        if row is None:
            plan.lost.append(was.name)
        elif row.deleted_at is None and not whole and not now_(row.parent_id):
            plan.beyond += 1
        else:
            plan.steps[row.id] = Step(kind, row, was.parent_id, was.name)
    elif row is not None and row.deleted_at is None and now_(row.parent_id):
        if not there:
            plan.steps[row.id] = Step(kind, row, row.parent_id, row.name, alive=False)
        elif whole and was.parent_id != row.parent_id:  # it came from elsewhere, and goes back there with its content
            plan.steps[row.id] = Step(kind, row, was.parent_id, row.name, wholly=False)
        else:
            plan.guests.append((kind, row))


def _settle(plan: Rewind) -> None:
    """Every living thing in a living folder: what has no place any more goes to the top of what is restored."""
    for item, step in list(plan.steps.items()):
        if step.alive and not plan.lives(step.parent_id):
            if step.row.deleted_at is None and plan.lives(step.row.parent_id):
                del plan.steps[item]
            else:
                step.parent_id = plan.root
    if plan.root is not None:
        _spare(plan, plan.root)
    guests = [Step(kind, row, plan.root, row.name, wholly=False) for kind, row in plan.guests]
    plan.steps |= {step.row.id: step for step in guests if not plan.lives(step.row.parent_id)}
    for folder_id in [item for item, step in plan.steps.items() if step.kind == "folder"]:
        plan.path_of(folder_id)  # raises where there is none


def _spare(plan: Rewind, root: int) -> None:
    """What was made since stays where the folder that it is in leaves what is restored."""
    for item, step in list(plan.steps.items()):
        if not step.alive and root not in list(plan.chain(step.parent_id)):
            del plan.steps[item]


def _add_contents(plan: Rewind, past: Mapping[int, Any]) -> None:
    files = {i: step for i, step in plan.steps.items() if step.kind == "file" and step.alive and step.wholly}
    wanted = {i: past[i].number for i in files}
    wanted = {i: number for i, number in wanted.items() if number != plan.steps[i].row.number}
    found = {(row.file_id, row.number): row for row in _parts(any_contents_of, wanted)}
    for item, number in wanted.items():
        step, content = plan.steps[item], found.get((item, number))
        if content is None:
            plan.kept.append(step.row.name)
        elif content.sha256 != step.row.sha256:
            step.content = content


def _free_names(plan: Rewind) -> None:
    """Names as they were; one that something else has taken meanwhile becomes “name (1)”."""
    places = {step.parent_id or 0 for step in plan.steps.values() if step.alive}
    taken: dict[int, set[str]] = {}
    for model in (Folder, File):
        for ids in _chunks(places):
            for row in rows_of(live_names_in(model, plan.owner_id, ids)):
                if row.id not in plan.steps:
                    taken.setdefault(row.place, set()).add(row.name_key)
    for _, step in sorted(plan.steps.items()):
        if step.alive:
            names = taken.setdefault(step.parent_id or 0, set())
            step.name = next_free(step.name, names) if name_key(step.name) in names else step.name
            names.add(name_key(step.name))


def _is_there(step: Step) -> bool:
    return not step.alive and step.row.deleted_at is not None


def _parts(statement: Any, ids: Iterable[int]) -> Iterator[Any]:
    for part in _chunks(ids):
        yield from rows_of(statement(part))


def _chunks(ids: Iterable[int]) -> Iterator[Collection[int]]:
    every = sorted(ids)
    for start in range(0, len(every), PART):
        yield every[start : start + PART]
