"""Mail, for administrators: how it leaves the vault, what became of the last ones, and a test."""

from uuid import UUID

from flask import Blueprint, flash, redirect, render_template, url_for
from flask_babel import gettext as _
from werkzeug.wrappers import Response

from webapp.http.answers import Created, created, gives
from webapp.http.guard import current_actor, guard
from webapp.http.inputs import read_query, takes
from webapp.http.limiting import limited
from webapp.http.mailrows import mail_rows, server_rows
from webapp.infra.mail import Server
from webapp.services import mails
from webapp.services.cursors import Page
from webapp.services.mails import MailFilter, MailView

pages = Blueprint("mails_pages", __name__)
api = Blueprint("mails_api", __name__)


@api.get("/mails")
@guard("mails.read")
@takes(query=MailFilter)
@gives(Page[MailView])
def list_mails(query: MailFilter) -> Page[MailView]:
    """The vault's mails, newest first, without what they say."""
    return mails.list_mails(current_actor(), query)


@api.get("/mails/<uuid:mail_id>")
@guard("mails.read")
@gives(MailView, errors=(404,))
def show_mail(mail_id: UUID) -> MailView:
    """One mail: whether it was taken, and the server's words."""
    return mails.show_mail(current_actor(), mail_id)


@api.get("/mail-server")
@guard("mails.read")
@gives(Server)
def show_server() -> Server:
    """How mail leaves the vault, without secrets."""
    return mails.show_server(current_actor())


@api.post("/test-mails")
@guard("mails.write")
@limited("sendings")
@gives(MailView, status=201)
def send_test_mail() -> Created:
    """Send a mail to your own address, by the way of every mail. Location tells what becomes of it."""
    mail = mails.send_test_mail(current_actor())
    return created(mail, url_for("mails_api.show_mail", mail_id=mail.id))


@pages.get("/admin/mail", endpoint="list_mails")
@guard("mails.read")
def list_mails_page() -> str:
    """The last mails beside how they are sent."""
    actor = current_actor()
    page = mails.list_mails(actor, read_query(MailFilter))
    return render_template("mails/index.html", server=server_rows(mails.show_server(actor)), **mail_rows(page))


@pages.post("/admin/test-mails", endpoint="send_test_mail")
@guard("mails.write")
@limited("sendings")
def send_test_mail_page() -> Response:
    """Send one to oneself and watch the list."""
    mail = mails.send_test_mail(current_actor())
    flash(_("A test mail to %(address)s is on its way.", address=mail.to), "success")
    return redirect(url_for(".list_mails"))
