"""Grants: who shares what with whom, at which level, until when. Rights come from the level (services/access.py)."""

from dataclasses import dataclass
from datetime import datetime
from typing import Annotated, Any, Literal, Self
from uuid import UUID

import msgspec
from pydantic import AfterValidator, model_validator
from pydantic_core import PydanticCustomError
from sqlalchemy import ColumnElement

from webapp.config import current_settings
from webapp.db import db, transactional
from webapp.errors import Invalid, Missing, Refused
from webapp.infra.clock import now
from webapp.models.files import File
from webapp.models.folders import Folder
from webapp.models.grants import Grant, live_grant, live_grants, live_user_uuid
from webapp.models.groups import Group, live_group
from webapp.models.users import User, live_user_by_email
from webapp.policies import Actor, Level
from webapp.services.access import owner_of
from webapp.services.cursors import Page
from webapp.services.events import Target, record
from webapp.services.files import find_file
from webapp.services.folders import check_version, find_folder
from webapp.services.inputs import Input, Instant
from webapp.services.mails import Recipient, send_mail
from webapp.services.quotas import lock_tree
from webapp.services.users import Email, email_key

Noun = Literal["file", "folder"]
Granted = Literal["viewer", "editor", "manager"]


def _to_come(moment: datetime) -> datetime:
    if moment <= now():
        raise PydanticCustomError("past", "This moment is over")
    return moment


class Grantee(Input):
    """Exactly one of them: an account by id or e-mail, or a group."""

    user_id: UUID | None = None
    email: Email | None = None
    group_id: UUID | None = None

    @model_validator(mode="after")
    def _one(self) -> Self:
        if sum(name is not None for name in (self.user_id, self.email, self.group_id)) != 1:
            raise PydanticCustomError("one_grantee", "Give exactly one of user_id, email and group_id")
        return self


class NewGrant(Grantee):
    """What they may do, and until when; without an end, until somebody takes it back."""

    level: Granted
    expires_at: Annotated[Instant, AfterValidator(_to_come)] | None = None


class GrantView(msgspec.Struct, frozen=True, kw_only=True):
    """A grant. Either `user_id` or `group_id` says to whom; `name` is theirs, `by` the one who granted it."""

    id: UUID
    level: str
    user_id: UUID | None
    group_id: UUID | None
    name: str
    email: str | None
    by: str | None
    expires_at: datetime | None
    created_at: datetime
    version: int


@dataclass(frozen=True, slots=True)
class _Thing:
    """A file or folder to share, found by who may share it."""

    noun: Noun
    item: File | Folder

    @property
    def here(self) -> ColumnElement[bool]:
        return (Grant.file_id if self.noun == "file" else Grant.folder_id) == self.item.id

    def key(self) -> dict[str, int]:
        return {f"{self.noun}_id": self.item.id}


def list_grants(actor: Actor, noun: Noun, thing_id: UUID) -> Page[GrantView]:
    """What was granted on this very object, expired ones too. Raises Missing, Refused for who may not share it."""
    thing = _find(actor, noun, thing_id)
    return Page(items=[_view(row) for row in db.session.execute(live_grants(thing.here)).all()])


@transactional
def put_grant(actor: Actor, noun: Noun, thing_id: UUID, wish: NewGrant, expected: int | None = None) -> GrantView:
    """Grant it, or change what was granted to the same; a person who is granted something new is mailed.

    Raises Missing, Refused for who may not share it, Stale, Invalid for an unknown grantee or the owner.
    """
    lock_tree(owner_of(File if noun == "file" else Folder, thing_id, actor))
    thing = _find(actor, noun, thing_id)
    grantee = _grantee(actor, wish)
    if actor.impersonator is not None and isinstance(grantee, User) and grantee.id == actor.impersonator.id:
        raise Refused("Who acts as somebody else shares nothing with themselves.", code="acting")
    if isinstance(grantee, User) and grantee.id == thing.item.owner_id:
        raise Invalid.field("user_id" if wish.user_id else "email", "owner", "This is theirs already.")
    grant = db.session.scalar(live_grant(thing.here, _to(grantee)))
    check_version(grant.version if grant else 0, expected)
    level = int(Level[wish.level.upper()])
    if grant is None:
        grant = Grant(**thing.key(), level=level, expires_at=wish.expires_at, grantor_id=actor.id or None,
                      **{"user_id" if isinstance(grantee, User) else "group_id": grantee.id})  # fmt: skip
        db.session.add(grant)
        db.session.flush()
        _note(actor, "grant.made", thing, grant, grantee, {"level": (None, wish.level)})
        if isinstance(grantee, User):
            _mail(actor, thing, grantee, wish.level)
    elif (grant.level, grant.expires_at) != (level, wish.expires_at):
        changes = {"level": (Level(grant.level).name.lower(), wish.level),
                   "expires_at": (_text(grant.expires_at), _text(wish.expires_at))}  # fmt: skip
        grant.level, grant.expires_at = level, wish.expires_at
        db.session.flush()
        _note(actor, "grant.changed", thing, grant, grantee, changes)
    return _view(db.session.execute(live_grants(Grant.id == grant.id)).one())


@transactional
def delete_grant(actor: Actor, noun: Noun, thing_id: UUID, wish: Grantee, expected: int | None = None) -> None:
    """Take back what was granted to somebody on this very object: it ends at once. Raises Missing, Refused, Stale."""
    lock_tree(owner_of(File if noun == "file" else Folder, thing_id, actor))
    thing = _find(actor, noun, thing_id)
    grantee = _grantee(actor, wish, taking=True)
    grant = db.session.scalar(live_grant(thing.here, _to(grantee)))
    if grant is None:
        raise Missing("Nothing was granted to them here.")
    check_version(grant.version, expected)
    grant.deleted_at = now()
    db.session.flush()
    _note(actor, "grant.removed", thing, grant, grantee, {"level": (Level(grant.level).name.lower(), None)})


def _find(actor: Actor, noun: Noun, thing_id: UUID) -> _Thing:
    found = find_file(actor, thing_id, "files.share") if noun == "file" else find_folder(actor, thing_id, "files.share")
    return _Thing(noun, found)


def _grantee(actor: Actor, wish: Grantee, *, taking: bool = False) -> User | Group:
    if wish.group_id is not None:
        group = db.session.scalar(live_group(wish.group_id))
        # Others' groups are not to be guessed: who may not see all names those they are in.
        if group is None or not (taking or actor.can("groups.read") or group.id in actor.groups):
            raise Invalid.field("group_id", "unknown_group", "There is no such group.")
        return group
    if wish.user_id is not None:
        user = db.session.scalar(live_user_uuid(wish.user_id))
    else:
        user = db.session.scalar(live_user_by_email(email_key(wish.email or "")))
    if user is None:
        field = "user_id" if wish.user_id is not None else "email"
        raise Invalid.field(field, "unknown_user", "Nobody here has this account." if wish.user_id else
                            "Nobody here has this e-mail.")  # fmt: skip
    return user


def _to(grantee: User | Group) -> ColumnElement[bool]:
    return (Grant.user_id if isinstance(grantee, User) else Grant.group_id) == grantee.id


def _note(
    actor: Actor, event: str, thing: _Thing, grant: Grant, grantee: User | Group, changes: dict[str, tuple[Any, Any]]
) -> None:
    kind, on = "user" if isinstance(grantee, User) else "group", str(thing.item.uuid)
    told = {**changes, kind: (str(grantee.uuid), str(grantee.uuid)), thing.noun: (on, on)}
    record(actor, event, Target("grant", grant.uuid, thing.item.name, thing.item.owner_id), told)


def _mail(actor: Actor, thing: _Thing, user: User, level: str) -> None:
    page = f"{current_settings().origin}/{thing.noun}s/{thing.item.uuid}"
    to = Recipient(user.email, user.name, user.locale, user.time_zone)
    about = {"by": actor.name, "name": thing.item.name, "noun": thing.noun, "level": level, "url": page}
    send_mail(actor, "shared_with_you", to, about)


def _text(moment: datetime | None) -> str | None:
    return None if moment is None else moment.isoformat()


def _view(row: Any) -> GrantView:
    return GrantView(
        id=row.uuid, level=Level(row.level).name.lower(), user_id=row.user_uuid, group_id=row.group_uuid,
        name=row.user_name or row.group_name, email=row.email, by=row.grantor, expires_at=row.expires_at,
        created_at=row.created_at, version=row.version,
    )  # fmt: skip
