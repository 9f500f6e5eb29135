"""What strangers do with a public link: noted for its maker and in the audit trail, and downloads counted."""

from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Annotated, Any, Literal
from uuid import UUID

import msgspec
from pydantic import Field
from sqlalchemy import insert

from webapp.db import db, read_rows, transactional
from webapp.errors import Gone, Limited
from webapp.infra.clock import now
from webapp.infra.crypto import in_row, keyed_digest
from webapp.infra.ids import next_id
from webapp.models.limits import counted_hit
from webapp.models.shares import (
    ShareVisit,
    any_visit_since,
    any_visits,
    download_continued,
    download_counted,
    visits_gone,
)
from webapp.policies import Actor, require
from webapp.services.attempts import network_of
from webapp.services.cursors import Page, decode_cursor, page_of
from webapp.services.events import Target, record
from webapp.services.inputs import Input
from webapp.services.sharing import find_row

What = Literal["opened", "refused", "downloaded", "uploaded"]
ONE_VISIT = timedelta(hours=1)  # within which looking again is the same opening
ONE_DOWNLOAD, PARTS = timedelta(hours=24), 50  # how long, and how often, a download may go on without counting anew
GUESSES, WINDOW = 30, timedelta(minutes=15)  # links that are not there, of one network
KEPT = timedelta(days=365)
BATCH = 500
USED_UP = "This link has been used as often as it may be. Ask who sent it for a new one."


@dataclass(frozen=True, slots=True)
class Link:
    """A link that somebody has opened. `visitor` acts for them: inside the shared folder and nowhere else.

    `locked` is what they have yet to show; `who` is the recipient that they have shown to be.
    """

    number: int
    uuid: UUID
    maker_id: int
    maker: str
    label: str
    name: str
    noun: Literal["file", "folder"]
    thing: UUID
    visitor: Actor
    upload_only: bool
    view_only: bool
    strip_metadata: bool
    expires_at: datetime | None
    left: int | None
    locked: Literal["password", "code"] | None
    who: str | None
    password_hash: str | None = field(repr=False)
    recipients: tuple[str, ...] = field(repr=False)

    @property
    def target(self) -> Target:
        """The link as the object of an event."""
        return Target("share", self.uuid, self.name, self.maker_id)


class VisitFilter(Input):
    """A page of visits, newest first."""

    limit: Annotated[int, Field(ge=1, le=100)] = 25
    cursor: Annotated[str | None, Field(max_length=2000)] = None


class VisitView(msgspec.Struct, frozen=True, kw_only=True):
    """What somebody did: `name` is the file's, `address` their network, `recipient` who they showed to be."""

    what: str
    name: str | None
    address: str | None
    recipient: str | None
    created_at: datetime


def list_visits(actor: Actor, share_id: UUID, query: VisitFilter) -> Page[VisitView]:
    """Who opened a link, and downloaded or uploaded what and when; a year of it. Raises Missing."""
    require(actor, "files.share")
    chosen = any_visits(find_row(actor, share_id).row_id).limit(query.limit + 1)
    if query.cursor:
        chosen = chosen.where(ShareVisit.id < decode_cursor(query.cursor, (int,), of="visits")[0])
    return page_of(read_rows(chosen), query.limit, _view, lambda row: (row.id,), of="visits")


def _view(row: Any) -> VisitView:
    return VisitView(what=row.what, name=row.name, address=row.address, recipient=row.recipient,
                     created_at=row.created_at)  # fmt: skip


@transactional
def note_opening(link: Link) -> None:
    """Note that it was opened, once an hour of the same visitor."""
    seen = any_visit_since(link.number, _visitor(link), "opened", now() - ONE_VISIT)
    if db.session.execute(seen).first() is None:
        _note(link, "opened")
        record(link.visitor, "share.opened", link.target)


@transactional
def note_refusal(link: Link, reason: str) -> None:
    """Note a wrong password or code."""
    _note(link, "refused")
    record(link.visitor, "share.refused", link.target, {"reason": (None, reason)})


@transactional
def note_uploads(link: Link, names: list[str]) -> None:
    """Note what came in, in the transaction that stores it."""
    for name in names:
        _note(link, "uploaded", name)
    record(link.visitor, "share.uploaded", link.target, {"files": (None, len(names))})


@transactional
def take_download(link: Link, name: str, digest: str, start: int) -> None:
    """Count a download before its first byte. Raises Gone where none is left.

    A part from further on belongs to the download that the same visitor began within a day: it counts nothing, fifty
    times. One conditional update decides, so that of many at once no more come through than are left.
    """
    moment = now()
    if start > 0:
        going_on = download_continued(link.number, _visitor(link), digest, moment - ONE_DOWNLOAD, PARTS)
        if db.session.execute(going_on).first() is not None:
            return
    counted = db.session.execute(download_counted(link.number, moment)).first()
    if counted is None:
        raise Gone(USED_UP, code="link_used_up")
    _note(link, "downloaded", name, digest)
    told = {"downloads": (counted.downloads - 1, counted.downloads), "sha256": (None, digest)}
    record(link.visitor, "share.downloaded", link.target, told)


def note_guess(address: str | None) -> None:
    """Count a link that is not there. Raises Limited beyond thirty of a network: nobody tries them all."""
    hits, wait = _count(keyed_digest(network_of(address), "link guesses"))
    if hits > GUESSES:
        raise Limited("Too many links that are not there. Wait before you try another.", retry_after=wait)


def count_hits(what: str) -> int:
    """Count something within a quarter of an hour, exact over all processes. Returns how often it was."""
    return _count(keyed_digest(what, "link hits"))[0]


@transactional
def _count(key: str) -> tuple[int, int]:
    """Hits within the window, this one too, and the seconds until it ends. In every process the same count."""
    moment = now()
    hit = counted_hit(db.engine.dialect.name, key, 1, 0, moment, moment + WINDOW, moment + WINDOW)
    row = db.session.execute(hit).one()
    return row.hits, max(1, round((row.ends_at - moment).total_seconds()))


@transactional
def sweep_visits() -> int:
    """Forget a batch of visits that are a year old. Returns how many."""
    return db.session.execute(visits_gone(now() - KEPT, BATCH)).rowcount  # type: ignore[attr-defined, no-any-return]


def _note(link: Link, what: What, name: str | None = None, content: str | None = None) -> None:
    number = next_id()
    row = {"id": number, "share_id": link.number, "created_at": now(), "what": what, "visitor": _visitor(link),
           "content": content, "continued": 0, "name": in_row(name, number) if name else None,
           "address": in_row(network_of(link.visitor.address), number),
           "recipient": in_row(link.who, number) if link.who else None}  # fmt: skip
    db.session.execute(insert(ShareVisit).values(row))


def _visitor(link: Link) -> str:
    """Recognises a visitor of this link again, and says nothing else."""
    who = "\0".join((str(link.uuid), network_of(link.visitor.address), link.visitor.agent or "", link.who or ""))
    return keyed_digest(who, "link visitor")
