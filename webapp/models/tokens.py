"""Personal tokens of the API: named, limited in what, where and how long, stored as a hash."""

from datetime import datetime
from typing import Any
from uuid import UUID

from sqlalchemy import ForeignKey, Index, Select, String, Update, delete, func, or_, update
from sqlalchemy.orm import Mapped, mapped_column

from webapp.db import Base
from webapp.infra.crypto import EncryptedText
from webapp.models.folders import Folder
from webapp.models.record import BIG, DOCUMENT, BigInt, MaybeMoment, Moment, Record, any_state, live
from webapp.models.sessions import OWNER
from webapp.models.users import User


class ApiToken(Record, Base):
    """A token. `secret_hash` is the sha-256 of its 190 random bits, `prefix` the beginning that lists show.

    `folder_id` limits it to that folder and what is inside: it goes with the folder, for without it the token would
    reach everything. Revoking it is its soft deletion.
    """

    __tablename__ = "api_tokens"
    __table_args__ = (Index("ix_api_tokens_user_id", "user_id", "id"),)

    user_id: Mapped[int] = mapped_column(BIG, ForeignKey("users.id"))
    name: Mapped[str] = mapped_column(String(80))
    prefix: Mapped[str] = mapped_column(String(12))
    secret_hash: Mapped[str] = mapped_column(String(64), unique=True)
    scopes: Mapped[list[str]] = mapped_column(DOCUMENT)
    folder_id: Mapped[BigInt | None] = mapped_column(ForeignKey("folders.id", ondelete="CASCADE"))
    networks: Mapped[list[str]] = mapped_column(DOCUMENT)
    expires_at: Mapped[Moment]
    last_used_at: Mapped[MaybeMoment]
    last_used_address: Mapped[str | None] = mapped_column(EncryptedText("api_tokens.last_used_address", personal=True))


def live_token_owner() -> Select[Any]:
    """Columns of a living token and its living, unsuspended owner with roles: what an actor is made of."""
    columns = (ApiToken.id.label("token_id"), ApiToken.uuid.label("token_uuid"), ApiToken.name.label("token_name"),
               ApiToken.expires_at, ApiToken.scopes, ApiToken.networks, ApiToken.folder_id.label("root"),
               ApiToken.last_used_at)  # fmt: skip
    chosen = live(ApiToken, *columns, *OWNER).join(User, User.id == ApiToken.user_id)
    return chosen.where(User.deleted_at.is_(None), User.suspended_at.is_(None))


def live_tokens_of(user_id: int) -> Select[Any]:
    """Columns of a person's tokens, newest first; those that ran out, too."""
    columns = (ApiToken.id.label("row_id"), ApiToken.uuid, ApiToken.name, ApiToken.prefix, ApiToken.scopes,
               Folder.uuid.label("folder_uuid"), Folder.name.label("folder_name"), ApiToken.networks,
               ApiToken.created_at, ApiToken.updated_at, ApiToken.expires_at, ApiToken.last_used_at,
               ApiToken.last_used_address, ApiToken.version)  # fmt: skip
    chosen = live(ApiToken, *columns).outerjoin(Folder, Folder.id == ApiToken.folder_id)
    return chosen.where(ApiToken.user_id == user_id).order_by(ApiToken.id.desc())


def live_token_of(user_id: int, token_id: UUID) -> Select[ApiToken]:
    """One of them."""
    return live(ApiToken).where(ApiToken.user_id == user_id, ApiToken.uuid == token_id)


def live_token_count(user_id: int) -> Select[int]:
    """How many there are."""
    return live(ApiToken, func.count()).where(ApiToken.user_id == user_id)


def token_used(token_id: int, moment: datetime, address: Any) -> Update:
    """Note that it was used. Leaves its version alone: revoking it must never lose to this."""
    row = (ApiToken.id == token_id) & ApiToken.deleted_at.is_(None)
    values = {"last_used_at": moment, "last_used_address": address, "updated_at": ApiToken.updated_at}
    return update(ApiToken).where(row).values(values).execution_options(synchronize_session=False)


def deleted_tokens_gone(before: datetime, batch: int) -> Any:
    """Remove some that were revoked or ran out so long ago."""
    over = or_(ApiToken.deleted_at < before, ApiToken.expires_at < before)
    chosen = any_state(ApiToken, ApiToken.id).where(over).limit(batch)
    return delete(ApiToken).where(ApiToken.id.in_(chosen)).returning(ApiToken.id)
