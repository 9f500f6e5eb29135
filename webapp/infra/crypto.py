"""Secrets and personal fields at rest: columns whose values are sealed (see ciphers.py) and digests to find them by.

The row is part of a value. The ORM knows it at flush; a statement of one's own says it by `in_row`. A select brings the
row's key along with each value, so whoever selects such a column reads it in the plain, wherever the select begins.
"""

import base64
import hmac
from collections.abc import Iterator
from functools import lru_cache
from typing import Any

from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF
from sqlalchemy import Column, ColumnElement, LargeBinary, Text, cast, event, func, inspect, type_coerce
from sqlalchemy.ext.compiler import compiles
from sqlalchemy.orm import Mapper
from sqlalchemy.orm.attributes import set_committed_value
from sqlalchemy.sql.functions import FunctionElement
from sqlalchemy.types import TypeDecorator

from webapp.config import current_settings
from webapp.infra.ciphers import KEY_ID, decrypt, encrypt
from webapp.infra.ciphers import Damaged as Damaged
from webapp.infra.ciphers import UnknownKey as UnknownKey


class TextInRow(str):
    """A text that knows the row it is stored in."""

    __slots__ = ("row",)
    row: str


class BytesInRow(bytes):
    """Bytes that know the row they are stored in."""

    row: str


def in_row(value: str | bytes, *key: int | str) -> Any:
    """The value, for a statement that stores it encrypted in the row of this primary key."""
    bound: TextInRow | BytesInRow = TextInRow(value) if isinstance(value, str) else BytesInRow(value)
    bound.row = _words(key)
    return bound


def _words(key: Any) -> str:
    return ":".join(str(part) for part in key)


class EncryptedBytes(TypeDecorator[Any]):
    """A column of bytes stored encrypted; `place` names table and column.

    `personal` marks what says something of a person, and is no secret of a machine. `found_by` is the column beside it
    that finds it, and the purpose of the digests there (see lookup_keys). `former_place`: see decrypt.
    """

    impl = LargeBinary
    cache_ok = True

    def __init__(
        self, place: str, *, personal: bool = False, found_by: tuple[str, str] | None = None,
        former_place: str | None = None,
    ) -> None:  # fmt: skip
        super().__init__()
        self.place, self.personal, self.found_by, self.former_place = place, personal, found_by, former_place

    def process_bind_param(self, value: Any, dialect: Any) -> bytes | None:
        if value is None:
            return None
        if not isinstance(value, TextInRow | BytesInRow):
            raise TypeError(f"{self.place} is bound to its row: say which one by in_row()")
        plain = value.encode() if isinstance(value, str) else bytes(value)
        return encrypt(plain, self.place, value.row)

    def column_expression(self, column: Any) -> ColumnElement[Any]:
        return _WithRow(row_key(column.table), type_coerce(column, LargeBinary), self)

    def process_result_value(self, value: Any, dialect: Any) -> Any:
        if value is None:
            return None
        row, _, sealed = bytes(value).partition(b"\0")
        return self.unseal(sealed, row.decode())

    def unseal(self, sealed: bytes, row: str) -> Any:
        """What is stored there in the plain. Raises UnknownKey or Damaged."""
        return decrypt(sealed, self.place, row, self.former_place)

    def reseal(self, sealed: bytes, row: str) -> tuple[bytes, str | None]:
        """The same under the first of DATA_KEYS, and the digest that finds it. Raises UnknownKey or Damaged."""
        plain = decrypt(sealed, self.place, row, self.former_place)
        digest = lookup_keys(plain.decode(), self.found_by[1])[0] if self.found_by else None
        return encrypt(plain, self.place, row), digest


class EncryptedText(EncryptedBytes):
    """The same for text."""

    cache_ok = True

    def unseal(self, sealed: bytes, row: str) -> str:
        """What is stored there in the plain. Raises UnknownKey or Damaged."""
        return decrypt(sealed, self.place, row, self.former_place).decode()


class _WithRow(FunctionElement[Any]):
    """The row's key, a zero byte, and the sealed value."""

    name = "with_row"
    inherit_cache = True

    def __init__(self, row: ColumnElement[str], sealed: ColumnElement[bytes], kind: EncryptedBytes) -> None:
        super().__init__(row, sealed)
        self.type = kind


@compiles(_WithRow)
def _with_row(element: _WithRow, compiler: Any, **options: Any) -> str:
    row, sealed = (compiler.process(part, **options) for part in element.clauses)
    return f"(convert_to({row}, 'UTF8') || decode('00', 'hex') || {sealed})"


@compiles(_WithRow, "sqlite")
def _with_row_in_sqlite(element: _WithRow, compiler: Any, **options: Any) -> str:
    row, sealed = (compiler.process(part, **options) for part in element.clauses)
    return f"CAST({row} || x'00' || {sealed} AS BLOB)"


def row_key(table: Any) -> ColumnElement[str]:
    """The key of a row of this table, spelt in SQL as in_row spells it."""
    first, *others = table.primary_key
    words: ColumnElement[str] = cast(table.c[first.name], Text)
    for column in others:
        words = words.concat(":").concat(cast(table.c[column.name], Text))
    return words


def sealed_column(column: Any) -> ColumnElement[bytes]:
    """An encrypted column as it is stored."""
    return type_coerce(column, LargeBinary)


def key_id_of(column: Any) -> ColumnElement[bytes]:
    """In SQL, the id of the key that each value of an encrypted column is under."""
    return type_coerce(func.substr(sealed_column(column), 1, KEY_ID), LargeBinary)


def encrypted_columns(metadata: Any) -> Iterator[Column[Any]]:
    """Every column whose values are encrypted."""
    for table in metadata.sorted_tables:
        yield from (column for column in table.columns if isinstance(column.type, EncryptedBytes))


@lru_cache(maxsize=256)
def _encrypted_attributes(mapper: Mapper[Any]) -> tuple[str, ...]:
    columns = [column for column in mapper.columns if isinstance(column.type, EncryptedBytes)]
    return tuple(mapper.get_property_by_column(column).key for column in columns)


def _bind_to_row(mapper: Mapper[Any], _connection: Any, record: Any) -> None:
    """Give what is about to be written its row; a key with a default of ours is made here."""
    names = _encrypted_attributes(mapper)
    if not names:
        return
    key = []
    for column in mapper.primary_key:
        name = mapper.get_property_by_column(column).key
        if getattr(record, name) is None and column.default is not None:
            setattr(record, name, column.default.arg(None))
        key.append(getattr(record, name))
    state: Any = inspect(record)
    for name in names:
        value = state.attrs[name].history.added
        if value and value[0] is not None:
            setattr(record, name, in_row(value[0], *key))


def _unbind(mapper: Mapper[Any], _connection: Any, record: Any) -> None:
    """Written: the record's reader gets plain text and bytes again."""
    for name in _encrypted_attributes(mapper):
        value = inspect(record).dict.get(name)
        if isinstance(value, TextInRow | BytesInRow):
            set_committed_value(record, name, str(value) if isinstance(value, str) else bytes(value))


for _written in ("insert", "update"):
    event.listen(Mapper, f"before_{_written}", _bind_to_row)
    event.listen(Mapper, f"after_{_written}", _unbind)


def keyed_digest(value: str, purpose: str) -> str:
    """HMAC-SHA-256 under the first of SECRET_KEYS, for look-ups of what must not be stored plain."""
    key = current_settings().secret_keys[0].get_secret_value().encode()
    return base64.urlsafe_b64encode(hmac.digest(key, f"{purpose}\0{value}".encode(), "sha256")).decode().rstrip("=")


def lookup_keys(value: str, purpose: str) -> list[str]:
    """Digests under every one of DATA_KEYS, to find what is stored encrypted: store the first, look for all of them.

    Each key makes its own, so that what was stored before a rotation is found after it.
    """
    message = f"{purpose}\0{value}".encode()
    return [_digest(key.get_secret_value(), message) for key in current_settings().data_keys]


def _digest(secret: str, message: bytes) -> str:
    return base64.urlsafe_b64encode(hmac.digest(_lookup_key(secret), message, "sha256")).decode().rstrip("=")


@lru_cache(maxsize=32)
def _lookup_key(secret: str) -> bytes:
    return HKDF(SHA256(), 32, salt=None, info=b"holdfast lookup").derive(secret.encode())
