"""Mails: send_mail() writes a job in the transaction of the deed; the job renders the template and hands it over.

At least once, always with the same Message-ID. What the mail says is stored encrypted: it may hold links that sign in.
"""

import base64
from collections.abc import Mapping
from typing import Any
from uuid import UUID

import msgspec

from webapp.infra.crypto import decrypt, encrypt
from webapp.infra.mail import Bounced, Letter, send, sender_domain
from webapp.policies import Actor, system_actor
from webapp.services.events import Target, queue_jobs
from webapp.services.jobs import Hopeless, StartedJob

PLACE = "jobs.args mail"


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


def send_mail(actor: Actor | None, template: str, to: Recipient, variables: Mapping[str, Any]) -> UUID:
    """Order one mail to one person; returns its job. Must run inside a transaction, and goes out only if it commits."""
    order = msgspec.json.encode(Order(template, to, dict(variables)))
    sealed = base64.b64encode(encrypt(order, PLACE)).decode()
    target = Target("mail", None, template.replace("_", " "), None, {"sealed": sealed})
    return queue_jobs(actor or system_actor(), ["mails.send"], target)[0]


def read_order(started: StartedJob) -> Order:
    """What the job has to send. Raises UnknownKey or Damaged."""
    return msgspec.json.decode(decrypt(base64.b64decode(started.args["sealed"]), PLACE), type=Order)


def post_mail(started: StartedJob, to: Recipient, subject: str, text: str, html: str) -> dict[str, Any]:
    """Hand it to the mail server; the result holds its words. Raises Hopeless for a bounce, NotNow to try again."""
    message_id = f"<{started.uuid}@{sender_domain()}>"
    try:
        answer = send(Letter(to.email, to.name, subject, text, html, message_id))
    except Bounced as error:
        result = {"message_id": message_id, "refused": error.step, "answer": error.words}
        raise Hopeless(error.detail, result) from error
    return {"message_id": message_id, "answer": answer}
