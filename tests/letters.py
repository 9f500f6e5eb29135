"""Mails of tests: what was ordered, read without a server; and the link that a delivered one holds."""

import re
from email.message import Message
from typing import Any
from urllib.parse import parse_qs, urlsplit

from webapp.db import read_rows
from webapp.infra.crypto import sealed_column
from webapp.models.jobs import Job
from webapp.models.record import any_state
from webapp.services.mails import Order, _opened


def ordered() -> list[Order]:
    """All mails ordered so far, oldest first."""
    columns = (Job.id, Job.args, sealed_column(Job.sealed).label("sealed"))
    rows = read_rows(any_state(Job, *columns).where(Job.name == "mails.send").order_by(Job.id))
    return [_opened(row.id, row.sealed, row.args) for row in rows]


def told(email: str) -> list[str]:
    """The templates of the mails to this address."""
    return [order.template for order in ordered() if order.to.email == email]


def token_of(order: Order) -> str:
    """The token of the link in it."""
    return token_in(str(order.variables["url"]))


def token_in(url: str) -> str:
    """The token of a link, in its query or as its last part."""
    parts = urlsplit(url)
    return parse_qs(parts.query)["token"][0] if parts.query else parts.path.rpartition("/")[2]


def link_of(letter: Message) -> str:
    """The first link in the text of a mail that a server took."""
    text: Any = letter.get_body(("plain",))  # type: ignore[attr-defined]
    found = re.search(r"https?://\S+", text.get_content())
    assert found, text.get_content()
    return found[0]
