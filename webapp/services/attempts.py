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
from webapp.models.limits import counted_hit
from webapp.models.sessions import SignInAttempt, any_attempts
from webapp.services.limits import sweep_counters

WINDOW = timedelta(minutes=15)
# failures within the window before the first delay: of one network at one account, of a device that signed in to the
# account before, of one network at all accounts, of all strangers together at one account
PER_PAIR, PER_DEVICE, PER_ADDRESS, PER_ACCOUNT = 10, 10, 30, 100
FIRST_DELAY, LONGEST_DELAY = 30.0, WINDOW.total_seconds()  # seconds; doubles with every further failure
MAILS = 3  # that strangers may have sent to one address within the window


def refuse_if_limited(
    account: str, address: str | None, device: str | None = None, *, inside: bool = False
) -> None:  # fmt: skip
    """Raise Limited while who tries has to wait. An account that does not exist is counted alike.

    A device that signed in to the account before waits for its own failures alone: no stranger delays it. Nobody is
    locked out for good: after the delay one more attempt is free, after a quiet window all of them. `inside` reads on
    the connection of the present transaction, whose holder must not wait for a second one.
    """
    limits = _limits(account, address, device)
    moment, waits = now(), [0.0]
    counted = any_attempts(list(limits), moment - WINDOW)
    for row in db.session.execute(counted).all() if inside else read_rows(counted):
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


def note_failure(account: str, address: str | None, device: str | None = None) -> None:
    """Count one failure of whoever tried. Must run inside a transaction."""
    moment = now()
    db.session.execute(delete(SignInAttempt).where(SignInAttempt.created_at <= moment - WINDOW))
    subjects = _limits(account, address, device)
    rows = [{"id": next_id(), "subject": subject, "created_at": moment} for subject in subjects]
    db.session.execute(insert(SignInAttempt), rows)


def forgive(account: str, address: str | None = None, device: str | None = None) -> None:
    """Forget the failures at this account of who has now succeeded; those of others and elsewhere stay.

    Must run inside a transaction.
    """
    db.session.execute(delete(SignInAttempt).where(SignInAttempt.subject == _own(account, address, device)))


def may_mail(address: str) -> bool:
    """Count a mail that somebody who is not signed in has sent to this address; False beyond three in the window.

    Exact over all processes. Must run inside a transaction.
    """
    moment = now()
    statement = counted_hit(db.engine.dialect.name, keyed_digest(address, "mails to"), 1, 0, moment,
                            moment + WINDOW, moment + WINDOW)  # fmt: skip
    hits: int = db.session.execute(statement).one().hits
    return hits <= MAILS


def network_of(address: str | None) -> str:
    """The address, or the /64 around an IPv6 one: a single subscriber has that many."""
    try:
        parsed = ipaddress.ip_address(address or "")
    except ValueError:
        return "unknown"
    return str(ipaddress.ip_network((parsed, 64), strict=False)) if parsed.version == 6 else str(parsed)


def _limits(account: str, address: str | None, device: str | None) -> dict[str, int]:
    own = _own(account, address, device)
    if device is not None:
        return {own: PER_DEVICE}
    return {
        own: PER_PAIR,
        keyed_digest(network_of(address), "sign-in address"): PER_ADDRESS,
        keyed_digest(account, "sign-in account"): PER_ACCOUNT,
    }


def _own(account: str, address: str | None, device: str | None) -> str:
    if device is not None:
        return keyed_digest(f"{account}\0{device}", "sign-in device")
    return keyed_digest(f"{account}\0{network_of(address)}", "sign-in pair")
