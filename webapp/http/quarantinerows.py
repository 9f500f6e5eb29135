"""How the page of infected files shows them."""

from typing import Any

from flask import url_for
from flask_babel import gettext as _

from webapp.config import current_settings
from webapp.http.formats import ago, exact, size
from webapp.services.cursors import Page
from webapp.services.quarantine import InfectedView


def quarantine_rows(page: Page[InfectedView]) -> dict[str, Any]:
    """Variables of the page."""
    here = url_for("quarantine_pages.list_infected")
    return {
        "rows": [_row(item) for item in page.items],
        "next_url": f"{here}?cursor={page.next_cursor}" if page.next_cursor else None,
        "scans": bool(current_settings().clamav_url),
    }


def _row(item: InfectedView) -> dict[str, Any]:
    chips = [(_("In the trash"), "plain")] if item.trashed else []
    chips += [(_("Former version"), "plain")] if not item.current else []
    return {
        "name": item.name, "url": None if item.trashed else f"/files/{item.file_id}", "owner": item.owner,
        "virus": item.virus, "size_text": size(item.size), "chips": chips,
        "found": item.found_at, "found_text": ago(item.found_at), "found_exact": exact(item.found_at),
    }  # fmt: skip
