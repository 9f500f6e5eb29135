"""How each object lies in the store: the key of its own, sealed under DATA_KEYS, and the marks of its segments."""

from typing import Any

from sqlalchemy import Delete, LargeBinary, Select, String, delete
from sqlalchemy.orm import Mapped, mapped_column

from webapp.db import Base
from webapp.infra.crypto import EncryptedBytes
from webapp.models.record import BigInt, Moment, any_state


class StoredObject(Base):
    """One object of the store, or a draft that waits to be written on. `size` is of the plain bytes.

    `marks` are those of plain segments; sealed ones carry theirs. Plain objects of before decision 0043 have no row.
    """

    __tablename__ = "stored_objects"

    key: Mapped[str] = mapped_column(String(200), primary_key=True)
    size: Mapped[BigInt]
    data_key: Mapped[bytes] = mapped_column(EncryptedBytes("stored_objects.data_key"))
    marks: Mapped[bytes | None] = mapped_column(LargeBinary)
    created_at: Mapped[Moment]


def any_lying(key: str) -> Select[Any]:
    """What is known of the object under this key."""
    columns = (StoredObject.key, StoredObject.size, StoredObject.data_key, StoredObject.marks)
    return any_state(StoredObject, *columns).where(StoredObject.key == key)


def lying_forgotten(key: str) -> Delete:
    """The object is gone, or has become another."""
    return delete(StoredObject).where(StoredObject.key == key)
