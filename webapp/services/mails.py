"""Mails: send_mail() writes a job in the transaction of the deed; the job renders the template and hands it over.

At least once, always with the same Message-ID. What the mail says is stored encrypted: it may hold links that sign in.
"""

import base64
from collections.abc import Mapping
from datetime import datetime
from typing import Annotated, Any
from uuid import UUID

import msgspec
from pydantic import Field
from sqlalchemy import bindparam

from webapp.db import db, read_row, read_rows, transactional
from webapp.errors import Missing
from webapp.infra.clock import now
from webapp.infra.crypto import Damaged, UnknownKey
from webapp.infra.mail import Bounced, Letter, Server, mail_server, send, sender_domain
from webapp.models.jobs import Job
from webapp.models.mails import any_sealed, live_mails
from webapp.policies import Actor, require, system_actor
from webapp.services.cursors import Page, decode_cursor, page_of
from webapp.services.events import Target, queue_jobs, record
from webapp.services.inputs import Input
from webapp.services.jobs import Hopeless, StartedJob

_ALL = live_mails().order_by(Job.id.desc()).limit(bindparam("rows"))
_LIST = {False: _ALL, True: _ALL.where(Job.id < bindparam("before"))}
_ONE = live_mails().where(Job.uuid == bindparam("mail_id"))


class Recipient(msgspec.Struct, frozen=True):
    """Who gets it, in which language and time zone; None is the vault's own."""

    email: str
    name: str = ""
    locale: str | None = None
    time_zone: str | None = None


class Order(msgspec.Struct, frozen=True):
    """A mail to write: the template's name in templates/mail and what it needs, as JSON can hold it."""

    template: str
    to: Recipient
    variables: dict[str, Any]


class MailFilter(Input):
    """A page of the mails, newest first."""

    limit: Annotated[int, Field(ge=1, le=100)] = 25
    cursor: Annotated[str | None, Field(max_length=2000)] = None


class MailView(msgspec.Struct, frozen=True, kw_only=True):
    """A mail on its way or at its end, without what it says. `answer` is the mail server's last word, good or bad.

    `to` is null once the key is gone under which it was sealed; `next_at` is the next try.
    """

    id: UUID
    about: str
    to: str | None
    state: str
    attempts: int
    max_attempts: int
    message_id: str | None
    answer: str | None
    error: str | None
    next_at: datetime | None
    created_at: datetime
    finished_at: datetime | None
    updated_at: datetime
    version: int


def list_mails(actor: Actor, query: MailFilter) -> Page[MailView]:
    """The mails of the vault, newest first. Raises Invalid for a foreign cursor."""
    require(actor, "mails.read")
    parameters: dict[str, Any] = {"rows": query.limit + 1}
    if query.cursor:
        parameters["before"] = decode_cursor(query.cursor, (int,), of="mails")[0]
    rows = read_rows(_LIST[bool(query.cursor)], parameters)
    return page_of(rows, query.limit, _view, lambda row: (row.row_id,), of="mails")


def show_mail(actor: Actor, mail_id: UUID) -> MailView:
    """One of them. Raises Missing."""
    require(actor, "mails.read")
    row = read_row(_ONE, {"mail_id": mail_id})
    if row is None:
        raise Missing("There is no such mail.")
    return _view(row)


def show_server(actor: Actor) -> Server:
    """How mail leaves the vault, without its secrets."""
    require(actor, "mails.read")
    return mail_server()


@transactional
def send_test_mail(actor: Actor) -> MailView:
    """Order a mail to the actor's own address, to see whether mail arrives."""
    require(actor, "mails.write")
    to = Recipient(actor.email, actor.name, actor.locale, actor.time_zone)
    mail = send_mail(actor, "test", to, {"at": now().isoformat()})
    record(actor, "mail.tested", Target("mail", mail, "test"))
    row = db.session.execute(_ONE, {"mail_id": mail}).one()
    return _view(row)


def _view(row: Any) -> MailView:
    result, waits = row.result or {}, row.state == "queued"
    return MailView(id=row.uuid, about=row.about, to=_address_in(row), state=row.state, attempts=row.attempts,
                    max_attempts=row.max_attempts, message_id=result.get("message_id"), answer=result.get("answer"),
                    error=None if row.state == "done" else row.error, next_at=row.run_at if waits else None,
                    created_at=row.created_at, finished_at=row.finished_at, updated_at=row.updated_at,
                    version=row.version)  # fmt: skip


def _address_in(row: Any) -> str | None:
    try:
        return _opened(row.row_id, row.sealed, row.args).to.email
    except (UnknownKey, Damaged):
        return None


def send_mail(actor: Actor | None, template: str, to: Recipient, variables: Mapping[str, Any]) -> UUID:
    """Order one mail to one person; returns its job. Must run inside a transaction, and goes out only if it commits."""
    order = msgspec.json.encode(Order(template, to, dict(variables)))
    target = Target("mail", None, template.replace("_", " "), sealed=order)
    return queue_jobs(actor or system_actor(), ["mails.send"], target)[0]


def read_order(started: StartedJob) -> Order:
    """What the job has to send. Raises UnknownKey or Damaged."""
    row = read_row(any_sealed(started.id))
    return _opened(started.id, row.sealed if row else None, started.args)


def _opened(job_id: int, sealed: bytes | None, args: Mapping[str, Any]) -> Order:
    """An earlier version, which may still run beside this one, put it among the arguments."""
    stored = base64.b64decode(args["sealed"]) if sealed is None else bytes(sealed)
    return msgspec.json.decode(Job.sealed.type.unseal(stored, str(job_id)), type=Order)


def post_mail(started: StartedJob, to: Recipient, subject: str, text: str, html: str) -> dict[str, Any]:
    """Hand it to the mail server; the result holds its words. Raises Hopeless for a bounce, NotNow to try again."""
    message_id = f"<{started.uuid}@{sender_domain()}>"
    try:
        answer = send(Letter(to.email, to.name, subject, text, html, message_id))
    except Bounced as error:
        result = {"message_id": message_id, "refused": error.step, "answer": error.words}
        raise Hopeless(error.detail, result) from error
    return {"message_id": message_id, "answer": answer}
