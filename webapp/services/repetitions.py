"""A retried POST is one POST: the answer is stored with the deed, in one transaction, for 24 hours.

draft-ietf-httpapi-idempotency-key-header, with the deed's transaction as the lock.
"""

from collections.abc import Callable
from datetime import timedelta

import msgspec
from sqlalchemy import delete, update
from sqlalchemy.dialects import postgresql, sqlite

from webapp.db import db, transaction, transactional, translated
from webapp.errors import Conflict, Invalid, Unavailable
from webapp.infra.clock import now
from webapp.infra.crypto import in_row
from webapp.models.idempotency_keys import IdempotencyKey, any_kept_answer
from webapp.policies import Actor

KEPT_FOR = timedelta(hours=24)


class KeptAnswer(msgspec.Struct, frozen=True):
    """An answer as it went out: status, headers that belong to it, body."""

    status: int
    headers: list[tuple[str, str]]
    body: bytes


def answer_once(actor: Actor, key: str, fingerprint: str, act: Callable[[], KeptAnswer]) -> KeptAnswer:
    """What `act` answers, done at most once for this actor and key; a repetition gets the stored answer.

    The key's row is inserted in the transaction that `act` joins: killed in the middle, both are gone; a twin waits
    for the first to commit (at most the lock time-out), then reads its answer. A refusal is not stored.
    Raises Invalid for a key used with another request, Conflict (with retry_after) when the twin takes too long.
    """
    with transaction():
        if not _claim(actor, key, fingerprint):
            return _known_answer(actor, key, fingerprint)
        answer = act()
        headers, body = [list(pair) for pair in answer.headers], in_row(answer.body, actor.id, key)
        kept = {"status": answer.status, "headers": headers, "body": body}
        mine = (IdempotencyKey.user_id == actor.id) & (IdempotencyKey.key == key)
        db.session.execute(update(IdempotencyKey).where(mine).values(kept))
        return answer


def _claim(actor: Actor, key: str, fingerprint: str) -> bool:
    """Whether the key is ours. On PostgreSQL this waits for a twin that has inserted it and not committed."""
    moment = now()
    mine = (IdempotencyKey.user_id == actor.id) & (IdempotencyKey.key == key)
    db.session.execute(delete(IdempotencyKey).where(mine, IdempotencyKey.created_at < moment - KEPT_FOR))
    dialect = sqlite if db.engine.dialect.name == "sqlite" else postgresql
    row = {"user_id": actor.id, "key": key, "fingerprint": fingerprint, "created_at": moment}
    claimed = dialect.insert(IdempotencyKey).values(row).on_conflict_do_nothing().returning(IdempotencyKey.key)
    try:
        with translated():
            return db.session.execute(claimed).first() is not None
    except Unavailable as error:
        raise Conflict("The same request is still being worked on.", code="in_flight", retry_after=1) from error


def _known_answer(actor: Actor, key: str, fingerprint: str) -> KeptAnswer:
    row = db.session.scalars(any_kept_answer(actor.id, key)).one()
    if row.fingerprint != fingerprint:
        raise Invalid.field("Idempotency-Key", "key_reused", "This key was used for a different request.")
    return KeptAnswer(row.status or 200, [(name, value) for name, value in row.headers or []], row.body or b"")


@transactional
def sweep_answers() -> int:
    """Forget answers older than 24 hours. Returns how many."""
    old = delete(IdempotencyKey).where(IdempotencyKey.created_at < now() - KEPT_FOR).returning(IdempotencyKey.key)
    return len(db.session.execute(old).all())
