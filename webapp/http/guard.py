"""Every view names who may call it: @guard("files.read") or @public. It enforces identity, CSRF and body limits."""

from collections.abc import Callable
from functools import wraps
from typing import Any, TypeVar

from flask import current_app, g, request
from flask_wtf.csrf import validate_csrf
from wtforms import ValidationError

from webapp.config import current_settings
from webapp.errors import FactorDue, Missing, Refused, StepUp, Unauthenticated
from webapp.extensions import bearer_token, maybe_actor, origin_of_request
from webapp.policies import PERMISSIONS, Actor, require
from webapp.services import confirmations
from webapp.services.features import Feature, is_on
from webapp.services.subtrees import refuse_elsewhere, refuse_outside

__all__ = ["current_actor", "guard", "maybe_actor", "origin_of_request", "prove_form", "public", "public_upload",
           "refuse_stale", "safe_path"]  # fmt: skip

V = TypeVar("V", bound=Callable[..., Any])
SAFE = {"GET", "HEAD", "OPTIONS"}
MIB = 1024**2
ENVELOPE = MIB  # bytes that multipart adds around the files of an upload


def guard(
    permission: str,
    *,
    upload: bool = False,
    fresh: bool = False,
    unready: bool = False,
    subtree: bool = False,
    feature: Feature | None = None,
) -> Callable[[V], V]:
    """Let only actors through who hold the permission; 401 for nobody, 403 for somebody else, under /admin 404 for
    those who administer nothing at all.

    `upload` allows a body of MAX_UPLOAD_SIZE and leaves it unread: a browser form without the X-CSRF-Token header
    must then be proven by `prove_form` before anything of it is kept. `fresh` asks for a session that was proven within
    a quarter of an hour; `unready` lets those in, too, who have yet to set up the factor that their role asks for.
    `subtree` opens the view to tokens that are limited to a folder, for files and folders in it: what else its service
    reads it must look at itself. Nothing is at this address for whom the `feature` is off.
    """
    if permission not in PERMISSIONS:
        raise KeyError(permission)

    def decorate(view: V) -> V:
        @wraps(view)
        def guarded(*args: Any, **kwargs: Any) -> Any:
            if upload:
                request.max_content_length = current_settings().max_upload_size + ENVELOPE
            actor = maybe_actor()
            if actor is not None and f"{request.path}/".startswith("/admin/") and not actor.administers:
                raise Missing("There is nothing at this address.")  # not even that there is something to administer
            actor = require(actor, permission)
            refuse_feature(feature, actor)
            _keep_inside(actor, subtree, kwargs)
            by_form = request.method not in SAFE and bearer_token() is None
            if by_form:
                _check_csrf(upload)
            _check_proof(actor, fresh, unready)
            answer = view(*args, **kwargs)
            if by_form and upload and not g.get("form_proven"):
                raise RuntimeError(f"{request.endpoint} took a form without prove_form")
            return answer

        guarded.permission, guarded.upload = permission, upload  # type: ignore[attr-defined]
        guarded.fresh, guarded.subtree = fresh, subtree  # type: ignore[attr-defined]
        return guarded  # type: ignore[return-value]

    return decorate


def refuse_feature(feature: Feature | None, actor: Actor | None) -> None:
    """Raise Missing where the feature is off for this person: as if it had never been built."""
    if feature is not None and not is_on(feature, actor):
        raise Missing("There is nothing at this address.")


def public(view: V) -> V:
    """Let everybody through. A form still proves that it comes from our page: nobody is signed in by a stranger's."""

    @wraps(view)
    def opened(*args: Any, **kwargs: Any) -> Any:
        if request.method not in SAFE and not (request.blueprint or "").endswith("_api"):
            _check_csrf(upload=False)
        return view(*args, **kwargs)

    opened.permission = None  # type: ignore[attr-defined]
    return opened  # type: ignore[return-value]


def public_upload(view: V) -> V:
    """The same for a form with files, of MAX_UPLOAD_SIZE: `received` proves it before anything of it is kept."""

    @wraps(view)
    def opened(*args: Any, **kwargs: Any) -> Any:
        request.max_content_length = current_settings().max_upload_size + ENVELOPE
        _check_csrf(upload=True)
        answer = view(*args, **kwargs)
        if not g.get("form_proven"):
            raise RuntimeError(f"{request.endpoint} took a form without prove_form")
        return answer

    opened.permission, opened.upload = None, True  # type: ignore[attr-defined]
    return opened  # type: ignore[return-value]


def current_actor() -> Actor:
    """Who asks. Raises Unauthenticated for nobody; behind @guard that cannot happen."""
    actor = maybe_actor()
    if actor is None:
        raise Unauthenticated
    return actor


def prove_form(token: str | None) -> None:
    """Check the csrf_token field of a streamed form; call it before keeping anything. Raises Refused."""
    if g.get("form_proven"):
        return
    try:
        validate_csrf(token)
    except ValidationError as error:
        raise Refused("This page is too old or was changed. Reload it and try again.", code="csrf") from error
    g.form_proven = True


def _check_proof(actor: Actor, fresh: bool, unready: bool) -> None:
    if not unready:
        refuse_unready(actor)
    if fresh:
        refuse_stale(actor)


def refuse_unready(actor: Actor) -> None:
    """Raise FactorDue or StepUp for who holds a role that asks for a second factor, and has not shown one."""
    due = confirmations.factor_due(actor) if actor.asks_factor else None
    if due == "set_up":
        raise FactorDue("Your role asks for a second factor. Set one up first.")
    if due:
        raise StepUp("Your role asks for a second factor. Show it once.")


def refuse_stale(actor: Actor) -> None:
    """Raise StepUp where the session was proven more than a quarter of an hour ago, Refused for who acts as another."""
    if actor.impersonator is not None:
        raise Refused("Not while you act as somebody else.", code="acting")
    if not confirmations.proven_lately(actor):
        raise StepUp("Confirm that it is you: the last proof is more than 15 minutes old.")


def safe_path(target: str | None) -> str:
    """A path of this site to go on to; / for all that could lead elsewhere (//host, /\\host, schemes, controls)."""
    if not target or not target.startswith("/") or len(target) > 2000:
        return "/"
    if target.startswith("//") or "\\" in target or any(ord(c) < 33 or ord(c) == 127 for c in target):
        return "/"
    return target


def _keep_inside(actor: Actor, subtree: bool, named: dict[str, Any]) -> None:
    if actor.root is None:
        return
    if not subtree:
        refuse_elsewhere()
    refuse_outside(actor, named.get("file_id"), named.get("folder_id"))


def _check_csrf(upload: bool) -> None:
    g.form_proven = False
    header = request.headers.get("X-CSRF-Token")
    if header is not None:
        prove_form(header)
    elif not upload:
        prove_form(request.form.get(current_app.config["WTF_CSRF_FIELD_NAME"]))
