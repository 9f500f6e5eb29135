"""How the page of time travel shows what there was and what going back would change."""

from datetime import datetime
from typing import Annotated, Any
from uuid import UUID

from flask import flash, render_template, url_for
from flask_babel import get_timezone, ngettext
from flask_babel import gettext as _
from flask_babel import lazy_gettext as _l
from pydantic import Field

from webapp.errors import Conflict, Invalid
from webapp.http.formats import Pen, exact, pen
from webapp.http.rows import icon_of
from webapp.http.undo import flash_undo
from webapp.infra.clock import now
from webapp.policies import Actor
from webapp.services import pasts, restorations
from webapp.services.inputs import Input
from webapp.services.pasts import PastQuery, PastView
from webapp.services.restorations import ChangeView, Restoration, RestorationView

At = Annotated[str, Field(max_length=40)]
WHAT = {
    "undeleted": (_l("Comes back"), "good"), "moved": (_l("Moves back"), "info"), "renamed": (_l("Old name"), "info"),
    "content": (_l("Old content"), "info"), "trashed": (_l("To the trash"), "warn"),
}  # fmt: skip


class HistoryQuery(Input):
    """Which folder (none: all files), at which instant; `place` is the folder inside that is looked into."""

    folder_id: UUID | None = None
    at: At | None = None
    place: UUID | None = None
    cursor: Annotated[str | None, Field(max_length=2000)] = None


class HistoryForm(Input):
    """The same, to go back to."""

    folder_id: UUID | None = None
    at: At


def instant_of(text: str) -> datetime:
    """An instant as a form spells it: with its offset, or by the person's own clock. Raises Invalid."""
    try:
        moment = datetime.fromisoformat(text.strip())
        return moment if moment.tzinfo else moment.replace(tzinfo=get_timezone())
    except (ValueError, OverflowError) as error:
        raise Invalid.field("at", "instant", "Give a date and a time.") from error


def history_page(actor: Actor, query: HistoryQuery) -> str:
    """The page; without an instant only the form."""
    folder = restorations.scope_of(actor, query.folder_id)[1]
    shown: dict[str, Any] = {"rows": [], "plan": None, "fault": None, "next_url": None}
    if query.at:
        try:
            shown = _looked_at(actor, query, instant_of(query.at))
        except (Conflict, Invalid) as error:
            shown["fault"] = _(error.errors[0].message if error.errors else error.detail)
    name = folder.name if folder else _("Files")
    here = url_for("folders_pages.show_folder", folder_id=folder.uuid) if folder else url_for("files_pages.list_files")
    local = now().astimezone(get_timezone()).strftime("%Y-%m-%dT%H:%M:%S")
    typed = query.at or ""
    return render_template(
        "restorations/index.html", folder=folder, name=name, back_url=here, at=typed, latest=local,
        local=instant_of(typed).astimezone(get_timezone()).strftime("%Y-%m-%dT%H:%M:%S") if shown["plan"] else typed,
        breadcrumbs=[(name, here), (_("Back in time"), "")], **shown,
    )  # fmt: skip


def _looked_at(actor: Actor, query: HistoryQuery, moment: datetime) -> dict[str, Any]:
    wish = Restoration(folder_id=query.folder_id, at=moment, preview=True)
    plan = restorations.restore_tree(actor, wish)
    page = pasts.list_past(actor, query.place or query.folder_id, PastQuery(at=moment, limit=100, cursor=query.cursor))
    writer = pen()
    rows = [_row(each, query, writer) for each in page.items]
    following = _url(query, place=query.place, cursor=page.next_cursor) if page.next_cursor else None
    counts = [(str(WHAT[what][0]), WHAT[what][1], number) for what, number in plan.counts.items()]
    return {
        "rows": rows, "next_url": following, "fault": None, "exact": exact(moment), "counts": counts,
        "place": folders_name(actor, query), "up_url": _url(query) if query.place else None,
        "plan": plan, "changes": [_change(each) for each in plan.changes],
        "summary": ngettext("%(num)d change", "%(num)d changes", plan.total),
    }  # fmt: skip


def folders_name(actor: Actor, query: HistoryQuery) -> str | None:
    """The present name of the folder that is looked into."""
    if query.place is None:
        return None
    folder = restorations.scope_of(actor, query.place, "files.read")[1]
    return folder.name if folder else None


def told(view: RestorationView, folder_id: UUID | None) -> None:
    """The message of the next page: what was done, and its undo."""
    if view.state == "queued":
        flash(_("So much has changed that a job does it: look at your jobs."), "success")
    elif view.undo_at is None:
        flash(_("Nothing has changed since then."), "success")
    else:
        text = ngettext("Back in time: %(num)d change made.", "Back in time: %(num)d changes made.", view.total)
        flash_undo(text, url_for("restorations_pages.restore_tree"), at=view.undo_at.isoformat(), folder_id=folder_id)


def _url(query: HistoryQuery, **more: Any) -> str:
    return url_for("restorations_pages.show_history", folder_id=query.folder_id, at=query.at, **more)


def _row(item: PastView, query: HistoryQuery, writer: Pen) -> dict[str, Any]:
    url = None
    if item.id and item.kind == "folder":
        url = _url(query, place=item.id)
    elif item.id and item.size is not None:
        url = f"/api/v1/files/{item.id}/versions/{item.number}/content?inline=1"
    return {
        "name": item.name, "kind": item.kind, "icon": "folder" if item.kind == "folder" else icon_of(item.mime or ""),
        "url": url, "size_text": writer.size(item.size), "since": item.since, "since_text": writer.exact(item.since),
        "gone": item.id is None,
    }  # fmt: skip


def _change(each: ChangeView) -> dict[str, Any]:
    return {
        "name": each.name, "then": each.name_then if each.name_then != each.name else None, "kind": each.kind,
        "place": each.place or _("Files"),
        "chips": [(str(WHAT[what][0]), WHAT[what][1]) for what in each.what],
    }  # fmt: skip
