"""Events: one's own, live, as server-sent events. Without them pages poll."""

from flask import Blueprint
from werkzeug.wrappers import Response

from webapp.http.answers import gives
from webapp.http.guard import current_actor, guard
from webapp.http.streams import EVENTS_IN_OPENAPI, stream_events

pages = Blueprint("events_pages", __name__)
api = Blueprint("events_api", __name__)


@api.get("/events")
@guard("events.read")
@gives(extra=EVENTS_IN_OPENAPI)
def list_events() -> Response:
    """What happens to your jobs and files, as it happens."""
    return stream_events(current_actor())


@pages.get("/events", endpoint="list_events")
@guard("events.read")
def list_events_page() -> Response:
    """The same for a page."""
    return stream_events(current_actor())
