"""What the page of search shows: hits as rows, and the criteria as chips that a press takes away."""

from datetime import timedelta
from typing import Any
from urllib.parse import urlencode

from flask import url_for
from flask_babel import gettext as _
from flask_babel import lazy_gettext as _l

from webapp.http.formats import Pen, pen
from webapp.http.rows import icon_of, kind_of
from webapp.infra.clock import now
from webapp.policies import Actor
from webapp.services import folders
from webapp.services.cursors import Page
from webapp.services.search import Hit, SearchQuery

TYPES = (("folder", _l("Folders")), ("document", _l("Documents")), ("spreadsheet", _l("Spreadsheets")),
         ("presentation", _l("Presentations")), ("image", _l("Pictures")), ("video", _l("Videos")),
         ("audio", _l("Audio")), ("application/pdf", _l("PDF")), ("archive", _l("Archives")))  # fmt: skip
OWNERS = (("me", _l("Mine")), ("others", _l("Of others")))
AGES = (("1", _l("Last day")), ("7", _l("Last week")), ("30", _l("Last month")), ("365", _l("Last year")))
SIZES = ((1_000_000, _l("Over 1 MB")), (10_000_000, _l("Over 10 MB")), (100_000_000, _l("Over 100 MB")))


def search_page(actor: Actor, query: SearchQuery, page: Page[Hit]) -> dict[str, Any]:
    """Variables of the page."""
    asked = _asked(query)
    writer, you = pen(), _("You")
    return {
        "q": query.q or "",
        "asked": asked,
        "asks": query.asks,
        "rows": [_row(actor, hit, writer, you) for hit in page.items],
        "chips": _chips(actor, query, asked, writer),
        "choices": _choices(asked),
        "next_url": _url({**asked, "cursor": page.next_cursor}) if page.next_cursor else None,
    }


def _asked(query: SearchQuery) -> dict[str, str]:
    found = query.model_dump(mode="json", exclude_none=True, exclude={"cursor", "limit"})
    return {name: str(value) for name, value in found.items()}


def _url(asked: dict[str, Any]) -> str:
    return f"{url_for('search_pages.list_hits')}?{urlencode(asked)}"


def _without(asked: dict[str, str], *names: str) -> str:
    return _url({name: value for name, value in asked.items() if name not in names})


def _chips(actor: Actor, query: SearchQuery, asked: dict[str, str], writer: Pen) -> list[tuple[str, str]]:
    """What narrows the search, each with the address without it."""
    told = dict(OWNERS).get(str(query.owner))
    place = folders.show_folder(actor, query.folder_id).name if query.folder_id else ""
    kind = query.type or ""
    words = {
        "type": str(dict(TYPES).get(kind) or kind_of(kind)[1]),
        "owner": str(told) if told else _("Of one person"),
        "folder_id": _("In %(name)s", name=place),
        "tag": f"#{query.tag}",
        "since": _("Since %(day)s", day=writer.exact(query.since)),
        "until": _("Before %(day)s", day=writer.exact(query.until)),
        "min_size": _("At least %(size)s", size=writer.size(query.min_size)),
        "max_size": _("At most %(size)s", size=writer.size(query.max_size)),
    }
    words = {name: text for name, text in words.items() if name in asked}
    return [(text, _without(asked, name)) for name, text in words.items()]


def _choices(asked: dict[str, str]) -> list[dict[str, Any]]:
    """Menus of what may narrow it further: title, icon and the addresses behind."""
    today = now().date()
    ages = [(today - timedelta(days=int(days)), text) for days, text in AGES]
    menus: list[tuple[str, str, str, list[tuple[str, Any]]]] = [
        ("type", _("Type"), "file", [(value, text) for value, text in TYPES]),
        ("owner", _("Owner"), "user", [(value, text) for value, text in OWNERS]),
        ("since", _("Changed"), "clock", [(day.isoformat(), text) for day, text in ages]),
        ("min_size", _("Size"), "database", [(str(size), text) for size, text in SIZES]),
    ]
    return [
        {"title": title, "icon": icon,
         "items": [(str(text), _url({**asked, name: value}), asked.get(name) == value) for value, text in items]}
        for name, title, icon, items in menus
    ]  # fmt: skip


def _row(actor: Actor, hit: Hit, writer: Pen, you: str) -> dict[str, Any]:
    return {
        "id": hit.id, "kind": hit.kind, "name": hit.name, "title": hit.title, "snippet": hit.snippet,
        "url": f"/{hit.kind}s/{hit.id}", "icon": "folder" if hit.kind == "folder" else icon_of(hit.mime or ""),
        "thumbnail": f"/api/v1/files/{hit.id}/thumbnail?size=64" if hit.thumbnail else None,
        "tags": [(tag, _url({"tag": tag})) for tag in hit.tags], "owner": you if hit.owner_id == actor.uuid else hit.owner,  # noqa: E501
        "place": _place(actor, hit), "modified": hit.updated_at.isoformat(), "modified_text": writer.ago(hit.updated_at),  # noqa: E501
        "modified_exact": writer.exact(hit.updated_at), "size_text": writer.size(hit.size),
    }  # fmt: skip


def _place(actor: Actor, hit: Hit) -> tuple[str, str] | None:
    """Words and address of the folder that holds it, where one may see that."""
    if hit.folder_name is not None:
        return hit.folder_name, f"/folders/{hit.folder_id}"
    if hit.folder_id is None and hit.owner_id == actor.uuid:
        return str(_("Files")), "/files"
    return None
