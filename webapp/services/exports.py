"""What the vault knows of a person, as an archive: made by a job, kept encrypted, to be fetched for a week."""

import io
import zipfile
from datetime import datetime, timedelta
from typing import Annotated, Any
from uuid import UUID

import msgspec
from pydantic import Field
from sqlalchemy import delete

from webapp.config import current_settings
from webapp.db import db, read_row, read_rows, transactional
from webapp.errors import Missing
from webapp.infra.clock import now
from webapp.infra.crypto import in_row
from webapp.models.accounts import any_accounts
from webapp.models.audit import AuditEntry
from webapp.models.exports import DataExport, live_export_content, live_exports_of
from webapp.models.factors import live_factors_of
from webapp.models.files import File
from webapp.models.folders import Folder
from webapp.models.groups import live_groups_of
from webapp.models.identities import live_identities_of
from webapp.models.record import any_state, change_rows, live
from webapp.models.sessions import Session
from webapp.models.shares import Share, live_shares
from webapp.models.tokens import live_tokens_of
from webapp.models.users import User
from webapp.policies import Actor, require
from webapp.services.accounts import view_of
from webapp.services.cursors import Page, decode_cursor, page_of
from webapp.services.events import Target, queue_jobs, record
from webapp.services.inputs import Input
from webapp.services.jobs import StartedJob
from webapp.services.mails import Recipient, send_mail
from webapp.services.sharing import recipients_of

KEPT = timedelta(days=7)
Things = list[dict[str, Any]]


class ExportFilter(Input):
    """A page of one's archives, newest first."""

    limit: Annotated[int, Field(ge=1, le=100)] = 25
    cursor: Annotated[str | None, Field(max_length=2000)] = None


class ExportView(msgspec.Struct, frozen=True, kw_only=True):
    """An archive; until it is made it has neither size nor end. `size` is bytes."""

    id: UUID
    ready: bool
    size: int | None
    created_at: datetime
    expires_at: datetime | None
    version: int


def list_exports(actor: Actor, query: ExportFilter) -> Page[ExportView]:
    """The actor's archives."""
    require(actor, "account.read")
    chosen = live_exports_of(actor.id).add_columns(DataExport.id.label("row_id")).limit(query.limit + 1)
    if query.cursor:
        chosen = chosen.where(DataExport.id < decode_cursor(query.cursor, (int,), of="exports")[0])
    return page_of(read_rows(chosen), query.limit, _view, lambda row: (row.row_id,), of="exports")


def show_export(actor: Actor, export_id: UUID) -> ExportView:
    """One of them. Raises Missing."""
    require(actor, "account.read")
    row = read_row(live_exports_of(actor.id).where(DataExport.uuid == export_id))
    if row is None:
        raise Missing("There is no such archive.")
    return _view(row)


def open_export(actor: Actor, export_id: UUID) -> bytes:
    """The archive itself, a ZIP. Raises Missing for one that is not made yet, or over."""
    require(actor, "account.secure")
    row = read_row(live_export_content(actor.id, export_id))
    if row is None or row.content is None or row.expires_at <= now():
        raise Missing("There is no such archive, or it is not ready.")
    content: bytes = row.content
    return content


@transactional
def create_export(actor: Actor) -> ExportView:
    """Have an archive made; those before it go. Raises Conflict while one is being made."""
    require(actor, "account.secure")
    export = DataExport(user_id=actor.id)
    db.session.add(export)
    db.session.flush()
    target = Target("export", export.uuid, "", actor.id, {"export": export.id, "user": actor.id})
    queue_jobs(actor, ["accounts.export"], target, unique_key=f"export:{actor.id}")
    earlier = (DataExport.user_id == actor.id) & (DataExport.id != export.id) & DataExport.deleted_at.is_(None)
    db.session.execute(change_rows(DataExport, earlier, deleted_at=now(), content=None))
    record(actor, "export.asked", Target("user", actor.uuid, owner_id=actor.id))
    return _view(db.session.execute(live_exports_of(actor.id).where(DataExport.id == export.id)).one())


def make_export(job: StartedJob) -> dict[str, int]:
    """Make the archive and mail that it is there. Returns its bytes."""
    number, user_id = job.args["export"], job.args["user"]
    account = read_row(any_accounts().where(User.id == user_id))
    if account is None:
        return {"bytes": 0}
    about = {"account": view_of(account), "sign_ins": _sign_ins(user_id), "linked_accounts": _linked(user_id),
             "groups": _groups(user_id), "second_factors": _factors(user_id),
             "personal_tokens": _tokens(user_id), "public_links": _links(user_id)}  # fmt: skip
    parts = {"account": about, "files": _files(user_id),
             "activity": _activity(user_id)}  # fmt: skip
    archive = io.BytesIO()
    with zipfile.ZipFile(archive, "w", zipfile.ZIP_DEFLATED) as file:
        for done, (name, part) in enumerate(parts.items(), 1):
            file.writestr(f"{name}.json", msgspec.json.format(msgspec.json.encode(part), indent=2))
            job.progress(100 * done / len(parts))
    _keep(number, account, archive.getvalue())
    return {"bytes": len(archive.getvalue())}


@transactional
def _keep(number: int, account: Any, data: bytes) -> None:
    until = now() + KEPT
    kept = change_rows(DataExport, DataExport.id == number, DataExport.content.is_(None),
                       DataExport.deleted_at.is_(None), content=in_row(data, number), size=len(data),
                       expires_at=until)  # fmt: skip
    if db.session.execute(kept.returning(DataExport.id)).all():
        to = Recipient(account.email, account.name, account.locale, account.time_zone)
        page = f"{current_settings().origin}/account/data"
        send_mail(None, "export_ready", to, {"url": page, "until": until.isoformat()})


def _sign_ins(user_id: int) -> Things:
    columns = (Session.kind, Session.address, Session.agent, Session.created_at, Session.seen_at, Session.deleted_at)
    rows = read_rows(any_state(Session, *columns).where(Session.user_id == user_id))  # ended ones too
    return [{**row._mapping, "ended_at": row.deleted_at} for row in rows]


def _linked(user_id: int) -> Things:
    return [dict(row._mapping) for row in read_rows(live_identities_of(user_id))]


def _groups(user_id: int) -> Things:
    return [dict(row._mapping) for row in read_rows(live_groups_of(), {"user_id": user_id})]


def _factors(user_id: int) -> Things:
    names = ("kind", "name", "confirmed_at", "used_at", "synced")
    return [{name: getattr(row, name) for name in names} for row in read_rows(live_factors_of(user_id))]


def _tokens(user_id: int) -> Things:
    names = ("name", "prefix", "scopes", "networks", "created_at", "expires_at", "last_used_at", "last_used_address")
    return [{name: getattr(row, name) for name in names} for row in read_rows(live_tokens_of(user_id))]


def _links(user_id: int) -> Things:
    names = ("name", "label", "created_at", "expires_at", "revoked_at", "download_limit", "downloads", "upload_only")
    rows = read_rows(live_shares(Share.maker_id == user_id))
    return [{name: getattr(row, name) for name in names} | {"recipients": recipients_of(row)} for row in rows]


def _files(user_id: int) -> Things:
    folders = {row.id: row for row in read_rows(live(Folder, Folder.id, Folder.parent_id, Folder.name)
                                                .where(Folder.owner_id == user_id))}  # fmt: skip
    columns = (File.uuid, File.name, File.folder_id, File.number, File.mime, File.size, File.sha256, File.description,
               File.tags, File.created_at, File.updated_at, File.deleted_at)  # fmt: skip
    rows = read_rows(any_state(File, *columns).where(File.owner_id == user_id).order_by(File.id))  # the trash, too
    return [
        {"id": row.uuid, "path": _path(folders, row.folder_id) + row.name, "version": row.number, "type": row.mime,
         "size": row.size, "sha256": row.sha256, "description": row.description, "tags": row.tags,
         "created_at": row.created_at, "updated_at": row.updated_at, "trashed_at": row.deleted_at}
        for row in rows
    ]  # fmt: skip


def _path(folders: dict[int, Any], folder_id: int | None) -> str:
    names: list[str] = []
    while folder_id is not None and (folder := folders.get(folder_id)) is not None:
        names.append(folder.name)
        folder_id = folder.parent_id
    return "/".join(["", *reversed(names), ""])


def _activity(user_id: int) -> Things:
    columns = (AuditEntry.created_at, AuditEntry.event, AuditEntry.target_type, AuditEntry.target_uuid,
               AuditEntry.impersonator_id.is_not(None).label("by_somebody_else"))  # fmt: skip
    rows = read_rows(any_state(AuditEntry, *columns).where(AuditEntry.actor_id == user_id).order_by(AuditEntry.id))
    return [dict(row._mapping) for row in rows]


@transactional
def sweep_exports() -> int:
    """Remove archives that are over or were replaced. Returns how many."""
    over = (DataExport.expires_at <= now()) | DataExport.deleted_at.is_not(None)
    return len(db.session.execute(delete(DataExport).where(over).returning(DataExport.id)).all())


def _view(row: Any) -> ExportView:
    return ExportView(id=row.uuid, ready=row.size is not None, size=row.size, created_at=row.created_at,
                      expires_at=row.expires_at, version=row.version)  # fmt: skip
