"""Which features there are, and whether one is on for somebody: the one module that declares flags.

A process reads all flags once a second, so a change is in force everywhere within two. While the database is away, what
was known goes on to count. An unknown name is a type error here and a KeyError at run time.
"""

import hashlib
import threading
import time
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Literal
from uuid import UUID

import structlog
from sqlalchemy.exc import SQLAlchemyError

from webapp.db import db, read_rows
from webapp.errors import HoldfastError
from webapp.infra.clock import now
from webapp.models.flags import first_flag, flag_asked, live_flags
from webapp.policies import Actor
from webapp.services.presence import write_soon

log = structlog.get_logger("webapp.features")
FRESH = 1.0  # seconds
NOTED_EVERY = timedelta(minutes=1)
Feature = Literal["passkeys", "public_links"]


@dataclass(frozen=True, slots=True)
class Declaration:
    """What a flag is called, what happens without it, and whether it is on where nobody changed it."""

    title: str
    about: str
    default: bool = True


FEATURES: dict[str, Declaration] = {
    "passkeys": Declaration(
        "Passkeys", "Off: nobody can add a passkey. Those that are there go on working: nobody is locked out."
    ),
    "public_links": Declaration(
        "Public links", "Off: nobody makes, sees or opens one. On again, those that were not revoked open again."
    ),
}


@dataclass(frozen=True, slots=True)
class State:
    """A flag as it counts. Given `people` or `groups`, or less than 100 per cent, it is on for these and that share."""

    enabled: bool
    percentage: int
    people: frozenset[int]
    groups: frozenset[int]
    starts_at: datetime | None
    ends_at: datetime | None
    asked_at: datetime | None


class _Known:
    lock = threading.Lock()
    states: Mapping[str, State] | None = None
    until = 0.0
    noted: dict[str, datetime] = {}  # noqa: RUF012


def is_on(feature: Feature, actor: Actor | None) -> bool:
    """Whether the feature is on for this person; for nobody in particular, whether it is on for all. Never fails."""
    declared = FEATURES[feature]
    state = _states().get(feature)
    _note(feature, state)
    return declared.default if state is None else counts(feature, state, actor, now())


def counts(feature: str, state: State, actor: Actor | None, moment: datetime) -> bool:
    """The same of a given state and moment."""
    begun = state.starts_at is None or moment >= state.starts_at
    over = state.ends_at is not None and moment >= state.ends_at
    if not state.enabled or not begun or over:
        return False
    if state.percentage >= 100:
        return True
    if actor is None:
        return False
    chosen = actor.id in state.people or bool(actor.groups & state.groups)
    return chosen or share_of(feature, actor.uuid) < state.percentage


def share_of(feature: str, person: UUID) -> float:
    """0 to 100, always the same for one feature and person: who is in at 10 per cent is in at 20, too."""
    digest = hashlib.sha256(f"{feature}:{person}".encode()).digest()
    return int.from_bytes(digest[:8]) / 2**64 * 100


def state_of(row: Any) -> State:
    """The state of a row of live_flags, of a declared feature."""
    enabled = FEATURES[row.name].default if row.enabled is None else row.enabled
    return State(enabled, row.percentage, frozenset(row.people), frozenset(row.groups), row.starts_at, row.ends_at,
                 row.asked_at)  # fmt: skip


def forget_states() -> None:
    """Ask at the next need: this process has changed one."""
    _Known.until = 0.0


def _states() -> Mapping[str, State]:
    """All flags that have a row, at most a second old. One thread reads while the others go on with what was known."""
    known = _Known.states
    if known is not None and (_Known.until > time.monotonic() or not _Known.lock.acquire(blocking=False)):
        return known
    if known is None:
        _Known.lock.acquire()
    try:
        if _Known.states is None or _Known.until <= time.monotonic():
            _Known.until = time.monotonic() + FRESH  # before the read: a change meanwhile takes it back
            _Known.states = _read(_Known.states)
        return _Known.states
    finally:
        _Known.lock.release()


def _read(known: Mapping[str, State] | None) -> Mapping[str, State]:
    try:
        return {row.name: state_of(row) for row in read_rows(live_flags()) if row.name in FEATURES}
    except (HoldfastError, SQLAlchemyError) as error:  # away, or not migrated yet
        log.warning("flags_not_read", error=type(error).__name__)
        return known or {}


def _note(feature: str, state: State | None) -> None:
    """Write down that it was asked for, once a minute."""
    moment = now()
    last = max((at for at in (_Known.noted.get(feature), state and state.asked_at) if at), default=None)
    if last is None or moment - last >= NOTED_EVERY:
        _Known.noted[feature] = moment
        first = state is None
        write_soon(
            db.engine, first_flag(db.engine.dialect.name, feature, moment) if first else flag_asked(feature, moment)
        )
