"""Failed sign-ins: counted in the database, so that the limit holds in every process and without Redis."""

import ipaddress
import math
from datetime import timedelta

from sqlalchemy import delete, insert

from webapp.db import db, read_rows, transactional
from webapp.errors import Limited
from webapp.infra.clock import now
from webapp.infra.crypto import keyed_digest
from webapp.infra.ids import next_id
from webapp.models.sessions import SignInAttempt, any_attempts
from webapp.services.limits import sweep_counters

WINDOW = timedelta(minutes=15)
PER_ACCOUNT, PER_ADDRESS = 10, 30  # failures within the window before the first delay
FIRST_DELAY, LONGEST_DELAY = 30.0, WINDOW.total_seconds()  # seconds; doubles with every further failure


def refuse_if_limited(account: str, address: str | None) -> None:
    """Raise Limited while the account or the address has to wait. An account that does not exist is counted alike.

    Nobody is locked out for good: after the delay one more attempt is free, after a quiet window all of them.
    """
    limits = _limits(account, address)
    moment, waits = now(), [0.0]
    for row in read_rows(any_attempts(list(limits), moment - WINDOW)):
        excess = row.failures - limits[row.subject]
        if excess >= 0:
            delay = min(FIRST_DELAY * 2 ** min(excess, 10), LONGEST_DELAY)
            waits.append(delay - (moment - row.last).total_seconds())
    if max(waits) > 0:
        raise Limited("Too many failed sign-ins. Wait before you try again.", retry_after=math.ceil(max(waits)))


@transactional
def sweep_attempts() -> int:
    """Forget failures outside the window, and counters of limits that are over. Returns how many."""
    old = delete(SignInAttempt).where(SignInAttempt.created_at <= now() - WINDOW).returning(SignInAttempt.id)
    return len(db.session.execute(old).all()) + sweep_counters()


def note_failure(account: str, address: str | None) -> None:
    """Count one failure of the account and of the address. Must run inside a transaction."""
    moment = now()
    db.session.execute(delete(SignInAttempt).where(SignInAttempt.created_at <= moment - WINDOW))
    rows = [{"id": next_id(), "subject": subject, "created_at": moment} for subject in _limits(account, address)]
    db.session.execute(insert(SignInAttempt), rows)


def forgive(account: str) -> None:
    """Forget the account's failures after a success; those of the address stay. Must run inside a transaction."""
    db.session.execute(delete(SignInAttempt).where(SignInAttempt.subject == _account(account)))


def _limits(account: str, address: str | None) -> dict[str, int]:
    return {_account(account): PER_ACCOUNT, keyed_digest(_network(address), "sign-in address"): PER_ADDRESS}


def _account(account: str) -> str:
    return keyed_digest(account, "sign-in account")


def _network(address: str | None) -> str:
    """The address, or the /64 around an IPv6 one: a single subscriber has that many."""
    try:
        parsed = ipaddress.ip_address(address or "")
    except ValueError:
        return "unknown"
    return str(ipaddress.ip_network((parsed, 64), strict=False)) if parsed.version == 6 else str(parsed)
