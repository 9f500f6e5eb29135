"""How pages show versions of a file and what changed between two of them."""

from typing import Any
from uuid import UUID

from flask import render_template, url_for
from flask_babel import gettext as _
from flask_babel import ngettext

from webapp.errors import Conflict, Locked
from webapp.http.formats import ago, exact, size
from webapp.http.rows import crumbs_to, icon_of
from webapp.policies import Actor, Level
from webapp.services import differences, files, versions
from webapp.services.differences import DifferenceQuery, DifferenceView, comparable
from webapp.services.files import FileView
from webapp.services.versions import VersionsQuery, VersionView

MOST_LINES = 2000  # of a comparison that a page shows
SHORT = 3


def versions_page(actor: Actor, file_id: UUID, query: VersionsQuery) -> str:
    """The list, with what the person may do with each."""
    file, found, _owner = files.look_at(actor, file_id)
    page = versions.list_versions(actor, file_id, query)
    here = url_for("versions_pages.list_versions", file_id=file_id)
    writes = actor.can("files.write") and found.level >= Level.EDITOR
    deletes = actor.can("files.write") and found.level >= Level.MANAGER
    return render_template(
        "versions/index.html",
        file=file,
        breadcrumbs=[*_trail(actor, file)[:-1], (_("Versions"), "")],
        back_url=url_for("files_pages.show_file", file_id=file_id),
        rows=[_row(file, each, writes=writes, deletes=deletes) for each in page.items],
        next_url=f"{here}?cursor={page.next_cursor}" if page.next_cursor else None,
    )


def version_lines(actor: Actor, file_id: UUID) -> list[dict[str, Any]]:
    """The newest few, for the page of the file."""
    file = files.show_file(actor, file_id)
    newest = versions.list_versions(actor, file_id, VersionsQuery(limit=SHORT)).items
    return [_row(file, each, writes=False, deletes=False) for each in newest]


def version_form(actor: Actor, file_id: UUID, number: int, least: Level) -> dict[str, Any]:
    """Variables of a form about one version."""
    version, file = versions.see_version(actor, file_id, number, least), files.show_file(actor, file_id)
    here = url_for("versions_pages.list_versions", file_id=file_id)
    trail = [*_trail(actor, file)[:-1], (_("Versions"), here), (_("Version %(num)d", num=number), "")]
    shown = _row(file, version, writes=True, deletes=True)
    return {"file": file, "version_row": shown, "breadcrumbs": trail, "back_url": here}


def difference_page(actor: Actor, file_id: UUID, number: int, query: DifferenceQuery) -> str:
    """Two versions line by line, or why they cannot be compared."""
    file = files.show_file(actor, file_id)
    here = url_for("versions_pages.list_versions", file_id=file_id)
    view, fault = None, None
    try:
        view = differences.compare_versions(actor, file_id, number, query)
    except (Conflict, Locked) as error:
        fault = _(error.detail)
    all_ = versions.list_versions(actor, file_id, VersionsQuery(limit=100)).items
    return render_template(
        "versions/compare.html",
        file=file,
        breadcrumbs=[*_trail(actor, file)[:-1], (_("Versions"), here), (_("Compare"), "")],
        back_url=here,
        view=view,
        fault=fault,
        summary=_summary(view) if view else "",
        hunks=_hunks(view) if view else [],
        cut=view is not None and sum(len(hunk.lines) for hunk in view.hunks) > MOST_LINES,
        numbers=[(each.number, _name(each)) for each in all_],
        chosen=(number, query.other or file.number),
    )


def _summary(view: DifferenceView) -> str:
    added = ngettext("%(num)d line added", "%(num)d lines added", view.added)
    removed = ngettext("%(num)d line removed", "%(num)d lines removed", view.removed)
    return f"{added}, {removed}"


def _hunks(view: DifferenceView) -> list[dict[str, Any]]:
    left, hunks = MOST_LINES, []
    for hunk in view.hunks:
        if left > 0:
            start = f"@@ -{hunk.old_start},{hunk.old_lines} +{hunk.new_start},{hunk.new_lines} @@"
            hunks.append({"head": start, "lines": hunk.lines[:left]})
        left -= len(hunk.lines)
    return hunks


def _trail(actor: Actor, file: FileView) -> list[tuple[str, str]]:
    """The way to the file, the file itself, and the page (without its words yet)."""
    page = url_for("files_pages.show_file", file_id=file.id)
    return [*crumbs_to(actor, file.folder_id), (file.name, page), ("", "")]


def _name(version: VersionView) -> str:
    name = _("Version %(num)d", num=version.number)
    return f"{name}: {version.label}" if version.label else name


def _row(file: FileView, version: VersionView, *, writes: bool, deletes: bool) -> dict[str, Any]:
    base = f"/files/{file.id}/versions/{version.number}"
    closed = version.damaged or version.infected
    compares = (
        not closed
        and not version.current
        and comparable(version.mime, version.size)
        and comparable(file.mime, file.size)
    )
    return {
        "number": version.number, "name": _("Version %(num)d", num=version.number), "label": version.label,
        "icon": icon_of(version.mime), "current": version.current, "damaged": version.damaged,
        "infected": version.infected,
        "author": version.author or "—", "size_text": size(version.size), "sha256": version.sha256,
        "made": version.created_at, "made_text": ago(version.created_at), "made_exact": exact(version.created_at),
        "version": version.version,
        "view_url": None if closed else f"/api/v1{base}/content?inline=1",
        "download_url": None if closed else f"/api/v1{base}/content",
        "compare_url": f"{base}/differences" if compares else None,
        "label_url": f"{base}/label" if writes else None,
        "restore_url": f"{base}/restoration" if writes and not version.current and not closed else None,
        "delete_url": f"{base}/removal" if deletes and not version.current else None,
    }  # fmt: skip
