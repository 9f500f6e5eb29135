"""Exact rate limits without Redis: counted in the database, so that the count is right over all processes."""

from datetime import timedelta

import structlog
from sqlalchemy.exc import SQLAlchemyError

from webapp.db import db, transactional
from webapp.infra.clock import now
from webapp.infra.crypto import keyed_digest
from webapp.infra.limits import Answer, Hit
from webapp.models.limits import LimitCounter, counted_hit, counters_over

log = structlog.get_logger("webapp.limits")


def count_hit(hit: Hit) -> Answer | None:
    """Count in a transaction of its own; None, and then the process counts alone, when the database does not answer."""
    moment = now()
    latest = moment + timedelta(seconds=hit.window)
    fresh = moment + timedelta(seconds=hit.left) if hit.known else latest
    key = keyed_digest(hit.key, "limit")
    statement = counted_hit(db.engine.dialect.name, key, hit.amount, hit.known, moment, fresh, latest)
    try:
        with db.engine.connect().execution_options(write=True) as connection, connection.begin():
            row = connection.execute(statement).one()
    except SQLAlchemyError as error:
        log.warning("limit_not_shared", error=type(error).__name__)
        return None
    return row.hits, max(0.001, (row.ends_at - moment).total_seconds())


@transactional
def sweep_counters() -> int:
    """Forget counters whose window has ended. Returns how many."""
    return len(db.session.execute(counters_over(now()).returning(LimitCounter.key)).all())
