"""Where one is signed in: the list, and ending one of them."""

from uuid import UUID

from flask import Blueprint, flash, redirect, render_template, url_for
from flask_babel import gettext as _
from werkzeug.wrappers import Response

from webapp.http.answers import gives
from webapp.http.conditional import expected_version
from webapp.http.devices import device_of
from webapp.http.formats import ago, exact
from webapp.http.guard import current_actor, guard
from webapp.http.inputs import takes
from webapp.services import sessions
from webapp.services.cursors import Page
from webapp.services.sessions import SessionFilter, SessionView

pages = Blueprint("sessions_pages", __name__)
api = Blueprint("sessions_api", __name__)


@api.get("/sessions")
@guard("account.read")
@takes(query=SessionFilter)
@gives(Page[SessionView])
def list_sessions(query: SessionFilter) -> Page[SessionView]:
    """Your sessions of browsers and programs, newest activity first."""
    return sessions.list_sessions(current_actor(), query)


@api.delete("/sessions/<uuid:session_id>")
@guard("account.write")
@gives(None, status=204, errors=(404, 412))
def end_session(session_id: UUID) -> None:
    """End one of your sessions."""
    sessions.end_session(current_actor(), session_id, expected_version())


@pages.get("/account/sessions", endpoint="list_sessions")
@guard("account.read")
def list_sessions_page() -> str:
    """The devices on which one is signed in."""
    page = sessions.list_sessions(current_actor(), SessionFilter(limit=100))
    return render_template("sessions/index.html", rows=[_row(session) for session in page.items])


@pages.post("/account/sessions/end")
@guard("account.write", unready=True)
def log_out_everywhere() -> Response:
    """End all of them, this one too."""
    sessions.end_all_sessions(current_actor())
    return redirect(url_for("auth_pages.sign_in_form"))


@pages.post("/account/sessions/<uuid:session_id>/end", endpoint="end_session")
@guard("account.write")
def end_session_page(session_id: UUID) -> Response:
    """End one of them."""
    sessions.end_session(current_actor(), session_id)
    flash(_("That device is signed out."), "success")
    return redirect(url_for("sessions_pages.list_sessions"))


def _row(session: SessionView) -> dict[str, object]:
    device, icon = device_of(session.agent, session.kind)
    if session.impersonated:
        device, icon = _("An administrator, acting as you"), "user-shield"
    return {
        "id": session.id, "device": device, "icon": icon, "address": session.address or "", "current": session.current,
        "seen": session.seen_at, "seen_text": ago(session.seen_at), "seen_exact": exact(session.seen_at),
        "created_text": ago(session.created_at), "end_url": f"/account/sessions/{session.id}/end",
    }  # fmt: skip
