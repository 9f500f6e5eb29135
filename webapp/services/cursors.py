"""Pages of a list: a cursor is the last row's sort values, opaque to clients; a page names the next one or None."""

import base64
import binascii
from collections.abc import Callable, Sequence
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


def decode_cursor(text: str, types: Sequence[type]) -> list[Any]:
    """The values back, each of the given type. Raises Invalid for anything we did not make for such a list."""
    try:
        raw = base64.b64decode(text + "=" * (-len(text) % 4), altchars=b"-_", validate=True)
        values = msgspec.json.decode(raw, type=list[Any])
        if len(values) != len(types):
            raise ValueError("length")
        return [msgspec.convert(value, kind) for value, kind in zip(values, types, strict=True)]
    except (ValueError, binascii.Error, msgspec.MsgspecError, RecursionError) as error:
        raise Invalid.field("cursor", "cursor", "This cursor does not belong to this list.") from error


def page_of(rows: Sequence[Any], limit: int, view: Callable[[Any], T], key: Callable[[Any], Sequence[Any]]) -> Page[T]:
    """A page from `limit + 1` rows: the extra row only says that there is more."""
    more = len(rows) > limit
    rows = rows[:limit]
    return Page(items=[view(row) for row in rows], next_cursor=encode_cursor(key(rows[-1])) if more else None)
