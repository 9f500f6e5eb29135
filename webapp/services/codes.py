"""Links for named recipients: a code of six digits by mail shows that a visitor reads the mailbox of one of them.

Nothing is stored: the ticket in the visitor's form is signed, and the code follows from it and a key. A ticket for
which no mail was sent looks the same, and no code opens with it; so an unknown address is told what a known one is.
"""

import hmac
import secrets
from datetime import timedelta
from typing import Annotated

from pydantic import Field

from webapp.db import transactional
from webapp.errors import Gone, Invalid
from webapp.infra.clock import now
from webapp.infra.crypto import keyed_digest
from webapp.infra.links import read_words, sign_words
from webapp.services import attempts, openings
from webapp.services.inputs import Input
from webapp.services.links import passport_of
from webapp.services.mails import Recipient, send_mail
from webapp.services.openings import Link
from webapp.services.users import Email, email_key

GOOD = timedelta(minutes=15)
TRIES = 5  # of one code
SEAL = 16  # characters


class CodeRequest(Input):
    """The address that a visitor says is theirs."""

    email: Email


class CodeEntry(Input):
    """The code of the mail, and the ticket of the form that asked for it."""

    ticket: Annotated[str, Field(max_length=2000)]
    code: Annotated[str, Field(pattern=r"^\s*[0-9]{3}\s?[0-9]{3}\s*$", description="six digits")]


@transactional
def send_code(link: Link, wish: CodeRequest) -> str:
    """Mail a code where the link is for this address; returns the ticket, for whatever address alike."""
    key, nonce = email_key(wish.email), secrets.token_urlsafe(12)
    known = next((each for each in link.recipients if email_key(each) == key), None)
    seal = secrets.token_urlsafe(12)[:SEAL]
    if attempts.may_mail(key) and known is not None:
        seal = _seal(link, key, nonce)
        about = {"code": _code(link, key, nonce), "minutes": int(GOOD.total_seconds() // 60), "by": link.maker}
        send_mail(link.visitor, "link_code", Recipient(known), about)
    return sign_words("link code", now() + GOOD, share=str(link.uuid), email=key, nonce=nonce, seal=seal)


def enter_code(link: Link, wish: CodeEntry) -> str:
    """A passport for the browser whose code is right, once. Raises Invalid, Gone after 15 minutes or five tries."""
    said = read_words("link code", wish.ticket)
    if said is None or said["share"] != str(link.uuid):
        raise Gone("This code is over. Ask for a new one.", code="code_over")
    key, nonce = said["email"], said["nonce"]
    if openings.count_hits(f"code tries {nonce}") > TRIES:
        raise Gone("This code was tried too often. Ask for a new one.", code="code_over")
    mailed = hmac.compare_digest(said["seal"], _seal(link, key, nonce))
    right = hmac.compare_digest("".join(wish.code.split()), _code(link, key, nonce))
    if not (mailed and right):
        openings.note_refusal(link, "code")
        raise Invalid.field("code", "wrong_code", "This is not the code of the newest mail.")
    if openings.count_hits(f"code used {nonce}") > 1:
        raise Gone("This code was used. Ask for a new one.", code="code_over")
    return passport_of(link, key)


def _seal(link: Link, key: str, nonce: str) -> str:
    return keyed_digest(f"{link.uuid}\0{key}\0{nonce}", "link code was mailed")[:SEAL]


def _code(link: Link, key: str, nonce: str) -> str:
    digest = keyed_digest(f"{link.uuid}\0{key}\0{nonce}", "link code")
    return f"{int.from_bytes(digest.encode()[:24], 'big') % 1_000_000:06d}"
