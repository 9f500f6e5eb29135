"""How a public link looks to strangers: a file with its preview, a folder to walk in, a box for files, what it asks."""

from typing import Any
from uuid import UUID

import msgspec
from flask import render_template, request, url_for
from flask_babel import gettext as _
from flask_babel import ngettext
from werkzeug.wrappers import Response

from webapp.config import current_settings
from webapp.errors import Conflict, HoldfastError, Locked
from webapp.http.downloads import INLINE
from webapp.http.formats import ago, exact, pen, size
from webapp.http.rows import TEXT_SHOWN, decoded, form_of, icon_of, kind_of
from webapp.services import links
from webapp.services.downloads import Facts
from webapp.services.files import FileView
from webapp.services.links import PASS
from webapp.services.listings import Row
from webapp.services.openings import Link

COOKIE = "link"  # what a browser has shown of a link, sent for its own address alone


def passport() -> str | None:
    """What the browser shows of the link that it asks for."""
    return request.cookies.get(COOKIE)


def carry_passport(response: Response, token: str, words: str) -> Response:
    """Give it to the browser."""
    response.set_cookie(COOKIE, words, max_age=int(PASS.total_seconds()), path=f"/s/{token}", httponly=True,
                        secure=current_settings().https, samesite="Lax")  # fmt: skip
    return response


def locked_page(link: Link, token: str, error: HoldfastError | None = None, **told: Any) -> str:
    """What the link asks for, without a word of what it leads to."""
    name = "links/password.html" if link.locked == "password" else "links/code.html"
    return render_template(name, actor=None, form=form_of(error), token=token, **told)


def over_page(error: HoldfastError) -> tuple[str, int]:
    """A link that leads nowhere, or nowhere any more."""
    page = render_template("links/over.html", actor=None, title=error.title, words=error.detail, status=error.status)
    return page, error.status


def file_page(link: Link, token: str, file_id: UUID) -> str:
    """One file, with its preview."""
    file, facts = links.show_shared(link, file_id)
    icon, words = kind_of(file.mime)
    content = url_for("links_pages.download_link_file", token=token, item_id=file_id)
    crumbs = []
    if link.noun == "folder" and file.folder_id is not None:
        crumbs = [(link.name, url_for("links_pages.show_link", token=token)), (file.name, "")]
        if file.folder_id != link.thing:
            place = url_for("links_pages.show_link_folder", token=token, item_id=file.folder_id)
            crumbs.insert(1, (links.name_folder(link, file.folder_id), place))
    shown = {**msgspec.structs.asdict(file), "icon": icon, "kind_text": words, "size_text": size(file.size),
             "modified": file.updated_at, "modified_text": ago(file.updated_at),
             "modified_exact": exact(file.updated_at),
             "dimensions_text": f"{facts.width} × {facts.height}" if facts.width else None}  # fmt: skip
    return render_template("links/file.html", actor=None, link=_head(link), file=shown, breadcrumbs=crumbs,
                           preview=_preview(link, token, file, facts),
                           download_url=None if link.view_only else content)  # fmt: skip


def folder_page(link: Link, token: str, folder_id: UUID, cursor: str | None) -> str:
    """One folder of the link."""
    page, trail = links.browse_shared(link, folder_id, cursor)
    here = _folder_url(token, folder_id)
    writer = pen()
    return render_template(
        "links/folder.html",
        actor=None,
        link=_head(link),
        name=trail[-1].name,
        breadcrumbs=[(crumb.name, _folder_url(token, crumb.id)) for crumb in trail],
        rows=[_row(link, token, row, writer) for row in page.items],
        next_url=f"{here}?cursor={page.next_cursor}" if page.next_cursor else None,
        archive_url=None if link.view_only or link.strip_metadata or not page.items else f"{here}/archive",
        count_text=ngettext("%(num)d item", "%(num)d items", len(page.items)),
    )


def drop_page(link: Link, token: str, error: HoldfastError | None = None) -> str:
    """A box that takes files and shows nothing."""
    return render_template("links/drop.html", actor=None, link=_head(link), form=form_of(error),
                           action=url_for("links_pages.upload_to_link", token=token),
                           limit_text=size(current_settings().max_upload_size))  # fmt: skip


def _head(link: Link) -> dict[str, Any]:
    left = None if link.left is None else ngettext("%(num)d download left", "%(num)d downloads left", link.left)
    return {"label": link.label, "maker": link.maker, "ends": link.expires_at, "ends_text": ago(link.expires_at),
            "left_text": left, "view_only": link.view_only}  # fmt: skip


def _folder_url(token: str, folder_id: UUID) -> str:
    return url_for("links_pages.show_link_folder", token=token, item_id=folder_id)


def _row(link: Link, token: str, row: Row, writer: Any) -> dict[str, Any]:
    base = f"/s/{token}/files/{row.id}"
    is_file = row.kind == "file"
    return {"kind": row.kind, "name": row.name, "url": base if is_file else f"/s/{token}/folders/{row.id}",
            "icon": icon_of(row.mime or "") if is_file else "folder", "size_text": writer.size(row.size),
            "thumbnail": f"{base}/thumbnail?size=64" if row.thumbnail else None,
            "download_url": f"{base}/content" if is_file and not link.view_only else None,
            "modified": row.updated_at, "modified_text": writer.ago(row.updated_at),
            "modified_exact": writer.exact(row.updated_at)}  # fmt: skip


def _preview(link: Link, token: str, file: FileView, facts: Facts) -> dict[str, Any]:
    """Sound and film are the content itself: shown only where downloads are not counted down."""
    base = f"/s/{token}/files/{file.id}"
    if facts.preview:
        return {"kind": "image", "url": f"{base}/thumbnail?size=1024"}
    family = file.mime.split("/")[0]
    if family in {"audio", "video"} and file.mime in INLINE and link.left is None and not link.view_only:
        return {"kind": family, "url": f"{base}/content?inline=1"}
    if family == "text" or file.mime in {"application/json", "application/javascript", "application/xml"}:
        if link.left is not None and file.size <= TEXT_SHOWN:  # a preview of all of it would be a download
            return {"kind": "none", "note": _("Download the file to see it.")}
        note = _("The first 64 kB; download to see the rest.") if file.size > TEXT_SHOWN else None
        try:
            return {"kind": "text", "text": decoded(links.read_text(link, file.id, TEXT_SHOWN)), "note": note}
        except (Conflict, Locked) as error:  # infected, damaged, not yet checked for viruses
            return {"kind": "none", "note": _(error.detail)}
    return {"kind": "none"}
