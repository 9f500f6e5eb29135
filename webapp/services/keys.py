"""Keys of encrypted columns: which are in use, none may be lost, and everything moves under the first of DATA_KEYS."""

from collections.abc import Iterator, Sequence
from time import monotonic
from typing import Any, Protocol
from uuid import UUID

import msgspec
import structlog
from sqlalchemy import Column, inspect

from webapp.config import ConfigurationError
from webapp.db import db, read_row, read_rows, transactional, translated
from webapp.errors import Unavailable
from webapp.infra.ciphers import data_keys
from webapp.infra.crypto import Damaged, UnknownKey
from webapp.infra.locks import Held, locked
from webapp.models.keys import (
    EncryptionKey,
    all_encrypted,
    any_key_counts,
    any_key_ids,
    any_stale_count,
    any_stale_values,
    any_value_under,
    key_forgotten,
    value_resealed,
)
from webapp.policies import system_actor
from webapp.services.events import Target, queue_jobs, record

log = structlog.get_logger("webapp.keys")
BATCH = 100  # values of one transaction
LONGEST = 1200.0  # seconds of one job: it never outlives its message at the broker
JOB = "keys.rotate"


class Work(Protocol):
    """The running job, as the jobs' side hands it over."""

    def progress(self, percent: float) -> None: ...


class KeyUse(msgspec.Struct, frozen=True, kw_only=True):
    """How many values of a column are under a key. `number` is its place among DATA_KEYS from 1, None for a lost one;
    `former`: they are bound to their column only, as before decision 0036.
    """

    place: str
    key_id: str
    number: int | None
    former: bool
    values: int


def refuse_lost_keys() -> None:
    """Raise ConfigurationError where values are under a key that DATA_KEYS does not hold, and name it and them.

    Cheap: the keys in use have a table of their own, and only for one that is gone are values looked for. A database
    that does not answer is no reason not to start.
    """
    try:
        with translated():
            if not inspect(db.engine).has_table(EncryptionKey.__tablename__):
                return
            held = {key_id.hex() for key in data_keys() for key_id in (key.id, key.former_id)}
            gone = [row.id for row in read_rows(any_key_ids()) if row.id not in held]
            faults = [fault for key_id in gone if (fault := _fault(key_id))]
    except Unavailable as error:
        log.warning("keys_not_checked", error=error.detail)
        return
    if faults:
        raise ConfigurationError(faults)


def _fault(key_id: str) -> str | None:
    """What is lost with this key; where nothing is, it is forgotten."""
    lost = [_place(each) for each in all_encrypted() if read_row(any_value_under(each, bytes.fromhex(key_id)))]
    if not lost:
        _forget(key_id)
        return None
    return (f"DATA_KEYS: the key {key_id} is missing, under which values of {', '.join(lost)} are encrypted; "
            "put it back, behind the first, until `flask --app wsgi keys rotate` is done")  # fmt: skip


@transactional
def _forget(key_id: str) -> None:
    db.session.execute(key_forgotten(key_id))


def count_values() -> list[KeyUse]:
    """How many values of which column are under which key. Reads every table that has such a column."""
    known = {key.id: (number, False) for number, key in enumerate(data_keys(), 1)}
    known |= {key.former_id: (number, True) for number, key in enumerate(data_keys(), 1)}
    uses = []
    for column in all_encrypted():
        for row in read_rows(any_key_counts(column)):
            key_id = bytes(row.key_id)
            number, former = known.get(key_id, (None, False))
            uses.append(KeyUse(place=_place(column), key_id=key_id.hex(), number=number, former=former,
                               values=row._mapping["values"]))  # fmt: skip
    return uses


@transactional
def order_rotation() -> UUID:
    """Have a job re-encrypt what is not under the first of DATA_KEYS; returns it. Raises Conflict while one is owed."""
    actor, target = system_actor(), Target("key", None, "All encrypted values")
    record(actor, "key.rotation_asked", target)
    return queue_jobs(actor, [JOB], target, unique_key=JOB)[0]


def rotate_keys(job: Work) -> dict[str, int]:
    """Re-encrypt every value that is not under the first of DATA_KEYS, with the digests that find them.

    What is done is done: a run that is stopped is taken up by the next. Whoever changes a value meanwhile wins.
    `unreadable` values stay as they are. One at a time: raises Locked, Conflict.
    """
    with locked("keys", ttl=60, wait=0) as held:
        return _Rotation(job, held).run()


class _Rotation:
    """One run: what it has done so far, of how much."""

    def __init__(self, job: Work, held: Held) -> None:
        self.job, self.held, self.first, self.deadline = job, held, data_keys()[0].id, monotonic() + LONGEST
        self.seen = self.values = self.unreadable = 0
        self.total = 0

    def run(self) -> dict[str, int]:
        columns = all_encrypted()
        self.total = sum(read_rows(any_stale_count(column, self.first))[0][0] for column in columns)
        for column in columns:
            for rows in self._batches(column):
                self._reseal(column, rows)
                self.seen += len(rows)
                self.job.progress(min(99, self.seen * 100 / max(1, self.total)))
        late = monotonic() >= self.deadline
        if late:
            _go_on()
        done = {"values": self.values, "unreadable": self.unreadable, "continues": int(late)}
        log.info("keys_rotated", **done)
        return done

    def _batches(self, column: Column[Any]) -> Iterator[Sequence[Any]]:
        after = None
        while monotonic() < self.deadline:
            self.held.keep()
            rows = read_rows(any_stale_values(column, self.first, after).limit(BATCH))
            if not rows:
                return
            yield rows
            after = rows[-1][:-2]

    @transactional
    def _reseal(self, column: Column[Any], rows: Sequence[Any]) -> None:
        self.held.guard()
        kind: Any = column.type
        for *key, row, stored in rows:
            old = bytes(stored)
            try:
                new, digest = kind.reseal(old, row)
            except (UnknownKey, Damaged) as error:
                self.unreadable += 1
                log.error("value_not_rotated", place=_place(column), row=row, error=str(error))
                continue
            changed: Any = db.session.execute(value_resealed(column, key, old, new, digest))
            self.values += changed.rowcount


@transactional
def _go_on() -> None:
    queue_jobs(system_actor(), [JOB], Target("key", None, "All encrypted values"))


def _place(column: Column[Any]) -> str:
    return f"{column.table.name}.{column.name}"
