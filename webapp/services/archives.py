"""Several files and whole folders as one zip: read in a bounded number of statements, streamed, its length known."""

import re
from collections.abc import Collection, Iterator, Sequence
from contextvars import copy_context
from functools import partial
from pathlib import PurePosixPath
from typing import Annotated, Any, Self
from uuid import UUID

import msgspec
from pydantic import Field, model_validator
from pydantic_core import PydanticCustomError

from webapp.db import read_rows
from webapp.errors import TooLarge
from webapp.infra.clock import now
from webapp.infra.zips import Entry, size_of_zip, write_zip
from webapp.models.archives import live_folders_at, live_folders_under, live_stored_files, live_stored_files_under
from webapp.policies import Actor, require
from webapp.services.access import levels_at, refuse_missing
from webapp.services.inputs import Input
from webapp.services.names import name_key
from webapp.services.scans import is_safe
from webapp.services.stored import read_blob

MOST = 50_000  # files and folders in one archive: their names are held until its last byte
STATEMENT = 50  # subtrees read by one statement
MISSING = "Not in this archive.txt"
RESERVED = re.compile(r"^(con|prn|aux|nul|com[0-9¹²³]|lpt[0-9¹²³])(\.|$)", re.IGNORECASE)
UNFIT = re.compile(r'[<>:"|?*]')


class NewArchive(Input):
    """What to pack side by side."""

    file_ids: Annotated[list[UUID], Field(max_length=1000)] = Field(default_factory=list)
    folder_ids: Annotated[list[UUID], Field(max_length=1000)] = Field(default_factory=list)

    @model_validator(mode="after")
    def _something(self) -> Self:
        if not self.file_ids and not self.folder_ids:
            raise PydanticCustomError("nothing", "Name at least one file or folder")
        return self


class Archive(msgspec.Struct, frozen=True):
    """A zip that has not been written yet; `size` is bytes."""

    name: str
    size: int
    entries: list[Entry]

    def read(self) -> Iterator[bytes]:
        """Its bytes in pieces. Raises Unavailable when the store does not answer: the stream ends short of `size`."""
        return write_zip(self.entries)


def open_folder(actor: Actor, folder_id: UUID) -> Archive:
    """A folder with all that is in it. Raises Missing, TooLarge."""
    return open_archive(actor, NewArchive(folder_ids=[folder_id]))


def open_archive(actor: Actor, wish: NewArchive) -> Archive:
    """These files and folders side by side. Raises Missing when the actor does not see one of them, TooLarge.

    Files that nobody may open, damaged, infected or still to be checked, are left out and named in a text file at the
    top: a stream that has begun cannot be refused any more, and the others are worth having.
    """
    require(actor, "files.read")
    chosen = set(wish.folder_ids)
    roots = _seen(actor, read_rows(live_folders_at(chosen)) if chosen else (), chosen, "folder")
    single = set(wish.file_ids)
    loose = _seen(actor, read_rows(live_stored_files(single)) if single else (), single, "file")
    roots = [root for root in roots if not any(o is not root and root.path.startswith(o.path) for o in roots)]
    loose = [file for file in loose if not any((file.path or "").startswith(root.path) for root in roots)]
    entries = _Tree(roots, _below(live_folders_under, roots)).entries(
        actor, loose, _below(live_stored_files_under, roots)
    )
    return Archive(_title(roots, loose), size_of_zip(entries), entries)


def _seen(actor: Actor, rows: Sequence[Any], wished: Collection[UUID], noun: str) -> list[Any]:
    spots = [_Spot(row.id if noun == "file" else None, row.owner_id, row.path) for row in rows]
    if len(rows) < len(wished) or not all(levels_at(actor, spots)):
        refuse_missing(noun)
    return sorted(rows, key=lambda row: row.id)


class _Spot(msgspec.Struct, frozen=True):
    id: int | None
    owner_id: int
    path: str | None


def _below(reading: Any, roots: Sequence[Any]) -> list[Any]:
    """Rows of the subtrees. Stops reading and raises TooLarge where there are too many."""
    found: list[Any] = []
    for start in range(0, len(roots), STATEMENT):
        paths = [root.path for root in roots[start : start + STATEMENT]]
        found += read_rows(reading(paths).limit(MOST + 1 - len(found)))
        if len(found) > MOST:
            raise TooLarge(f"An archive holds at most {MOST} files and folders. Choose fewer.", code="too_many_files")
    return found


class _Tree:
    """Where each folder lies in the archive, and which names are taken there."""

    def __init__(self, roots: Sequence[Any], folders: Sequence[Any]) -> None:
        self._taken: dict[str, dict[str, int]] = {}
        self._places: dict[int, str] = {}
        tops = {root.id for root in roots}
        self.folders: list[Entry] = []
        for folder in folders:
            above = "" if folder.id in tops else self._places.get(folder.parent_id)
            if above is not None:  # else a folder on the way to it went to the trash meanwhile
                place = self.place(above, folder.name)
                self._places[folder.id] = f"{place}/"
                self.folders.append(Entry(place, folder.updated_at))

    def entries(self, actor: Actor, loose: Sequence[Any], files: Sequence[Any]) -> list[Entry]:
        """Folders, then files; the words about what is missing first."""
        found, missing = list(self.folders), []
        within = copy_context()  # the stream goes on where the request has ended; sealed content asks for its key
        seen = [("", file) for file in loose]
        seen += [(self._places[file.folder_id], file) for file in files if file.folder_id in self._places]
        for above, file in seen:
            place = self.place(above, file.name)
            if (why := _fault_of(actor, file)) is None:
                found.append(Entry(place, file.modified, file.size, partial(within.run, read_blob, file.storage_key)))
            else:
                missing.append(f"{place}: {why}\r\n")
        if missing:
            text = "These files could not be packed:\r\n\r\n" + "".join(missing)
            found.insert(0, Entry(self.place("", MISSING), now(), len(text.encode()), lambda: [text.encode()]))
        return found

    def place(self, above: str, name: str) -> str:
        """A free name under `above` that can be unpacked on every system: also where case does not tell names apart."""
        taken = self._taken.setdefault(above, {})
        fit = fit_name(name)
        key = name_key(fit).casefold()
        number, free = taken.get(key, 0), fit
        if number:
            while name_key(free := _numbered(fit, number)).casefold() in taken:
                number += 1
            taken[name_key(free).casefold()] = 1
        taken[key] = number + 1  # where the search for the next one begins
        return above + free


def _fault_of(actor: Actor, file: Any) -> str | None:
    """Why nobody, or this actor, may have the content."""
    if file.damaged_at is not None:
        return "the stored bytes are damaged"
    if file.infected_with is not None:
        return f"a virus was found ({file.infected_with})"
    safe = is_safe(file.scanned_at, None, own=file.owner_id == actor.id)
    return None if safe else "not checked for viruses yet"


def fit_name(name: str) -> str:
    """The name without what Windows cannot write: <>:"|?*, dots and blanks at the end, names of devices."""
    fit = UNFIT.sub("_", name).rstrip(". ") or "_"
    return f"_{fit}" if RESERVED.match(fit) else fit


def _numbered(name: str, number: int) -> str:
    path = PurePosixPath(name)
    return f"{path.stem} ({number}){path.suffix}"


def _title(roots: Sequence[Any], loose: Sequence[Any]) -> str:
    """Named after its only content, else after the vault's files."""
    if len(roots) == 1 and not loose:
        return f"{roots[0].name}.zip"
    return f"{PurePosixPath(loose[0].name).stem}.zip" if len(loose) == 1 and not roots else "Files.zip"
