"""A browser that signs in: its two cookies (the session's secret, the device's name), and where it goes on."""

from dataclasses import replace

from flask import Response, after_this_request, request, session, url_for

from webapp.config import current_settings
from webapp.http.guard import origin_of_request, safe_path
from webapp.services.devices import LIFE, remember_device
from webapp.services.sessions import Origin
from webapp.services.users import email_key


def device_origin() -> Origin:
    """Where the present request comes from, with the device's cookie: for deeds that prove who somebody is."""
    return replace(origin_of_request(), device=request.cookies.get(_name()))


def carry_session(secret: str, *, keep: bool) -> None:
    """Give the browser its session, on a new CSRF token; `keep` is whether it outlives the browser."""
    session.clear()
    session["sid"] = secret
    session.permanent = keep


def carry_device(email: str) -> None:
    """Let the answer name the device for next time: it has signed in to this account."""
    value = remember_device(request.cookies.get(_name()), email_key(email))
    settings = current_settings()

    @after_this_request
    def remember(response: Response) -> Response:
        response.set_cookie(_name(), value, max_age=LIFE, secure=settings.https, httponly=True, samesite="Lax")
        return response


def onward(target: str | None) -> str:
    """A path of this site; the files for none, or for one that leads elsewhere."""
    path = safe_path(target)
    return url_for("files_pages.list_files") if path == "/" else path


def _name() -> str:
    return "__Host-device" if current_settings().https else "device"
