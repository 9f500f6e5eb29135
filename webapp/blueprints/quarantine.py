"""Quarantine: the files in which the virus scanner found something."""

from flask import Blueprint, render_template

from webapp.http.answers import gives
from webapp.http.guard import current_actor, guard
from webapp.http.inputs import read_query, takes
from webapp.http.quarantinerows import quarantine_rows
from webapp.services import quarantine
from webapp.services.cursors import Page
from webapp.services.quarantine import InfectedView, QuarantineQuery

pages = Blueprint("quarantine_pages", __name__)
api = Blueprint("quarantine_api", __name__)


@api.get("/quarantine")
@guard("vault.read")
@takes(query=QuarantineQuery)
@gives(Page[InfectedView])
def list_infected(query: QuarantineQuery) -> Page[InfectedView]:
    """Versions of files in which a virus was found, newest first. Nobody can download them."""
    return quarantine.list_infected(current_actor(), query)


@pages.get("/admin/quarantine", endpoint="list_infected")
@guard("vault.read")
def list_infected_page() -> str:
    """The same as a list."""
    page = quarantine.list_infected(current_actor(), read_query(QuarantineQuery))
    return render_template("quarantine/index.html", **quarantine_rows(page))
