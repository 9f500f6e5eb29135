"""Search over all that one may see."""

from flask import Blueprint, render_template

from webapp.http.answers import gives
from webapp.http.guard import current_actor, guard
from webapp.http.inputs import read_filter, takes
from webapp.http.searchrows import search_page
from webapp.services import search
from webapp.services.cursors import Page
from webapp.services.search import Hit, SearchQuery

pages = Blueprint("search_pages", __name__)
api = Blueprint("search_api", __name__)


@api.get("/search")
@guard("files.read", subtree=True)
@takes(query=SearchQuery)
@gives(Page[Hit], errors=(404,))
def list_hits(query: SearchQuery) -> Page[Hit]:
    """Find files and folders: by name first, then by tags, description and text, the newest first.

    Every word of `q` must begin a word there; case and accents do not count. Without `q` the other fields choose.
    """
    return search.search(current_actor(), query)


@pages.get("/search", endpoint="list_hits")
@guard("files.read")
def list_hits_page() -> str:
    """The field, what narrows the search, and what was found."""
    query, actor = read_filter(SearchQuery), current_actor()
    return render_template("search/index.html", **search_page(actor, query, search.search(actor, query)))
