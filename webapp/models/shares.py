"""Public links to files and folders (“shares”), and the visits of those who came by them."""

from datetime import datetime
from typing import Any

from sqlalchemy import (
    Boolean,
    CheckConstraint,
    ColumnElement,
    Delete,
    ForeignKey,
    Index,
    Integer,
    Select,
    String,
    delete,
    func,
    or_,
    update,
)
from sqlalchemy.orm import Mapped, aliased, mapped_column

from webapp.db import Base
from webapp.infra.crypto import EncryptedText
from webapp.models.files import File
from webapp.models.folders import Folder
from webapp.models.record import BIG, BigInt, MaybeMoment, Moment, Record, any_state, live
from webapp.models.users import User


class Share(Record, Base):
    """A link. `token_hash` finds it; the token itself is kept encrypted, for its maker may copy the address again.

    It does what its maker may do: who made it is asked for anew whenever somebody opens it. `revoker_id` is who revoked
    it last. `downloads` and `warned_at` move without its version: no edit is lost to a stranger's download.
    """

    __tablename__ = "shares"
    __table_args__ = (
        CheckConstraint("(folder_id IS NULL) <> (file_id IS NULL)", name="object"),
        Index("ix_shares_maker_id", "maker_id", "id"),
        Index("ix_shares_folder_id", "folder_id"),
        Index("ix_shares_file_id", "file_id"),
        Index("ix_shares_expires_at", "expires_at"),
    )

    maker_id: Mapped[int] = mapped_column(BIG, ForeignKey("users.id"))
    folder_id: Mapped[BigInt | None] = mapped_column(ForeignKey("folders.id", ondelete="CASCADE"))
    file_id: Mapped[BigInt | None] = mapped_column(ForeignKey("files.id", ondelete="CASCADE"))
    label: Mapped[str] = mapped_column(String(120), default="")
    token_hash: Mapped[str] = mapped_column(String(64), unique=True)
    token: Mapped[str] = mapped_column(EncryptedText("shares.token"))
    password_hash: Mapped[str | None] = mapped_column(String(200))
    recipients: Mapped[str | None] = mapped_column(EncryptedText("shares.recipients", personal=True))
    expires_at: Mapped[MaybeMoment]
    download_limit: Mapped[int | None] = mapped_column(Integer)
    downloads: Mapped[int] = mapped_column(Integer, default=0)
    upload_only: Mapped[bool] = mapped_column(Boolean, default=False)
    view_only: Mapped[bool] = mapped_column(Boolean, default=False)
    strip_metadata: Mapped[bool] = mapped_column(Boolean, default=False)
    revoked_at: Mapped[MaybeMoment]
    revoker_id: Mapped[BigInt | None] = mapped_column(ForeignKey("users.id"))
    warned_at: Mapped[MaybeMoment]


class ShareVisit(Base):
    """What somebody did with a link. `visitor` is a digest of the link, their network and program: it recognises them
    without saying who they are; `content` is the sha-256 of what was downloaded, `continued` how often it went on."""

    __tablename__ = "share_visits"
    __table_args__ = (
        Index("ix_share_visits_share_id", "share_id", "id"),
        Index("ix_share_visits_created_at", "created_at"),
    )

    id: Mapped[int] = mapped_column(BIG, primary_key=True, autoincrement=False)
    share_id: Mapped[int] = mapped_column(BIG, ForeignKey("shares.id", ondelete="CASCADE"))
    created_at: Mapped[Moment]
    what: Mapped[str] = mapped_column(String(12))
    visitor: Mapped[str] = mapped_column(String(64))
    content: Mapped[str | None] = mapped_column(String(64))
    continued: Mapped[int] = mapped_column(Integer, default=0)
    name: Mapped[str | None] = mapped_column(EncryptedText("share_visits.name", personal=True))
    address: Mapped[str | None] = mapped_column(EncryptedText("share_visits.address", personal=True))
    recipient: Mapped[str | None] = mapped_column(EncryptedText("share_visits.recipient", personal=True))


_around = aliased(Folder)  # of a shared file
_revoker = aliased(User)
_COLUMNS = (
    Share.id.label("row_id"), Share.uuid, Share.label, Share.token, Share.password_hash, Share.recipients,
    Share.expires_at, Share.download_limit, Share.downloads, Share.upload_only, Share.view_only, Share.strip_metadata,
    Share.revoked_at, Share.created_at, Share.updated_at, Share.version, Share.maker_id, Share.file_id.label("number"),
    User.uuid.label("maker_uuid"), User.name.label("maker"), User.email.label("maker_email"), User.locale,
    User.time_zone, File.id.label("id"), File.uuid.label("file_uuid"), Folder.uuid.label("folder_uuid"),
    Folder.id.label("folder_row"), func.coalesce(File.name, Folder.name).label("name"),
    func.coalesce(File.owner_id, Folder.owner_id).label("owner_id"),
    func.coalesce(_around.path, Folder.path).label("path"), _revoker.name.label("revoker"),
)  # fmt: skip


def live_shares(*criteria: ColumnElement[bool]) -> Select[Any]:
    """Columns of links with their makers, and of what they lead to as long as that lives. `id` and `path` are those
    that access.levels_at asks for."""
    chosen = live(Share, *_COLUMNS).join(User, User.id == Share.maker_id)
    chosen = chosen.outerjoin(File, (File.id == Share.file_id) & File.deleted_at.is_(None))
    chosen = chosen.outerjoin(Folder, (Folder.id == Share.folder_id) & Folder.deleted_at.is_(None))
    chosen = chosen.outerjoin(_around, _around.id == File.folder_id)
    return chosen.outerjoin(_revoker, _revoker.id == Share.revoker_id).where(*criteria)


def live_share_count(user_id: int) -> Select[int]:
    """How many somebody has."""
    return live(Share, func.count(Share.id)).where(Share.maker_id == user_id)


def exhausted() -> ColumnElement[bool]:
    """Whether as many downloads were made as are allowed."""
    return (Share.download_limit.is_not(None)) & (Share.downloads >= Share.download_limit)


def any_visits(share_id: int) -> Select[Any]:
    """Columns of a link's visits, newest first."""
    columns = (ShareVisit.id, ShareVisit.created_at, ShareVisit.what, ShareVisit.name, ShareVisit.address,
               ShareVisit.recipient)  # fmt: skip
    return any_state(ShareVisit, *columns).where(ShareVisit.share_id == share_id).order_by(ShareVisit.id.desc())


def any_visit_since(share_id: int, visitor: str, what: str, since: datetime) -> Select[Any]:
    """Whether this visitor did this lately."""
    same = (ShareVisit.share_id == share_id) & (ShareVisit.visitor == visitor) & (ShareVisit.what == what)
    return any_state(ShareVisit, ShareVisit.id).where(same, ShareVisit.created_at > since).limit(1)


def download_counted(share_id: int, moment: datetime) -> Any:
    """Count a download where one is left and the link is good: of many at once exactly as many as are allowed."""
    left = or_(Share.download_limit.is_(None), Share.downloads < Share.download_limit)
    good = (Share.id == share_id) & Share.deleted_at.is_(None) & Share.revoked_at.is_(None)
    good &= or_(Share.expires_at.is_(None), Share.expires_at > moment)
    row = update(Share).where(good, left).values(downloads=Share.downloads + 1, updated_at=Share.updated_at)
    return row.returning(Share.downloads).execution_options(synchronize_session=False)


def download_continued(share_id: int, visitor: str, content: str, since: datetime, most: int) -> Any:
    """Go on with a download of this visitor's, where the newest one of this content has not gone on too often."""
    same = (ShareVisit.share_id == share_id) & (ShareVisit.visitor == visitor) & (ShareVisit.content == content)
    newest = any_state(ShareVisit, func.max(ShareVisit.id)).where(same, ShareVisit.created_at > since)
    row = update(ShareVisit).where(ShareVisit.id == newest.scalar_subquery(), ShareVisit.continued < most)
    return row.values(continued=ShareVisit.continued + 1).returning(ShareVisit.id)


def share_warned(share_id: int, moment: datetime) -> Any:
    """Note that its maker was warned of its end."""
    row = update(Share).where(Share.id == share_id, Share.warned_at.is_(None))
    row = row.values(warned_at=moment, updated_at=Share.updated_at).execution_options(synchronize_session=False)
    return row.returning(Share.id)


def visits_gone(before: datetime, rows: int) -> Delete:
    """Forget a batch of visits from before then."""
    old = any_state(ShareVisit, ShareVisit.id).where(ShareVisit.created_at < before).limit(rows)
    return delete(ShareVisit).where(ShareVisit.id.in_(old))
