"""Viruses: what the scanner says of stored content, once for all files that hold it, and what follows for their use.

Where CLAMAV_URL names a scanner, content that it has not found clean is its owner's alone; infected content is
nobody's, whatever is configured now.
"""

from collections.abc import Iterator
from datetime import datetime, timedelta
from itertools import chain
from time import monotonic
from typing import Any
from uuid import UUID

import structlog
from sqlalchemy import ColumnElement

from webapp.config import current_settings
from webapp.db import db, read_row, read_rows, transaction, transactional
from webapp.errors import Conflict, Locked, TooLarge
from webapp.infra import scanner
from webapp.infra.clock import now
from webapp.infra.locks import Held, locked
from webapp.models.files import Blob, File, FileVersion, any_holders, any_holding, any_locked_blob
from webapp.models.record import any_state, live
from webapp.models.texts import text_forgotten
from webapp.models.users import User
from webapp.policies import system_actor
from webapp.services.caches import forget_now
from webapp.services.events import Target, queue_jobs, record
from webapp.services.inspections import Content, Found, Work, find_content
from webapp.services.jobs import Hopeless
from webapp.services.mails import Recipient, send_mail
from webapp.services.stored import read_blob

log = structlog.get_logger("webapp.scans")
JOB = "upkeep.scan_blobs"
BATCH = 500
LONGEST = 1200.0  # seconds of one job: it never outlives its message at the broker
STALE = timedelta(days=7)  # what was found clean is looked at again after so long
SCAN = (Blob.scanned_at, Blob.infected_with)  # what refuse_unsafe needs, for selects
_DUE = any_state(Blob, Blob.id, Blob.storage_key).where(Blob.refcount > 0).order_by(Blob.id).limit(BATCH)


def refuse_unsafe(scanned_at: datetime | None, infected_with: str | None, *, own: bool) -> None:
    """To be called wherever content, a preview or a text of it is given away. `own`: to the owner of the file.

    Raises Conflict (infected) for everybody, Locked (being_checked) for others than the owner until it is clean.
    """
    if infected_with is not None:
        raise Conflict(
            f"A virus was found in this file ({infected_with}), so nobody can open it. Its owner can delete it.",
            code="infected",
        )
    if not is_safe(scanned_at, infected_with, own=own):
        raise Locked("This file is shared once it was checked for viruses. Try again later.", code="being_checked",
                     retry_after=30)  # fmt: skip


def is_safe(scanned: object, infected_with: str | None, *, own: bool) -> bool:
    """The same as a question, for lists and archives; `scanned` is the time or whether there is one."""
    return infected_with is None and bool(scanned or own or not current_settings().clamav_url)


def scan_file(job: Work) -> Found:
    """Have the content of a file scanned, unless it was as another file's. Raises Unavailable while the scanner is
    away: the file stays unshared. Raises Hopeless, in words for people, for what is infected or too large to scan."""
    content, url = find_content(job), current_settings().clamav_url
    if content is None or not url:
        return None
    known = read_row(any_state(Blob, *SCAN).where(Blob.id == content.blob_id))
    if known is None:
        return None
    if known.scanned_at is None:
        found = _ask(url, _bytes(content.storage_key))
        _settle(content.blob_id, found)
    else:
        found = known.infected_with
        if found is not None:
            _tell_of_twin(content, job.args["number"], known)
    if found is not None:
        raise Hopeless(f"A virus was found in this file: {found}. Nobody can open it; delete it.", {"virus": found})
    return {"clean": True}


def _ask(url: str, chunks: Iterator[bytes]) -> str | None:
    try:
        return scanner.scan(url, chunks)
    except TooLarge as error:
        raise Hopeless(f"{error.detail} It is not shared.") from error


def _settle(blob_id: int, found: str | None) -> None:
    """Write down what was found, and tell when that is news to those who hold the content."""
    with transaction():
        blob = db.session.scalar(any_locked_blob(blob_id))
        if blob is None:
            return
        before, news = blob.infected_with, blob.scanned_at is None or blob.infected_with is not None
        blob.scanned_at, blob.infected_with = now(), found
        _settle_text(blob_id, news=news, clean=found is None)
        holders = [tuple(row) for row in db.session.execute(any_holders(blob_id)).all()]
        if (before is None) != (found is None):
            _tell(holders, before, found)
    for file_id, _, owner_id in holders:
        forget_now(owner_id, "file.scanned", file_id)


def _settle_text(blob_id: int, *, news: bool, clean: bool) -> None:
    """Nobody searches in what is infected; what turned out clean is read, once for all files that hold it."""
    if not clean:
        for statement in text_forgotten(blob_id):
            db.session.execute(statement, execution_options={"synchronize_session": False})
    elif news and (one := db.session.execute(any_holding(blob_id)).first()) is not None:
        args = {"file_id": one.id, "number": one.number}
        queue_jobs(system_actor(), ["files.extract"], Target("file", one.uuid, one.name, one.owner_id, args))


def _tell(holders: list[Any], before: str | None, found: str | None) -> None:
    """An event for each file, and one mail to each owner. Must run inside a transaction."""
    for file in holders:
        target, changes = Target("file", *file), {"virus": (before, found)}
        if found is None:
            record(system_actor(), "file.cleared", target, changes)
        else:
            record(system_actor(), "file.infected", target, changes)
    if found is not None:
        for owner_id in dict.fromkeys(owner_id for *_, owner_id in holders):
            _mail(owner_id, [file for file in holders if file[2] == owner_id], found)


def _mail(owner_id: int, files: list[Any], found: str) -> None:
    owner = db.session.scalar(live(User).where(User.id == owner_id, User.suspended_at.is_(None)))
    if owner is not None:
        file_id, name, _ = files[0]
        about = {"name": name, "virus": found, "more": len(files) - 1,
                 "url": f"{current_settings().origin}/files/{file_id}"}  # fmt: skip
        to = Recipient(owner.email, owner.name, owner.locale, owner.time_zone)
        send_mail(None, "file_infected", to, about)


@transactional
def _tell_of_twin(content: Content, number: int, known: Any) -> None:
    """Its content was known to be infected when it came: those who held it then were told, its owner was not."""
    later = any_state(FileVersion, FileVersion.id).join(File, File.id == FileVersion.file_id)
    later = later.where(File.uuid == content.uuid, FileVersion.number == number)
    if db.session.execute(later.where(FileVersion.created_at > known.scanned_at)).first() is not None:
        _tell([(content.uuid, content.name, content.owner_id)], None, known.infected_with)


@transactional
def order_rescan() -> UUID:
    """Have a job scan everything anew; returns it. Raises Conflict while one is owed."""
    actor, target = system_actor(), Target("blobs", None, "All stored files", args={"before": now().isoformat()})
    record(actor, "scan.ordered", target)
    return queue_jobs(actor, [JOB], target, unique_key=JOB)[0]


def scan_blobs(job: Work) -> dict[str, int]:
    """Scan what was not scanned yet, then what was longest ago: a week, or before the moment of an order.

    What is done is done: where time runs out, an order goes on as another job and the nightly scan the next night.
    Raises Unavailable when the scanner is away. One at a time: raises Locked.
    """
    done = {"contents": 0, "infected": 0, "unscannable": 0}
    url = current_settings().clamav_url
    if not url:
        return done
    ordered = job.args.get("before")
    before = datetime.fromisoformat(ordered) if ordered else now() - STALE
    with locked("scan", ttl=300, wait=0) as held:
        late = _scan_all(job, held, url, before, done)
    log.info("scanned", **done)
    if late and ordered:
        _go_on(ordered)
    return done


def _scan_all(job: Work, held: Held, url: str, before: datetime, done: dict[str, int]) -> bool:
    """Whether something is left."""
    deadline = monotonic() + LONGEST
    for row in chain(_due(Blob.scanned_at.is_(None)), _due(Blob.scanned_at < before)):
        if monotonic() >= deadline:
            return True
        job.progress(min(99, (monotonic() - deadline + LONGEST) * 100 / LONGEST))
        try:
            found = _ask(url, _bytes(row.storage_key, held))
        except Hopeless:
            done["unscannable"] += 1
            continue
        _settle(row.id, found)
        done["contents"] += 1
        done["infected"] += found is not None
    return False


def _bytes(key: str, held: Held | None = None) -> Iterator[bytes]:
    """Opened when the first is asked for: a scanner that is away leaves nothing open."""
    for chunk in read_blob(key):
        if held is not None:
            held.keep()
        yield chunk


def _due(stale: ColumnElement[bool]) -> Iterator[Any]:
    after = 0
    while rows := read_rows(_DUE.where(stale, Blob.id > after)):
        yield from rows
        after = rows[-1].id


@transactional
def _go_on(ordered: str) -> None:
    queue_jobs(system_actor(), [JOB], Target("blobs", None, "All stored files", args={"before": ordered}))
