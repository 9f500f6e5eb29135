"""Public links, for whoever has their address: look, download, hand in files. Nothing here asks who somebody is."""

from typing import Any
from uuid import UUID

from flask import Blueprint, Response, flash, redirect, request, url_for
from flask_babel import ngettext
from werkzeug.wrappers import Response as AnyResponse

from webapp.errors import Gone, HoldfastError, Invalid, Limited, Missing
from webapp.http import linkrows
from webapp.http.downloads import first_byte, send_archive, send_content
from webapp.http.formats import isolated
from webapp.http.guard import origin_of_request, public, public_upload
from webapp.http.inputs import read_form, read_query
from webapp.http.limiting import limited
from webapp.http.uploads import announced_size, received, refusals_heard
from webapp.services import codes, links, openings
from webapp.services.codes import CodeEntry, CodeRequest
from webapp.services.downloads import ContentQuery
from webapp.services.links import LinkQuery, Unlocking
from webapp.services.openings import Link
from webapp.services.previews import ThumbnailQuery

pages = Blueprint("links_pages", __name__)

Page = str | AnyResponse | tuple[str, int]


@pages.errorhandler(Missing)
@pages.errorhandler(Gone)
def say_over(error: HoldfastError) -> tuple[str, int]:
    """A link that leads nowhere says so plainly, and names nothing."""
    return linkrows.over_page(error)


@pages.get("/s/<string:token>")
@public
def show_link(token: str) -> Page:
    """The file, the folder or the box for files; before that, what the link asks for."""
    link = _open(token)
    if link.locked:
        return linkrows.locked_page(link, token)
    if request.method == "GET":
        openings.note_opening(link)
    if link.upload_only:
        return linkrows.drop_page(link, token)
    if link.noun == "file":
        return linkrows.file_page(link, token, link.thing)
    return linkrows.folder_page(link, token, link.thing, read_query(LinkQuery).cursor)


@pages.post("/s/<string:token>/password")
@public
@limited("sign_in")
def unlock_link(token: str) -> Page:
    """Show the password; the browser is let in for twelve hours."""
    link = _open(token)
    if link.locked != "password":
        return _home(token)
    try:
        words = links.unlock(link, read_form(Unlocking))
    except (Invalid, Limited) as error:
        return linkrows.locked_page(link, token, error), error.status
    return linkrows.carry_passport(_home(token), token, words)


@pages.post("/s/<string:token>/codes")
@public
@limited("sign_in")
def send_code(token: str) -> Page:
    """Mail a code to a recipient; whoever asks sees the same form for it."""
    link = _open(token)
    if link.locked != "code":
        return _home(token)
    try:
        wish = read_form(CodeRequest)
    except Invalid as error:
        return linkrows.locked_page(link, token, error), error.status
    return linkrows.locked_page(link, token, ticket=codes.send_code(link, wish), email=wish.email)


@pages.post("/s/<string:token>/code")
@public
@limited("sign_in")
def enter_code(token: str) -> Page:
    """Show the code; the browser is let in for twelve hours."""
    link = _open(token)
    if link.locked != "code":
        return _home(token)
    try:
        words = codes.enter_code(link, read_form(CodeEntry))
    except Invalid as error:
        ticket = request.form.get("ticket", "")
        return linkrows.locked_page(link, token, error, ticket=ticket, email=""), error.status
    except Gone as error:
        return linkrows.locked_page(link, token, error), error.status
    return linkrows.carry_passport(_home(token), token, words)


@pages.get("/s/<string:token>/folders/<uuid:item_id>")
@public
def show_link_folder(token: str, item_id: UUID) -> Page:
    """A folder inside."""
    link = _open(token)
    if link.locked:
        return _home(token)
    return linkrows.folder_page(link, token, item_id, read_query(LinkQuery).cursor)


@pages.get("/s/<string:token>/files/<uuid:item_id>")
@public
def show_link_file(token: str, item_id: UUID) -> Page:
    """A file inside, with its preview."""
    link = _open(token)
    return _home(token) if link.locked else linkrows.file_page(link, token, item_id)


@pages.get("/s/<string:token>/files/<uuid:item_id>/content")
@public
@limited("downloads")
def download_link_file(token: str, item_id: UUID) -> Page:
    """Download it. Counted before the first byte; HEAD, a 304 and the rest of a download begun before count nothing."""
    link, query = _open(token, going_on=True), read_query(ContentQuery)
    if link.locked:
        return _home(token)
    content = links.open_shared(link, item_id)
    start = first_byte(content)
    if start is not None:
        openings.take_download(link, content.name, content.sha256, start)
    return send_content(content, inline=query.inline)


@pages.get("/s/<string:token>/folders/<uuid:item_id>/archive")
@public
@limited("downloads")
def download_link_folder(token: str, item_id: UUID) -> Page:
    """Download a folder with all that is in it: one download, whatever it holds."""
    link = _open(token)
    if link.locked:
        return _home(token)
    archive = links.open_archive(link, item_id)
    if request.method == "GET":
        openings.take_download(link, archive.name, f"folder {item_id}", 0)
    return send_archive(archive)


@pages.get("/s/<string:token>/files/<uuid:item_id>/thumbnail")
@public
def show_link_picture(token: str, item_id: UUID) -> Page:
    """A small picture of it."""
    link, query = _open(token), read_query(ThumbnailQuery)
    if link.locked:
        return _home(token)
    preview = links.find_picture(link, item_id, query.size)
    return Response(preview.read(), content_type=preview.mime)


@pages.post("/s/<string:token>/files")
@public_upload
@limited("uploads")
def upload_to_link(token: str) -> Page:
    """Take what a stranger hands in."""
    link: Any = None
    try:
        with refusals_heard():
            link = _open(token)
            links.check_room(link, announced_size())
            with received() as incoming:
                names = links.put_files(link, incoming.given())
    except Invalid as error:
        return linkrows.drop_page(link, token, error), error.status
    flash(ngettext("“%(name)s” has arrived. Thank you.", "%(num)d files have arrived. Thank you.", len(names),
                   name=isolated(names[0])), "success")  # fmt: skip
    return _home(token)


def _open(token: str, *, going_on: bool = False) -> Link:
    return links.open_link(token, origin_of_request(), linkrows.passport(), going_on=going_on)


def _home(token: str) -> AnyResponse:
    return redirect(url_for(".show_link", token=token), 303)
