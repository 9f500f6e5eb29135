"""The web server: granian on wsgi:app. `python -m tasks.web` is what `make run` starts beside relay and worker."""

import sys
from pathlib import Path
from typing import Any

from granian import Granian
from granian.constants import Interfaces
from granian.http import HTTP1Settings
from granian.log import LogLevels

from tasks.processes import HEADER_LIMIT, die_with_parent, let_children_end
from webapp.config import Settings, current_settings

STOP_LIMIT = 45  # seconds that requests (and, embedded, jobs) have to end before a worker is killed


def load_app() -> Any:
    """The application, in the server's worker process, which ends with the server however that ends."""
    die_with_parent()
    sys.path.insert(0, str(Path(__file__).parent.parent))
    from wsgi import app

    return app


def serve_web(settings: Settings) -> None:
    """Serve until SIGTERM or SIGINT, then let what runs end. Embedded: one process, which also runs the jobs.

    Raises SystemExit when a worker keeps dying.
    """
    import webapp.app  # noqa: F401  (once, before the workers are forked)

    embedded = settings.rabbitmq_url is None
    server = Granian(
        "wsgi:app", address=settings.host, port=settings.port, interface=Interfaces.WSGI, websockets=False,
        workers=1 if embedded else settings.web_processes,
        blocking_threads=settings.threads,
        http1_settings=HTTP1Settings(header_read_timeout=HEADER_LIMIT),
        respawn_failed_workers=True, respawn_interval=0.1, workers_kill_timeout=STOP_LIMIT,
        log_level=LogLevels.error,
    )  # fmt: skip
    let_children_end()
    server.serve(target_loader=load_app, wrap_loader=False)


if __name__ == "__main__":
    serve_web(current_settings())
