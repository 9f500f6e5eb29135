"""Pages of a list: a cursor is the list's name and the last row's sort values, opaque to clients."""

import base64
import binascii
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from typing import Any, Generic, TypeVar

import msgspec

from webapp.errors import Invalid

T = TypeVar("T")


class Page(msgspec.Struct, Generic[T], frozen=True, kw_only=True):
    """One page of a collection."""

    items: list[T]
    next_cursor: str | None = None


def encode_cursor(values: Sequence[Any]) -> str:
    """Opaque text for the sort values of a row; instants keep their microseconds."""
    return base64.urlsafe_b64encode(msgspec.json.encode(list(values))).decode().rstrip("=")


def decode_cursor(text: str, types: Sequence[type], of: str | None = None) -> list[Any]:
    """The values back, each of the given type; `of` is the list that page_of named.

    Raises Invalid for anything we did not make for such a list, values that no database column takes among them.
    """
    try:
        raw = base64.b64decode(text + "=" * (-len(text) % 4), altchars=b"-_", validate=True)
        values = msgspec.json.decode(raw, type=list[Any])
        if of is not None and values[:1] != [of]:
            raise ValueError("another list")
        values = values[of is not None :]
        if len(values) != len(types):
            raise ValueError("length")
        return [_storable(msgspec.convert(value, kind)) for value, kind in zip(values, types, strict=True)]
    except (ValueError, OverflowError, binascii.Error, msgspec.MsgspecError, RecursionError) as error:
        raise Invalid.field("cursor", "cursor", "This cursor does not belong to this list.") from error


def _storable(value: Any) -> Any:
    if isinstance(value, int) and abs(value) >= 2**63:
        raise ValueError("out of range")
    if isinstance(value, str) and "\0" in value:
        raise ValueError("NUL")
    if isinstance(value, datetime):
        if value.tzinfo is None:
            raise ValueError("naive")
        return value.astimezone(UTC)
    return value


def page_of(
    rows: Sequence[Any],
    limit: int,
    view: Callable[[Any], T],
    key: Callable[[Any], Sequence[Any]],
    of: str | None = None,
) -> Page[T]:
    """A page from `limit + 1` rows: the extra row only says that there is more. `of` binds its cursor to this list."""
    more = len(rows) > limit
    rows = rows[:limit]
    mark = [] if of is None else [of]
    return Page(items=[view(row) for row in rows], next_cursor=encode_cursor([*mark, *key(rows[-1])]) if more else None)
