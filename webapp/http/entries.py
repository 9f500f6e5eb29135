"""A browser that signs in: its two cookies (the session's secret, the device's name), and where it goes on."""

from dataclasses import replace

from flask import Response, after_this_request, redirect, request, session, url_for
from werkzeug.wrappers import Response as AnyResponse

from webapp.config import current_settings
from webapp.http.guard import maybe_actor, origin_of_request, safe_path
from webapp.services.devices import LIFE, remember_device
from webapp.services.sessions import Origin, actor_of_cookie, end_own_session
from webapp.services.steps import Entry
from webapp.services.users import email_key

VISITOR = "oidc"  # in the session cookie, which is signed: binds visits to providers to this browser
STEP = "step"  # in the same cookie: binds the second step to this browser


def device_origin() -> Origin:
    """Where the present request comes from, with the device's cookie: for deeds that prove who somebody is."""
    return replace(origin_of_request(), device=request.cookies.get(_name()))


def go_in(entry: Entry) -> AnyResponse:
    """On to where the browser wanted, signed in, or to the second step. A session that it had before is over."""
    if entry.step:
        session[STEP] = entry.step
        return redirect(url_for("steps_pages.step_form"))
    before = maybe_actor() if "sid" in session else None
    if before:
        end_own_session(before)
    visitor = session.get(VISITOR) if (entry.onward.next or "").startswith("/auth/oidc/") else None
    carry_session(entry.secret, keep=entry.onward.keep)
    if visitor is not None:  # back to an offer to link, which this browser was made
        session[VISITOR] = visitor
    carry_device(entry.email)
    return redirect(onward(entry.onward.next))


def pending_step() -> str:
    """The secret of the second step that this browser owes, or nothing."""
    secret = session.get(STEP)
    return secret if isinstance(secret, str) else ""


def carry_session(secret: str, *, keep: bool) -> None:
    """Give the browser its session, on a new CSRF token; `keep` is whether it outlives the browser."""
    session.clear()
    session["sid"] = secret
    session.permanent = keep


def carry_acting(secret: str) -> None:
    """Give the browser the session of somebody else, and keep its own to come back to."""
    own, kept = session["sid"], session.permanent
    carry_session(secret, keep=False)
    session["own"], session["own_kept"] = own, kept


def carry_own_again() -> bool:
    """Give the browser its own session back; False where there is none, or where it ended."""
    own, kept = session.get("own"), bool(session.get("own_kept"))
    if not isinstance(own, str) or actor_of_cookie(own, origin_of_request()) is None:
        return False
    carry_session(own, keep=kept)
    return True


def end_kept_own() -> None:
    """End the session that was kept, because the browser signs out."""
    own = session.get("own")
    actor = actor_of_cookie(own, origin_of_request()) if isinstance(own, str) else None
    if actor is not None:
        end_own_session(actor)


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
