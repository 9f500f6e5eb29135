"""What others share with one."""

from flask import Blueprint, render_template

from webapp.http.accessrows import shared_rows
from webapp.http.answers import gives
from webapp.http.guard import current_actor, guard
from webapp.http.inputs import read_query, takes
from webapp.services import shared
from webapp.services.cursors import Page
from webapp.services.shared import SharedQuery, SharedView

pages = Blueprint("shared_pages", __name__)
api = Blueprint("shared_api", __name__)


@api.get("/shared")
@guard("files.read")
@takes(query=SharedQuery)
@gives(Page[SharedView])
def list_shared(query: SharedQuery) -> Page[SharedView]:
    """Files and folders that others share with you or a group of yours, the newest first."""
    return shared.list_shared(current_actor(), query)


@pages.get("/shared", endpoint="list_shared")
@guard("files.read")
def list_shared_page() -> str:
    """The list."""
    query = read_query(SharedQuery)
    return render_template("shared/index.html", **shared_rows(shared.list_shared(current_actor(), query)))
