"""How pages show mails: what each is about, what the server said, how mail leaves the vault."""

from typing import Any

from flask import url_for
from flask_babel import gettext as _
from flask_babel import lazy_gettext as _l

from webapp.http.formats import ago, due, exact
from webapp.http.jobrows import STATES
from webapp.infra.mail import Server
from webapp.models.jobs import OPEN
from webapp.services.cursors import Page
from webapp.services.mails import MailView

TITLES = {
    "test": _l("Test mail"),
    "digest": _l("Digest"),
    "webhook paused": _l("A webhook was paused"),
    "new device": _l("Sign-in from a new device"),
    "password reset": _l("Link to a new password"),
    "confirm address": _l("Confirmation of an address"),
    "address taken": _l("Registration with a taken address"),
    "invitation": _l("Invitation"),
    "welcome": _l("Link to a first password"),
    "account made": _l("Account made"),
    "email changed": _l("An address was changed"),
    "account deleted": _l("Account deleted"),
    "confirm email": _l("Confirmation of a new address"),
    "link code": _l("Code for a public link"),
    "link ends": _l("A public link ends soon"),
    "export ready": _l("An archive is ready"),
    "no account": _l("No account with this address"),
    "file infected": _l("A virus in a file"),
    "password changed": _l("A password was changed"),
}
TLS = {
    "required": _l("encrypted, the server has to prove who it is"),
    "auto": _l("encrypted where the server offers it"),
    "off": _l("not encrypted"),
}


def mail_rows(page: Page[MailView]) -> dict[str, Any]:
    """Variables of the list."""
    here = url_for("mails_pages.list_mails")
    return {
        "rows": [_row(mail) for mail in page.items],
        "next_url": f"{here}?cursor={page.next_cursor}" if page.next_cursor else None,
        "live": any(mail.state in OPEN for mail in page.items),
    }


def server_rows(server: Server) -> dict[str, Any]:
    """How mail is sent: `warning` where it is not, and facts in words."""
    if server.kind in {"none", "console"}:
        warning = (
            _("No mail server is configured: set MAIL_URL. Until then mails fail and say so.")
            if server.kind == "none"
            else _("Mails are printed on the console, not sent. That is for development.")
        )
        return {"warning": warning, "facts": [(_("Sender"), server.sender)]}
    facts = [
        (_("Server"), f"{server.host}:{server.port}"),
        (_("Connection"), str(TLS[server.tls or "auto"])),
        (_("Signs in"), _("Yes") if server.signs_in else _("No")),
        (_("Sender"), server.sender),
    ]
    return {"warning": None, "facts": facts}


def _row(mail: MailView) -> dict[str, Any]:
    text, tone = STATES[mail.state]
    when = mail.finished_at or mail.created_at
    return {
        "id": mail.id, "url": url_for("jobs_pages.show_job", job_id=mail.id), "to": mail.to or "",
        "title": str(TITLES.get(mail.about, mail.about)), "state_text": str(text), "tone": tone,
        "tries_text": f"{mail.attempts} / {mail.max_attempts}", "said": mail.error or mail.answer or "",
        "bad": mail.error is not None, "when": when, "when_text": ago(when), "when_exact": exact(when),
        "next_text": due(mail.next_at) if mail.next_at and mail.attempts else "",
    }  # fmt: skip
