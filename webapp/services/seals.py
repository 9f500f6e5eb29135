"""The seals of the audit trail: committed entries are chained one by one, and a check names what was changed since.

A link is HMAC-SHA-256 over the link before it and the whole entry, under a key that the database holds encrypted: who
can write to the database alone makes no link (B. Schneier, J. Kelsey, Secure audit logs to support computer forensics,
1999). Entries commit without waiting for the chain.
"""

import hmac
import json
import secrets
from collections.abc import Iterator, Mapping
from contextlib import suppress
from datetime import datetime
from typing import Any

import msgspec
import structlog
from sqlalchemy import func, insert

from webapp.db import db, read_row, read_rows, transactional
from webapp.errors import Conflict
from webapp.infra.clock import now
from webapp.models.audit import AuditChain, AuditEntry, AuditSeal, any_chain, any_last_link, any_links, any_unsealed
from webapp.models.record import any_state
from webapp.policies import system_actor
from webapp.services.events import Target, record
from webapp.services.jobs import Hopeless
from webapp.services.purges import Work

log = structlog.get_logger("webapp.audit")
BATCH = 500  # entries of one transaction, or of one read
OVERLAP = 600_000 << 22  # ids: an entry commits at most ten minutes after its id was made; the nightly check sees all
MOST = 100  # faults that are named; all are counted
NEWEST = any_last_link()
FRESH = any_unsealed().limit(BATCH)
LINKS = any_links().limit(BATCH)
FIELDS = tuple(column.name for column in AuditEntry.__table__.columns)


class Fault(msgspec.Struct, frozen=True, kw_only=True):
    """What is wrong at a place of the chain, and the entry there as far as it is known."""

    position: int
    what: str
    entry_id: int
    event: str | None = None
    at: datetime | None = None
    target: str | None = None

    def __str__(self) -> str:
        about = "" if self.event is None else f": {self.event} of {self.target} at {self.at}"
        which = f"entry {self.entry_id}" if self.entry_id else "an entry"
        return f"place {self.position}, {which} {self.what}{about}"


class Check(msgspec.Struct, frozen=True, kw_only=True):
    """A check of the whole chain. `head` names its end, to be kept elsewhere: nothing here tells of an end cut off."""

    links: int
    faults: int
    named: tuple[Fault, ...]
    head: str


def seal_entries(*, every: bool = False) -> int:
    """Chain what is committed and has no seal yet; returns how many. Several may run, one of them does it.

    `every` looks for entries of any age, which reads the whole trail.
    """
    count = 0
    while (done := _seal_next(0 if every else _floor())) > 0:
        count += done
    return count


def verify_chain(expected: str | None = None, job: Work | None = None) -> Check:
    """Compute every link again. `expected` is the head of an earlier check, which must still be in the chain.

    Names entries that were changed or removed and links that are missing, wherever they are.
    """
    chain = read_row(any_chain())
    key = b"" if chain is None else bytes.fromhex(chain.key)
    newest = read_row(NEWEST)
    last = 1 if newest is None else newest.position
    faults, place, previous, heads = [], 0, b"", expected in {None, _name(0, b"")}
    for row in _links():
        if row.position != place + 1:
            faults.append(Fault(position=place + 1, what="and its seal are missing", entry_id=0))
        elif row.id is None:
            faults.append(Fault(position=row.position, what="was removed", entry_id=row.entry_id))
        elif not hmac.compare_digest(_link(key, previous, row.position, row.sealed_at, dict(row._mapping)), row.hash):
            faults.append(Fault(position=row.position, what="was changed", entry_id=row.entry_id, event=row.event,
                                at=row.created_at, target=f"{row.target_type} {row.target_uuid}"))  # fmt: skip
        place, previous = row.position, row.hash
        heads = heads or expected == _name(place, previous)
        if job is not None and place % BATCH == 0:
            job.progress(min(99, place * 100 / last))
    if not heads:
        faults.append(Fault(position=place, what="is the last: the expected end is not in the chain", entry_id=0))
    return Check(links=place, faults=len(faults), named=tuple(faults[:MOST]), head=_name(place, previous))


def check_nightly(job: Work) -> dict[str, Any]:
    """Seal what was left over, then verify all. Raises Hopeless naming the first fault, which is recorded as well."""
    seal_entries(every=True)
    check = verify_chain(job=job)
    log.info("audit_verified", links=check.links, faults=check.faults, head=check.head)
    if check.faults:
        _tell(check)
        raise Hopeless(f"The audit trail was tampered with in {check.faults} places. The first: {check.named[0]}.")
    return {"links": check.links, "head": check.head}


@transactional
def _tell(check: Check) -> None:
    first = str(check.named[0])
    record(
        system_actor(), "audit.broken", Target("audit", None), {"faults": (None, check.faults), "first": (None, first)}
    )


def _seal_next(floor: int) -> int:
    """Seal a batch. Looks first: a vault at rest writes nothing."""
    if read_row(FRESH, {"floor": floor}) is None:
        return 0
    if read_row(any_chain()) is None:
        with suppress(Conflict):  # a twin was first
            _begin()
    return _seal(floor)


@transactional
def _seal(floor: int) -> int:
    chain = db.session.scalar(any_state(AuditChain).with_for_update(skip_locked=True))
    if chain is None:
        return 0  # another has it in its hands
    key, last = bytes.fromhex(chain.key), db.session.execute(NEWEST).first()
    place, previous, moment = (0, b"", now()) if last is None else (last.position, last.hash, now())
    seals = []
    for row in db.session.execute(FRESH, {"floor": floor}):
        place, previous = place + 1, _link(key, previous, place + 1, moment, dict(row._mapping))
        seals.append({"position": place, "entry_id": row.id, "hash": previous, "sealed_at": moment})
    if seals:
        db.session.execute(insert(AuditSeal), seals)
    return len(seals)


@transactional
def _begin() -> None:
    db.session.add(AuditChain(id=1, key=secrets.token_hex(32), created_at=now()))


def _floor() -> int:
    newest = read_row(any_state(AuditSeal, func.max(AuditSeal.entry_id)))
    return 0 if newest is None or newest[0] is None else int(newest[0]) - OVERLAP


def _links() -> Iterator[Any]:
    after = 0
    while rows := read_rows(LINKS, {"after": after}):
        yield from rows
        after = rows[-1].position


def _link(key: bytes, previous: bytes, position: int, sealed_at: datetime, entry: Mapping[str, Any]) -> bytes:
    """The hash of a link. Columns that are null are left out, so that one added later changes no link before it."""
    facts = {name: entry[name] for name in FIELDS if entry[name] is not None}
    text = json.dumps(facts, sort_keys=True, ensure_ascii=False, default=_plain, separators=(",", ":"))
    return hmac.digest(
        key, b"\0".join((previous.hex().encode(), f"{position} {_plain(sealed_at)} {text}".encode())), "sha256"
    )


def _plain(value: Any) -> str:
    return value.isoformat() if isinstance(value, datetime) else str(value)


def _name(position: int, link: bytes) -> str:
    return f"{position}:{link.hex()}"
