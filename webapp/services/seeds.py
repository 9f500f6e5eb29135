"""A demo workspace: people, folders and files, planted by the same services that people use. Twice is once."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Protocol
from uuid import UUID

from pydantic import SecretStr

from webapp.config import current_settings
from webapp.db import db
from webapp.errors import Refused
from webapp.infra.storage import store
from webapp.models.files import File
from webapp.models.folders import Folder
from webapp.models.record import any_state, live
from webapp.models.users import any_role_of, live_user_by_email
from webapp.policies import Actor
from webapp.services.files import NewFile, create_file, replace_content
from webapp.services.folders import NewFolder, create_folder
from webapp.services.names import name_key
from webapp.services.roles import permissions_held
from webapp.services.trash import trash_file
from webapp.services.users import NewUser, create_user, email_key

DOMAIN = "harbour.example"


class SeedPerson(Protocol):
    """An account of the demo; `key` is the first part of its address."""

    @property
    def key(self) -> str: ...
    @property
    def name(self) -> str: ...
    @property
    def role(self) -> str: ...


class SeedFile(Protocol):
    """A file of the demo: each version is written when it is its turn."""

    @property
    def owner(self) -> str: ...
    @property
    def folder(self) -> tuple[str, ...]: ...
    @property
    def name(self) -> str: ...
    @property
    def versions(self) -> tuple[Callable[[], bytes], ...]: ...
    @property
    def trashed(self) -> bool: ...


@dataclass(slots=True)
class Planted:
    """What one run added; `there` counts the files that an earlier run had planted."""

    files: int = 0
    versions: int = 0
    trashed: int = 0
    size: int = 0  # bytes
    there: int = 0

    def __add__(self, other: "Planted") -> "Planted":
        return Planted(*(getattr(self, name) + getattr(other, name) for name in self.__slots__))

    @property
    def summary(self) -> str:
        """One sentence for the terminal."""
        if not self.files:
            return f"The demo workspace is here already: {self.there} files. Nothing was added."
        held = f"{self.files} files in {self.versions} versions, {self.size / 1e6:.0f} MB"
        return f"Planted {held}, {self.trashed} of them in the trash." + (
            f" {self.there} were here already." if self.there else ""
        )


def refuse_in_production() -> None:
    """Raises Refused where real people's data may be."""
    if current_settings().production:
        raise Refused("This is a production vault (APP_ENV=production). Nothing was changed.")


def seed_person(person: SeedPerson, password: str) -> tuple[Actor, bool]:
    """The person as an actor, and whether the account was made just now; one that is there keeps its password."""
    refuse_in_production()
    address = f"{person.key}@{DOMAIN}"
    user = db.session.scalar(live_user_by_email(email_key(address)))
    if user is None:
        return create_user(
            None, NewUser(email=address, name=person.name, password=SecretStr(password)), role=person.role
        ), True
    roles = frozenset(db.session.scalars(any_role_of(user.id)))
    found = Actor(
        id=user.id, uuid=user.uuid, email=user.email, name=user.name, roles=roles, permissions=permissions_held(roles)
    )
    return found, False


def plant_files(actor: Actor, files: Iterable[SeedFile], tell: Callable[[SeedFile], None]) -> Planted:
    """Store the actor's files with their folders, versions and trash; `tell` hears of each when it is done.

    A file whose name is or was in its folder is left as it is, so a run that was cut short can be repeated.
    """
    refuse_in_production()
    planted = Planted()
    folders: dict[tuple[str, ...], UUID | None] = {(): None}
    names: dict[UUID | None, set[str]] = {}
    for file in files:
        folder = _folder_of(actor, file.folder, folders)
        if folder not in names:
            names[folder] = _any_names_in(actor, folder)
        if name_key(file.name) in names[folder]:
            planted.there += 1
        else:
            _plant(actor, folder, file, planted)
            names[folder].add(name_key(file.name))
        tell(file)
    return planted


def _plant(actor: Actor, folder: UUID | None, file: SeedFile, planted: Planted) -> None:
    first, *later = (version() for version in file.versions)
    with store().draft() as draft:
        draft.write(first)
        view = create_file(actor, NewFile(name=file.name, folder_id=folder), draft)
    for content in later:
        with store().draft() as draft:
            draft.write(content)
            replace_content(actor, view.id, draft)
    if file.trashed:
        trash_file(actor, view.id)
    planted.files += 1
    planted.versions += len(file.versions)
    planted.trashed += file.trashed
    planted.size += len(first) + sum(map(len, later))


def _folder_of(actor: Actor, path: tuple[str, ...], known: dict[tuple[str, ...], UUID | None]) -> UUID | None:
    if path not in known:
        parent = _folder_of(actor, path[:-1], known)
        there = _live_folder_named(actor, parent, path[-1])
        known[path] = there or create_folder(actor, NewFolder(name=path[-1], parent_id=parent)).id
    return known[path]


def _live_folder_named(actor: Actor, parent: UUID | None, name: str) -> UUID | None:
    inside = live(Folder, Folder.id).where(Folder.uuid == parent).scalar_subquery() if parent else None
    place = Folder.parent_id == inside if parent else Folder.parent_id.is_(None)
    same = (Folder.owner_id == actor.id) & place & (Folder.name_key == name_key(name))
    found: UUID | None = db.session.scalar(live(Folder, Folder.uuid).where(same))
    return found


def _any_names_in(actor: Actor, folder: UUID | None) -> set[str]:
    """Keys of all names there, those in the trash too."""
    inside = live(Folder, Folder.id).where(Folder.uuid == folder).scalar_subquery() if folder else None
    place = File.folder_id == inside if folder else File.folder_id.is_(None)
    return set(db.session.scalars(any_state(File, File.name_key).where(File.owner_id == actor.id, place)))


def forget_bytes() -> int:
    """Remove everything from the store, after the database has forgotten it. Returns how many files."""
    refuse_in_production()
    keys = list(store().keys_older_than(-1))
    for key in keys:
        store().delete(key)
    return len(keys)
