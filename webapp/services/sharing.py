"""Public links as those see them who may: what can be wished, how a link stands, lists of one's own and of all."""

from datetime import datetime
from typing import Annotated, Any, Literal, Self
from uuid import UUID

import msgspec
from pydantic import AfterValidator, BeforeValidator, Field, model_validator
from pydantic_core import PydanticCustomError
from sqlalchemy import ColumnElement, or_

from webapp.config import current_settings
from webapp.db import read_rows
from webapp.errors import Missing
from webapp.infra.clock import now
from webapp.models.files import File
from webapp.models.folders import Folder
from webapp.models.shares import Share, exhausted, live_shares
from webapp.models.users import User
from webapp.policies import Actor, Level, require
from webapp.services.access import reach, rows_of
from webapp.services.cursors import Page, decode_cursor, page_of
from webapp.services.files import find_file
from webapp.services.folders import find_folder
from webapp.services.inputs import Input, Instant, Line, split_commas
from webapp.services.passwords import Password
from webapp.services.users import Email

State = Literal["active", "revoked", "expired", "exhausted", "gone"]


def _to_come(moment: datetime) -> datetime:
    if moment <= now():
        raise PydanticCustomError("past", "This moment is over")
    return moment


Label = Annotated[str, Line(120, least=0)]
Limit = Annotated[int, Field(ge=1, le=1_000_000)]
Later = Annotated[Instant, AfterValidator(_to_come)]
Recipients = Annotated[list[Email], Field(max_length=50)]


class NewShare(Input):
    """A link to a file or to a folder and all in it. `upload_only`: strangers put files into the folder and see
    nothing of it; `view_only`: they look at previews and take nothing away; `strip_metadata`: pictures come without
    place, camera and time; `recipients`: only these addresses, each by a mailed code."""

    file_id: UUID | None = None
    folder_id: UUID | None = None
    label: Label = ""
    password: Password | None = None
    recipients: Recipients = Field(default=[])
    expires_at: Later | None = None
    download_limit: Limit | None = None
    upload_only: bool = False
    view_only: bool = False
    strip_metadata: bool = False

    @model_validator(mode="after")
    def _one(self) -> Self:
        if (self.file_id is None) == (self.folder_id is None):
            raise PydanticCustomError("one_object", "Give exactly one of file_id and folder_id")
        if self.upload_only and (self.file_id is not None or self.view_only):
            raise PydanticCustomError("folders_take_uploads", "Only a folder takes uploads, and nothing is seen of it")
        return self


class ShareForm(NewShare):
    """The same from a page; `days` from now it ends."""

    recipients: Annotated[Recipients, BeforeValidator(split_commas)] = Field(default=[])
    days: Annotated[int | None, Field(ge=1, le=3650)] = None


class ShareChange(Input):
    """What to change; what is absent stays, null takes away."""

    label: Label | None = None
    password: Password | None = None
    recipients: Recipients | None = None
    expires_at: Later | None = None
    download_limit: Limit | None = None
    view_only: bool | None = None
    strip_metadata: bool | None = None


class ShareEdit(Input):
    """The same from its page, which shows all: an empty password stays as it was, an empty `days` too; 0: no end."""

    label: Label = ""
    password: Password | None = None
    no_password: bool = False
    recipients: Annotated[Recipients, BeforeValidator(split_commas)] = Field(default=[])
    days: Annotated[int | None, Field(ge=0, le=3650)] = None
    download_limit: Limit | None = None
    view_only: bool = False
    strip_metadata: bool = False


class ShareFilter(Input):
    """A page of links, newest first: one's own, or all on one file or folder, for who may share that."""

    file_id: UUID | None = None
    folder_id: UUID | None = None
    state: Literal["active", "revoked", "expired", "exhausted"] | None = None
    limit: Annotated[int, Field(ge=1, le=100)] = 25
    cursor: Annotated[str | None, Field(max_length=2000)] = None


class VaultShareFilter(Input):
    """A page of everybody's links, newest first. `q` is part of a label, of the object's or of the maker's name."""

    q: Annotated[str, Line(120)] | None = None
    state: Literal["active", "revoked", "expired", "exhausted"] | None = None
    limit: Annotated[int, Field(ge=1, le=100)] = 25
    cursor: Annotated[str | None, Field(max_length=2000)] = None


class ShareView(msgspec.Struct, frozen=True, kw_only=True):
    """A link. `url` is told to who made it alone; `name` is that of the file or folder, none once it is gone."""

    id: UUID
    url: str | None
    file_id: UUID | None
    folder_id: UUID | None
    name: str | None
    label: str
    maker_id: UUID
    maker: str
    state: State
    has_password: bool
    recipients: list[str]
    expires_at: datetime | None
    download_limit: int | None
    downloads: int
    upload_only: bool
    view_only: bool
    strip_metadata: bool
    revoked_at: datetime | None
    revoked_by: str | None
    created_at: datetime
    updated_at: datetime
    version: int


def list_shares(actor: Actor, query: ShareFilter) -> Page[ShareView]:
    """The actor's links, or those on one object. Raises Missing, Refused for who may not share it."""
    require(actor, "files.share")
    here: ColumnElement[bool] = Share.maker_id == actor.id
    if query.file_id is not None:
        here = Share.file_id == find_file(actor, query.file_id, "files.share").id
    elif query.folder_id is not None:
        here = Share.folder_id == find_folder(actor, query.folder_id, "files.share").id
    return _page(actor, query, here)


def list_vault_shares(actor: Actor, query: VaultShareFilter) -> Page[ShareView]:
    """Everybody's links, without their addresses."""
    require(actor, "shares.read")
    return _page(actor, query, *([_matching(query.q)] if query.q else []))


def show_share(actor: Actor, share_id: UUID) -> ShareView:
    """One of them. Raises Missing."""
    require(actor, "files.share")
    return view_of(actor, find_row(actor, share_id))


def find_row(actor: Actor, share_id: UUID) -> Any:
    """A link that is the actor's, or on something that they may share. Raises Missing."""
    rows = rows_of(live_shares(Share.uuid == share_id))
    if not rows or not _theirs(actor, rows[0]):
        raise Missing("There is no such link.")
    return rows[0]


def _theirs(actor: Actor, row: Any) -> bool:
    if row.maker_id == actor.id:
        return True
    return row.owner_id is not None and reach(actor, row.owner_id, row.path, row.id).level >= Level.MANAGER


def _page(actor: Actor, query: ShareFilter | VaultShareFilter, *criteria: ColumnElement[bool]) -> Page[ShareView]:
    chosen = live_shares(*criteria).order_by(Share.id.desc()).limit(query.limit + 1)
    if query.state:
        chosen = chosen.where(_standing(query.state))
    if query.cursor:
        chosen = chosen.where(Share.id < decode_cursor(query.cursor, (int,), of="shares")[0])
    rows = read_rows(chosen)
    return page_of(rows, query.limit, lambda row: view_of(actor, row), lambda row: (row.row_id,), of="shares")


def _matching(text: str) -> ColumnElement[bool]:
    columns = (Share.label, File.name, Folder.name, User.name)
    return or_(*(column.icontains(text, autoescape=True) for column in columns))


def _standing(state: str) -> ColumnElement[bool]:
    """The states in their order: what was revoked is that, whatever else it is."""
    over = (Share.expires_at.is_not(None)) & (Share.expires_at <= now())
    if state == "revoked":
        return Share.revoked_at.is_not(None)
    if state == "expired":
        return Share.revoked_at.is_(None) & over
    there = Share.revoked_at.is_(None) & ~over
    return there & (exhausted() if state == "exhausted" else ~exhausted())


def state_of(row: Any) -> State:
    """How a link stands, for who may see it."""
    if row.name is None:
        return "gone"
    if row.revoked_at is not None:
        return "revoked"
    if row.expires_at is not None and row.expires_at <= now():
        return "expired"
    used_up = row.download_limit is not None and row.downloads >= row.download_limit
    return "exhausted" if used_up else "active"


def url_of(token: str) -> str:
    """The address that strangers open."""
    return f"{current_settings().origin}/s/{token}"


def recipients_of(row: Any) -> list[str]:
    """The addresses that a link is for; none: whoever has it."""
    return msgspec.json.decode(row.recipients, type=list[str]) if row.recipients else []


def view_of(actor: Actor, row: Any) -> ShareView:
    """The struct of a row of `live_shares`. Who acts as somebody else sees no secret of theirs."""
    own = row.maker_id == actor.id and actor.impersonator is None
    return ShareView(
        id=row.uuid, url=url_of(row.token) if own else None, file_id=row.file_uuid, folder_id=row.folder_uuid,
        name=row.name, label=row.label, maker_id=row.maker_uuid, maker=row.maker, state=state_of(row),
        has_password=row.password_hash is not None, recipients=recipients_of(row), expires_at=row.expires_at,
        download_limit=row.download_limit, downloads=row.downloads, upload_only=row.upload_only,
        view_only=row.view_only, strip_metadata=row.strip_metadata, revoked_at=row.revoked_at,
        revoked_by=row.revoker if row.revoked_at else None, created_at=row.created_at, updated_at=row.updated_at,
        version=row.version,
    )  # fmt: skip
