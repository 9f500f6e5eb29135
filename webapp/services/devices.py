"""Devices that signed in before: a signed cookie names them, so that no stranger delays them; new ones are told of.

The cookie proves nothing but that: whoever has it still needs the password. docs/decisions/0032 has the rules.
"""

import secrets
from datetime import timedelta

from webapp.config import current_settings
from webapp.db import db
from webapp.infra.agents import browser_of, program_of, system_of
from webapp.infra.clock import now
from webapp.infra.crypto import keyed_digest
from webapp.infra.links import read_words, sign_words
from webapp.models.sessions import any_last_sessions_of
from webapp.policies import Actor
from webapp.services.attempts import network_of
from webapp.services.mails import Recipient, send_mail

LIFE = timedelta(days=400)  # browsers keep no cookie longer
ACCOUNTS = 6  # that one device is remembered for, the latest
COMPARED = 20  # earlier sign-ins that a device without a cookie is looked for among


def device_for(cookie: str | None, account: str) -> str | None:
    """The device of this cookie, where it has signed in to this account before. `account` is an email_key."""
    said = read_words("device", cookie or "") or {}
    return said["device"] if _mark(account) in said.get("accounts", "").split() else None


def remember_device(cookie: str | None, account: str) -> str:
    """A cookie for a device that has just signed in to this account, or proven to read its mail."""
    said = read_words("device", cookie or "") or {}
    others = [mark for mark in said.get("accounts", "").split() if mark != _mark(account)]
    marks = " ".join([_mark(account), *others][:ACCOUNTS])
    return sign_words("device", now() + LIFE, device=said.get("device") or secrets.token_urlsafe(12), accounts=marks)


def tell_of_new_device(actor: Actor, *, known: bool) -> None:
    """Mail the account's owner when the sign-in comes from a device that none of the last ones came from.

    `known` is a device whose cookie says so. The very first sign-in is nobody's surprise. Call it before the session
    starts, inside its transaction.
    """
    if known:
        return
    earlier = db.session.execute(any_last_sessions_of(actor.id, COMPARED)).all()
    here = (network_of(actor.address), (actor.agent or "")[:400])
    if not earlier or here in {(network_of(row.address), row.agent) for row in earlier}:
        return
    words = {"browser": browser_of(actor.agent) or program_of(actor.agent), "system": system_of(actor.agent) or ""}
    to = Recipient(actor.email, actor.name, actor.locale, actor.time_zone)
    pages = f"{current_settings().origin}/account"
    send_mail(actor, "new_device", to, {**words, "address": actor.address or "", "at": now().isoformat(),
                                        "sessions": f"{pages}/sessions", "security": f"{pages}/security"})  # fmt: skip


def _mark(account: str) -> str:
    return keyed_digest(account, "device account")[:22]
