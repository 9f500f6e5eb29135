"""The statements of search: first what is found by its name, then what only by tags, description or text.

Each part is ordered by id, the newest first, and a page goes on after the last id: the index of words answers rare
ones, the order of ids common ones, and the database chooses by how often it has seen them.
"""

from collections.abc import Collection, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

from sqlalchemy import (
    ARRAY,
    BigInteger,
    ColumnElement,
    Select,
    String,
    and_,
    any_,
    cast,
    column,
    exists,
    func,
    literal,
    literal_column,
    not_,
    null,
    or_,
    table,
)
from sqlalchemy.dialects.postgresql import TSQUERY
from sqlalchemy.orm import aliased

from webapp.models.files import Blob, File, Preview
from webapp.models.folders import Folder
from webapp.models.record import any_state
from webapp.models.search import SearchEntry as Entry
from webapp.models.texts import BlobText
from webapp.models.users import User
from webapp.services.scopes import Scope

Part = Literal["name", "content"]
READ = 60_000  # characters of a text that a snippet is looked for in
SMALL = 64
_fts = table("search_words", column("rowid"), schema=None)
_names: ColumnElement[Any] = literal_column("search_words")


@dataclass(frozen=True, slots=True)
class Wish:
    """What is looked for: words, in the forms that the dialects compare, and criteria on the file or folder itself."""

    terms: Sequence[str]
    spelled: Sequence[str]
    criteria: Sequence[ColumnElement[bool]] = ()
    kinds: Collection[str] = ("file", "folder")
    tag_terms: Sequence[str] = field(default=())
    tag_spelled: Sequence[str] = field(default=())


def hits(dialect: str, scope: Scope, wish: Wish, part: Part, before: int | None, rows: int) -> Select[Any]:
    """A page of one part, with what a row of the result shows; `before` is the last id of the page before."""
    found = _found(dialect, scope, wish, part)
    if before is not None:
        found = found.where(Entry.item_id < before)
    each = found.order_by(Entry.item_id.desc()).limit(rows).subquery("each")
    place, by_text = aliased(Folder), part == "content"
    columns = (
        each.c.item_id.label("row_id"), each.c.kind, each.c.owner_id, each.c.parent_id,
        func.coalesce(File.uuid, Folder.uuid).label("uuid"), func.coalesce(File.name, Folder.name).label("name"),
        File.mime, File.size, File.tags, File.number, func.coalesce(File.version, Folder.version).label("version"),
        func.coalesce(File.updated_at, Folder.updated_at).label("updated_at"), place.uuid.label("place_uuid"),
        place.name.label("place_name"), User.uuid.label("owner_uuid"), User.name.label("owner"),
        exists().where(Preview.blob_id == Blob.id, Preview.size == SMALL).label("thumbnail"),
        File.description, (func.substr(BlobText.text, 1, READ) if by_text else null()).label("text"),
    )  # fmt: skip
    chosen = any_state(each, *columns).outerjoin(File, File.id == each.c.item_id)
    chosen = chosen.outerjoin(Folder, Folder.id == each.c.item_id).outerjoin(place, place.id == each.c.parent_id)
    chosen = chosen.join(User, User.id == each.c.owner_id).outerjoin(Blob, Blob.sha256 == File.sha256)
    if by_text:
        chosen = chosen.outerjoin(BlobText, BlobText.blob_id == Blob.id)
    return chosen.order_by(each.c.item_id.desc())


def _found(dialect: str, scope: Scope, wish: Wish, part: Part) -> Select[Any]:
    columns = (Entry.item_id, Entry.kind, Entry.owner_id, Entry.parent_id)
    found = any_state(Entry, *columns).where(_seen(dialect, scope))
    if len(wish.kinds) == 1:
        found = found.where(Entry.kind == next(iter(wish.kinds)))
    if wish.criteria:
        found = found.outerjoin(File, File.id == Entry.item_id).outerjoin(Folder, Folder.id == Entry.item_id)
        found = found.where(*wish.criteria)
    if dialect == "postgresql":
        return found.where(*_matches(wish, part))
    question = _question(scope, wish, part)
    return (
        found.join(_fts, _fts.c.rowid == Entry.item_id).where(_names.bool_op("MATCH")(question)) if question else found
    )


def _seen(dialect: str, scope: Scope) -> ColumnElement[bool]:
    """Only what the actor may see, within the limits."""
    limits: list[ColumnElement[bool]] = []
    for ids in (scope.inside, scope.within):
        if ids is not None:
            limits.append(or_(_among(dialect, Entry.parent_id, ids), _among(dialect, Entry.item_id, ids)))  # noqa: PERF401
    if scope.top is not None:
        limits.append(Entry.item_id != scope.top)
    if scope.everything:
        return and_(Entry.item_id.is_not(None), *limits)
    ways: list[ColumnElement[bool]] = [Entry.owner_id == scope.owner_id]
    if scope.folders:
        ways += [_among(dialect, Entry.parent_id, scope.folders)]
    if scope.folders or scope.files:
        ways += [_among(dialect, Entry.item_id, scope.folders | scope.files)]
    return and_(or_(*ways), *limits)


def _among(dialect: str, wanted: Any, ids: Collection[int]) -> ColumnElement[bool]:
    """One bound value however many ids there are."""
    if dialect == "postgresql":
        return wanted == any_(literal(sorted(ids), ARRAY(BigInteger)))  # type: ignore[no-any-return]
    each = func.json_each(literal("[" + ",".join(map(str, sorted(ids))) + "]", String)).table_valued("value")
    return wanted.in_(any_state(each, each.c.value))  # type: ignore[no-any-return]


def _matches(wish: Wish, part: Part) -> list[ColumnElement[bool]]:
    """Of PostgreSQL: every word begins a word of the name, or of all that is known of it but not of the name."""
    found = []
    if wish.tag_terms:
        found.append(_holds(Entry.whole, wish.tag_terms, begun=False))
    if not wish.terms:
        return found
    named = _holds(Entry.named, wish.terms)
    return [*found, named] if part == "name" else [*found, _holds(Entry.whole, wish.terms), not_(named)]


def _holds(words: Any, terms: Sequence[str], *, begun: bool = True) -> ColumnElement[bool]:
    # A term has neither quote nor backslash: they separate words.
    question = " & ".join(f"'{term}'{':*' if begun else ''}" for term in terms)
    return words.bool_op("@@")(cast(literal(question, String), TSQUERY))  # type: ignore[no-any-return]


def _question(scope: Scope, wish: Wish, part: Part) -> str:
    """The same in the language of FTS5."""
    asked = " AND ".join(f'"{term}"*' for term in wish.spelled)
    tagged = " AND ".join(f'"{term}"' for term in wish.tag_spelled)
    parts = [f"{{whole}} : ({tagged})"] if tagged else []
    if asked:
        parts.append(
            f"{{named}} : ({asked})" if part == "name" else f"({{whole}} : ({asked}) NOT {{named}} : ({asked}))"
        )
    if parts and not scope.everything:
        owners = " OR ".join(f'"{number}"' for number in sorted({scope.owner_id, *scope.owners}))
        parts.insert(0, f"{{owner_id}} : ({owners})")
    return " AND ".join(parts)
