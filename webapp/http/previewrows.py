"""How a file's page shows what is in the file: a picture, a page, a player, text, code, a table. All are bounded."""

from typing import Annotated, Any

from flask_babel import format_decimal, ngettext
from flask_babel import gettext as _
from pydantic import Field

from webapp.http.downloads import INLINE
from webapp.infra import excerpts
from webapp.infra.drawing import PDF
from webapp.infra.markdown import to_html
from webapp.infra.mediatypes import TEXTS
from webapp.infra.rendering import DRAWABLE, FAULTS
from webapp.policies import Actor
from webapp.services import downloads
from webapp.services.downloads import Facts
from webapp.services.files import FileView
from webapp.services.inputs import Input

SHOWN = 256 * 1024  # bytes of a text
WRITTEN = frozenset(TEXTS.values())
WRAPPED = {"text/plain"}  # prose: long lines are wrapped, nobody counts them
TABLES = {"text/csv", "text/tab-separated-values"}


class LookQuery(Input):
    """How to look at a file: which page of a PDF; `plain`: Markdown and tables as they are written."""

    page: Annotated[int, Field(ge=1, le=100_000)] = 1
    plain: bool = False


def preview_of(actor: Actor, file: FileView, facts: Facts, query: LookQuery) -> dict[str, Any]:
    """Variables of files/_preview.html for a file that may be looked at."""
    content = f"/api/v1/files/{file.id}"
    family = file.mime.split("/")[0]
    if file.mime == PDF and facts.preview:
        return _pages(file, facts.pages or 1, query.page)
    if facts.preview:
        return {"kind": "image", "url": f"{content}/thumbnail?size=1024", "note": None}
    if family in {"audio", "video"} and file.mime in INLINE:
        return {"kind": family, "url": f"{content}/content?inline=1", "note": None}
    if family == "text" or file.mime in WRITTEN:
        return _written(actor, file, plain=query.plain)
    if file.mime in DRAWABLE:
        note = FAULTS.get(facts.unrenderable or "")
        return {"kind": "none", "note": _(note) if note else _("There is no preview yet.")}
    return {"kind": "none", "note": None}


def _pages(file: FileView, pages: int, wanted: int) -> dict[str, Any]:
    page, here = min(wanted, pages), f"/files/{file.id}"
    first = f"/api/v1/files/{file.id}/thumbnail?size=1024"
    return {
        "kind": "pdf", "note": None, "page": page, "pages": pages,
        "url": first if page == 1 else f"/api/v1/files/{file.id}/pages/{page}",
        "before": f"{here}?page={page - 1}" if page > 1 else None,
        "after": f"{here}?page={page + 1}" if page < pages else None,
    }  # fmt: skip


def _written(actor: Actor, file: FileView, *, plain: bool) -> dict[str, Any]:
    data = b"".join(downloads.open_content(actor, file.id).read(0, SHOWN))
    cut = file.size > len(data)
    text, here = excerpts.decode(data), f"/files/{file.id}"
    note = _("The first 256 kB; download to see the rest.") if cut else None
    source = (_("Show it as it is written"), f"{here}?plain=1")
    if file.mime == "text/markdown" and not plain:
        html = to_html(text)
        if html is not None:
            return {"kind": "markdown", "html": html, "note": note, "other": source}
        note = _("This text is too intricate to be shown as Markdown.")
    if file.mime in TABLES and not plain:
        table = excerpts.read_table(text, cut=cut)
        if table is not None:
            said = ngettext("The first %(num)d row", "The first %(num)d rows", len(table.rows)) if table.cut else None
            return {"kind": "table", "head": table.head, "rows": table.rows, "note": said, "other": source}
    return _lines(file, text, note, (_("Show it formatted"), here) if plain else None)


def _lines(file: FileView, text: str, note: str | None, other: tuple[str, str] | None) -> dict[str, Any]:
    text, more = excerpts.clip(text)
    if more:
        note = _("The first %(num)s lines; download to see the rest.", num=format_decimal(excerpts.LINES))
    if file.mime in WRAPPED:
        return {"kind": "text", "text": text, "note": note, "other": other}
    numbers = "\n".join(map(str, range(1, text.removesuffix("\n").count("\n") + 2)))
    return {"kind": "code", "text": text, "numbers": numbers, "note": note, "other": other}
