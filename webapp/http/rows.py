"""What pages of folders and files show: structs made into formatted rows, so that templates only print."""

from typing import Any
from uuid import UUID

import msgspec
from flask import render_template, request, url_for
from flask_babel import format_decimal, ngettext
from flask_babel import gettext as _
from flask_babel import lazy_gettext as _l

from webapp.config import current_settings
from webapp.errors import Conflict, HoldfastError, Missing
from webapp.http.formats import Pen, ago, exact, pen, size
from webapp.http.previewrows import LookQuery, preview_of
from webapp.policies import Actor, Level
from webapp.services import audiences, downloads, files, folders, listings
from webapp.services.cursors import Page
from webapp.services.folders import FolderFilter, MoveQuery, Trail
from webapp.services.listings import BrowseQuery, Row
from webapp.services.scans import is_safe
from webapp.services.settings import in_force
from webapp.services.trashed import TrashView

TOP = Trail(crumbs=[], level=Level.OWNER)  # one's own
SHARED = Trail(crumbs=[], level=Level.VIEWER)  # of somebody else's, above what they share
# first match of a media type's beginning: icon, words
KINDS: tuple[tuple[str, str, Any], ...] = (
    ("image/svg", "file-vector", _l("Vector picture")),
    ("image/", "photo", _l("Picture")),
    ("audio/", "music", _l("Audio")),
    ("video/", "video", _l("Video")),
    ("application/pdf", "file-type-pdf", _l("PDF document")),
    ("text/csv", "file-type-csv", _l("Table (CSV)")),
    ("text/markdown", "markdown", _l("Markdown text")),
    ("text/html", "file-code", _l("Web page")),
    ("text/x-", "file-code", _l("Source code")),
    ("application/json", "file-code", _l("JSON")),
    ("application/javascript", "file-code", _l("Source code")),
    ("text/", "file-text", _l("Text")),
    ("application/vnd.openxmlformats-officedocument.spreadsheetml", "file-spreadsheet", _l("Spreadsheet")),
    ("application/vnd.oasis.opendocument.spreadsheet", "file-spreadsheet", _l("Spreadsheet")),
    ("application/vnd.openxmlformats-officedocument.presentationml", "presentation", _l("Presentation")),
    ("application/vnd.oasis.opendocument.presentation", "presentation", _l("Presentation")),
    ("application/vnd.openxmlformats-officedocument", "file-text", _l("Document")),
    ("application/vnd.oasis.opendocument", "file-text", _l("Document")),
    ("application/zip", "file-zip", _l("Archive")),
    ("application/gzip", "file-zip", _l("Archive")),
    ("application/x-tar", "file-zip", _l("Archive")),
)


TEXT_SHOWN = 64 * 1024
LEVELS = {"viewer": _l("Viewer"), "editor": _l("Editor"), "manager": _l("Manager"), "owner": _l("Owner")}


def kind_of(mime: str) -> tuple[str, str]:
    """Icon and words for a media type."""
    for start, icon, words in KINDS:
        if mime.startswith(start):
            return icon, str(words)
    return "file", str(_("File"))


def icon_of(mime: str) -> str:
    """The icon alone: lists need no words, and a translation costs more than the rest of a row."""
    return next((icon for start, icon, _words in KINDS if mime.startswith(start)), "file")


def folder_page(actor: Actor, folder_id: UUID | None, query: BrowseQuery) -> str:
    """The files page; only its rows for a request that asks for a part of it."""
    page = listings.browse(actor, folder_id, query.sort, 50, query.cursor)
    here = url_for("folders_pages.show_folder", folder_id=folder_id) if folder_id else url_for("files_pages.list_files")
    next_url = f"{here}?sort={query.sort}&cursor={page.next_cursor}" if page.next_cursor else None
    you, writer = _("You"), pen()
    rows = [_row(actor, row, you, writer) for row in page.items]
    if request.headers.get("HX-Request"):
        return render_template("files/_rows.html", rows=rows, next_url=next_url)
    trail = folders.trail_to(actor, folder_id) if folder_id else TOP
    shown = len(rows)
    count = _("First %(num)d items", num=shown) if next_url else ngettext("%(num)d item", "%(num)d items", shown)
    return render_template(
        "files/index.html",
        folder=trail.crumbs[-1] if trail.crumbs else None,
        breadcrumbs=_trail(trail),
        writes=actor.can("files.write") and trail.level >= Level.EDITOR,
        restores=trail.level >= Level.MANAGER,
        rows=rows,
        next_url=next_url,
        sort=query.sort,
        count_text=count,
        upload_limit=current_settings().max_upload_size,
    )


class Line(msgspec.Struct, frozen=True, kw_only=True):
    """A row of the files page. A struct, for templates find the keys of a dict only after an exception."""

    id: UUID
    kind: str
    name: str
    version: int
    chips: list[tuple[str, str]]
    url: str
    icon: str
    thumbnail: str | None
    owner: str
    modified: str
    modified_text: str
    modified_exact: str
    size_text: str
    download_url: str | None


def _row(actor: Actor, row: Row, you: str, writer: Pen) -> Line:
    is_file = row.kind == "file"
    safe = is_safe(row.scanned, "infected" if row.infected else None, own=row.owner_id == actor.id)
    content = f"/api/v1/files/{row.id}"  # written out: url_for per row costs more than the row
    chips = _states(row)
    chips += [(_("Damaged"), "bad")] if row.damaged else []
    chips += [(f"v{row.number}", "plain")] if row.number > 1 else []
    return Line(
        id=row.id,
        kind=row.kind,
        name=row.name,
        version=row.version,
        chips=chips,
        url=f"/files/{row.id}" if is_file else f"/folders/{row.id}",
        icon=icon_of(row.mime or "") if is_file else "folder",
        thumbnail=f"{content}/thumbnail?size=64" if row.thumbnail and safe else None,
        owner=you if row.owner == actor.name else row.owner,
        modified=row.updated_at.isoformat(),
        modified_text=writer.ago(row.updated_at),
        modified_exact=writer.exact(row.updated_at),
        size_text=writer.size(row.size),
        download_url=f"{content}/content" if is_file and safe else None,
    )


def _states(row: Row) -> list[tuple[str, str]]:
    """What is being done to a file or was found in it."""
    if row.infected:
        return [(_("Infected"), "bad")]
    if row.kind == "file" and not row.scanned and current_settings().clamav_url:
        return [(_("Being checked"), "busy") if row.busy else (_("Not checked"), "warn")]
    if row.busy:
        return [(_("Making preview") if row.mime and row.mime.startswith("image/") else _("Processing"), "busy")]
    return []


def trash_rows(page: Page[TrashView]) -> dict[str, Any]:
    """Variables of the trash page."""
    next_url = f"{url_for('trash_pages.list_trash')}?cursor={page.next_cursor}" if page.next_cursor else None
    return {
        "rows": [_trash_row(thing) for thing in page.items],
        "next_url": next_url,
        "count_text": ngettext("%(num)d item", "%(num)d items", len(page.items)),
        "kept_days": in_force().trash_retention_days,
    }


def _trash_row(thing: TrashView) -> dict[str, Any]:
    address = f"/trash/{thing.id}" if thing.kind == "file" else f"/trash/folders/{thing.id}"
    return {
        "id": thing.id,
        "name": thing.name,
        "kind": thing.kind,
        "icon": icon_of(thing.mime) if thing.mime is not None else "folder",
        "note": None if thing.kind == "file" else ngettext("%(num)d file", "%(num)d files", thing.files),
        "deleted": thing.deleted_at,
        "deleted_text": ago(thing.deleted_at),
        "deleted_exact": exact(thing.deleted_at),
        "size_text": size(thing.size),
        "from_text": " / ".join([str(_("Files")), *thing.where]),
        "version": thing.version,
        "restore_url": f"{address}/restoration",
        "purge_url": f"{address}/removal",
    }


def folder_path(actor: Actor, folder_id: str) -> str:
    """The way to a folder in words, as a form spells it: "" is the top."""
    try:
        trail = folders.list_crumbs(actor, UUID(folder_id)) if folder_id else []
    except (Missing, ValueError):
        return str(_("a folder that is gone"))
    return " / ".join([str(_("Files")), *(crumb.name for crumb in trail)])


def file_card(actor: Actor, file_id: UUID, query: LookQuery) -> dict[str, Any]:
    """Variables of one file's page, without its jobs and who has access."""
    file, found, owner_id = files.look_at(actor, file_id)
    icon, words = kind_of(file.mime)
    facts = downloads.show_facts(actor, file.id)
    safe = is_safe(facts.scanned, facts.virus, own=owner_id == actor.id)
    shown = {
        **msgspec.structs.asdict(file),
        "kind_text": words,
        "icon": icon,
        "size_text": size(file.size),
        "bytes_text": ngettext("%(shown)s byte", "%(shown)s bytes", file.size, shown=format_decimal(file.size)),
        "owner": _("You") if owner_id == actor.id else audiences.owner_name(owner_id),
        "trashed": False,
        "modified": file.updated_at,
        "modified_text": ago(file.updated_at),
        "modified_exact": exact(file.updated_at),
        "created_text": ago(file.created_at),
        "created_exact": exact(file.created_at),
        "dimensions_text": f"{facts.width} × {facts.height}" if facts.width else None,
    }
    trail = crumbs_to(actor, file.folder_id, file.name)
    return {
        "file": shown,
        "breadcrumbs": trail,
        "folder_url": trail[-2][1],
        "writes": actor.can("files.write") and found.level >= Level.EDITOR,
        "moves": found.whole or found.top is not None,
        "shares": actor.can("files.share") and found.level >= Level.MANAGER,
        "virus": facts.virus,
        "unchecked": not facts.scanned and bool(current_settings().clamav_url),
        "preview": preview_of(actor, file, facts, query) if safe else {"kind": "none", "note": None},
        "download_url": f"/api/v1/files/{file.id}/content" if safe else None,
    }


def decoded(head: bytes) -> str:
    """The beginning of a text as people read it, whatever bytes it holds."""
    if head.startswith((b"\xff\xfe", b"\xfe\xff")):
        return head.decode("utf-16", "replace")
    return head.decode("utf-8-sig", "replace").replace("\0", "�")


def crumbs_to(actor: Actor, folder_id: UUID | None, last: str | None = None) -> list[tuple[str, str]]:
    """The way from the top to a folder, and to the thing in it that the page is about. What others share begins at
    the uppermost folder that they do."""
    try:
        trail = _trail(folders.trail_to(actor, folder_id) if folder_id else TOP)
    except Missing:  # the file alone is shared, not where it lies
        trail = _trail(SHARED)
    return [*trail, (last, "")] if last is not None else trail


def _trail(trail: Trail) -> list[tuple[str, str]]:
    first = (_("Files"), url_for("files_pages.list_files"))
    if trail.level < Level.OWNER:
        first = (_("Shared"), url_for("shared_pages.list_shared"))
    return [first, *((c.name, folder_url(c.id)) for c in trail.crumbs)]


def place_url(actor: Actor, folder_id: UUID | None) -> str:
    """The page of a folder; of all that is shared for one that the actor does not see."""
    return crumbs_to(actor, folder_id)[-1][1]


def folder_url(folder_id: UUID | None) -> str:
    """The page of a folder, or of the top."""
    if folder_id is None:
        return url_for("files_pages.list_files")
    return url_for("folders_pages.show_folder", folder_id=folder_id)


def mover(actor: Actor, here: str, query: MoveQuery, now_in: UUID | None, moving: UUID | None = None) -> dict[str, Any]:
    """Variables of a page on which a person walks to another folder; at first it shows where the thing is."""
    chosen = now_in if query.inside is None else None if query.inside == "top" else query.inside
    try:
        found = folders.trail_to(actor, chosen) if chosen else TOP
        inside = folders.list_folders(actor, FolderFilter(parent_id=chosen, limit=100)).items
    except Missing:
        found, inside = SHARED, []
    trail = found.crumbs
    top = [(_("Files"), f"{here}?in=top")] if found.level == Level.OWNER else []
    return {
        "target": trail[-1] if trail else None,
        "trail": [*top, *((crumb.name, f"{here}?in={crumb.id}") for crumb in trail)],
        "folders": [{"name": f.name, "url": f"{here}?in={f.id}", "disabled": f.id == moving} for f in inside],
        "allowed": chosen != now_in,
    }


def form_of(error: HoldfastError | None, *, field: str = "") -> dict[str, Any]:
    """What the form macros show: what was typed, and what is wrong with it. A conflict is put beside `field`."""
    typed = {name: value for name, value in request.form.items() if name != "csrf_token"}
    if error is None:
        return {"values": typed, "errors": []}
    faults = [{"field": fault.field, "message": _(fault.message)} for fault in error.errors]
    place = field if isinstance(error, Conflict) else ""
    return {"values": typed, "errors": faults or [{"field": place, "message": _(error.detail)}]}


def zone_words(name: str) -> str:
    """A time zone as people read it; none is the server's."""
    return name.replace("_", " ") if name else str(_("As the server"))
