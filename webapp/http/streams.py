"""Answering with a stream of server-sent events (HTML standard, 9.2).

A thread of the web server sends one itself, so only half of the threads may; webapp/streams.py takes them over and
sends thousands from one loop.
"""

import threading
from collections.abc import Callable, Collection, Iterator
from typing import Any

from flask import Flask, Response, current_app, request

from webapp.config import Settings, current_settings
from webapp.errors import Refused
from webapp.extensions import bearer_token
from webapp.infra.hubs import Hub, Listener, Wish
from webapp.infra.nearnews import NearBoard
from webapp.infra.news import HEARTBEAT, mark_of
from webapp.policies import Actor
from webapp.services import news
from webapp.services.access_tokens import read_access_token
from webapp.services.lookouts import Lookout, living_sessions

TAKE_OVER = "holdfast.take_over"  # in the environ: Callable[[Listener], None] of a server that sends streams itself
WAKE = "holdfast.wake"
LOOK_FOR_CLIENT = 2.0  # seconds: a thread learns that its client is gone only by sending
HEADERS = {
    "Content-Type": "text/event-stream; charset=utf-8",
    "Cache-Control": "no-store",
    "X-Accel-Buffering": "no",
}
EVENTS_IN_OPENAPI: dict[str, Any] = {
    "description": (
        "Events: job.changed {id, state, progress, target_id}, file.changed and folder.changed {id, what}, "
        "notification {kind, id}, sync {}. Each has an id: reconnect with the last one as Last-Event-ID, and nothing "
        "is missed. sync means that something may have been: read again what you show. A comment comes every "
        "15 seconds. The stream ends with the session or the token. After 429 and 503, poll until Retry-After is over."
    ),
    "parameters": [
        {"name": "Last-Event-ID", "in": "header", "schema": {"type": "string"}, "description": "The last one you know"}
    ],
    "responses": {"200": {"description": "Events until you leave",
                          "content": {"text/event-stream": {"schema": {"type": "string"}}}}},
}  # fmt: skip


def stream_events(actor: Actor) -> Response:
    """The stream of this actor's events. Raises Unavailable and Limited where there is no room for another."""
    if request.method == "HEAD":
        return Response(headers=HEADERS)
    if actor.session_id is None:  # a personal token; its scopes say so, too
        raise Refused("A stream ends with a session: sign in for it.", code="needs_session")
    wish = Wish(actor.id, actor.session_id, news.types_for(actor), mark_of(request.headers.get("Last-Event-ID", "")),
                _expiry())  # fmt: skip
    hub = hub_of(current_app._get_current_object())  # type: ignore[attr-defined]
    take_over: Callable[[Listener], None] | None = request.environ.get(TAKE_OVER)
    if take_over is not None:
        take_over(hub.open(wish, request.environ[WAKE]))
        return Response(iter(()), headers=HEADERS)  # of no known length
    stirred = threading.Event()
    return Response(_Sending(hub, hub.open(wish, stirred.set), stirred), headers=HEADERS, direct_passthrough=True)


class _Sending:
    """The body of a stream that a thread sends."""

    def __init__(self, hub: Hub, listener: Listener, stirred: threading.Event) -> None:
        self._hub, self._listener, self._stirred = hub, listener, stirred

    def __iter__(self) -> Iterator[bytes]:
        while not self._listener.ended:
            self._stirred.clear()
            yield self._listener.take() or HEARTBEAT
            self._stirred.wait(LOOK_FOR_CLIENT)

    def close(self) -> None:
        """The client is gone, or the stream is over."""
        self._hub.leave(self._listener)


def hub_of(app: Flask, capacity: int | None = None) -> Hub:
    """The hub of this application in this process; `capacity` counts at its first use."""
    hub: Hub | None = app.extensions.get("holdfast.hub")
    if hub is None:
        seats = thread_seats(current_settings()) if capacity is None else capacity
        hub = app.extensions.setdefault("holdfast.hub", _make_hub(app, seats))
    return hub


def thread_seats(settings: Settings) -> int:
    """How many threads of a web process may send streams: half of them."""
    return settings.threads // 2


def _make_hub(app: Flask, capacity: int) -> Hub:
    board, lookout = news.board(), Lookout()

    def living(session_ids: Collection[int]) -> Collection[int]:
        with app.app_context():
            return living_sessions(session_ids)

    def look(owner_ids: Collection[int]) -> None:
        assert isinstance(board, NearBoard)  # noqa: S101
        with app.app_context():
            board.post(lookout.look(owner_ids))

    return Hub(board, living, capacity, look if isinstance(board, NearBoard) else None)


def _expiry() -> float | None:
    token = bearer_token()
    return read_access_token(token).expires if token is not None else None
