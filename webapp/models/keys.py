"""Under which of DATA_KEYS the values of encrypted columns are: the keys in use, counts, values to re-encrypt."""

from collections.abc import Sequence
from typing import Any
from weakref import WeakKeyDictionary

from sqlalchemy import (
    Column,
    Delete,
    Engine,
    LargeBinary,
    Select,
    String,
    Update,
    delete,
    func,
    literal,
    tuple_,
    update,
)
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.orm import Mapped, mapped_column

from webapp.db import Base, before_writing, db
from webapp.infra.ciphers import data_keys
from webapp.infra.clock import now
from webapp.infra.crypto import encrypted_columns, key_id_of, row_key, sealed_column
from webapp.models.record import Moment, any_state


class EncryptionKey(Base):
    """A key that some value may be under, by its id in hexadecimal: noted by whoever is about to write the first."""

    __tablename__ = "encryption_keys"

    id: Mapped[str] = mapped_column(String(8), primary_key=True)
    created_at: Mapped[Moment]


_noted: WeakKeyDictionary[Engine, set[bytes]] = WeakKeyDictionary()


def note_key() -> None:
    """Note the first of DATA_KEYS as one in use, once a process and database."""
    first, engine = data_keys()[0].id, db.engine
    noted = _noted.setdefault(engine, set())
    if first in noted:
        return
    dialect = sqlite if engine.dialect.name == "sqlite" else postgresql
    row = dialect.insert(EncryptionKey).values(id=first.hex(), created_at=now()).on_conflict_do_nothing()
    with engine.connect().execution_options(write=True) as connection, connection.begin():
        connection.execute(row)
    noted.add(first)


before_writing.append(note_key)


def all_encrypted() -> list[Column[Any]]:
    """Every encrypted column of every table."""
    return list(encrypted_columns(Base.metadata))


def any_key_ids() -> Select[Any]:
    """The keys in use."""
    return any_state(EncryptionKey, EncryptionKey.id).order_by(EncryptionKey.id)


def key_forgotten(key_id: str) -> Delete:
    """No value is under it any more."""
    return delete(EncryptionKey).where(EncryptionKey.id == key_id)


def any_value_under(column: Column[Any], key_id: bytes) -> Select[Any]:
    """One row whose value is under this key. Reads the table where there is none."""
    return any_state(column.table, row_key(column.table)).where(key_id_of(column) == key_id).limit(1)


def any_key_counts(column: Column[Any]) -> Select[Any]:
    """How many values of the column are under which key."""
    key_id = key_id_of(column).label("key_id")
    counted = any_state(column.table, key_id, func.count().label("values"))
    return counted.where(sealed_column(column).is_not(None)).group_by(key_id)


def any_stale_count(column: Column[Any], key_id: bytes) -> Select[Any]:
    """How many values are not under this key."""
    return any_state(column.table, func.count()).where(key_id_of(column) != key_id)


def any_stale_values(column: Column[Any], key_id: bytes, after: Sequence[Any] | None) -> Select[Any]:
    """Values that are not under this key, as they are stored, by primary key; `row` is what they are bound to."""
    table = column.table
    key = [table.c[each.name] for each in table.primary_key]
    chosen = any_state(table, *key, row_key(table).label("row"), sealed_column(column).label("sealed"))
    chosen = chosen.where(key_id_of(column) != key_id).order_by(*key)
    return chosen if after is None else chosen.where(tuple_(*key) > tuple_(*after))


def value_resealed(column: Column[Any], key: Sequence[Any], old: bytes, new: bytes, digest: str | None) -> Update:
    """Store the same value under another key, unless it was changed meanwhile. Nobody sees a new version of the row."""
    table: Any = column.table
    row = [table.c[each.name] == value for each, value in zip(table.primary_key, key, strict=True)]
    values: dict[str, Any] = {column.name: literal(new, LargeBinary)}
    if "updated_at" in table.c:
        values["updated_at"] = table.c.updated_at
    if digest is not None:
        values[column.type.found_by[0]] = digest  # type: ignore[attr-defined]
    return update(table).where(*row, sealed_column(column) == old).values(values)
