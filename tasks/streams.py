"""The server of event streams: granian on webapp.streams:app. `python -m tasks.streams` is what `make run` starts.

It reads the settings and then becomes `python -m tasks.streams HOST PORT`, which imports nothing but the server: what
reading them takes, 20 MB, would stay in a process that only minds another.
"""

import os
import sys
from pathlib import Path
from typing import Any

from granian import Granian
from granian.constants import HTTPModes, Interfaces
from granian.http import HTTP1Settings
from granian.log import LogLevels

from tasks.processes import HEADER_LIMIT, die_with_parent, let_children_end

STOP_LIMIT = 10  # seconds; streams end at once
BACKLOG, TOGETHER = 4096, 8192  # connections that wait and that are open: granian's own limit is 1,024


def load_app() -> Any:
    """The application, in the server's worker process, which ends with the server however that ends."""
    die_with_parent()
    sys.path.insert(0, str(Path(__file__).parent.parent))
    from webapp.streams import make_streams

    return make_streams()


def main() -> None:
    """Serve where the arguments say; without them, where the settings do. Raises SystemExit for wrong settings."""
    if not sys.argv[1:]:
        from webapp.config import current_settings

        settings = current_settings()
        where = [settings.host, str(settings.streams_address[1])]
        os.execv(sys.executable, [sys.executable, "-m", "tasks.streams", *where])  # noqa: S606
    host, port = sys.argv[1:]
    serve_streams(host, int(port))


def serve_streams(host: str, port: int) -> None:
    """Serve until SIGTERM or SIGINT.

    HTTP/1 alone saves a third of the memory that a stream takes; HTTP/2 is for the proxy in front.
    """
    server = Granian(
        "webapp.streams:app", address=host, port=port, interface=Interfaces.ASGI,
        http=HTTPModes.http1, websockets=False, workers=1, backlog=BACKLOG, backpressure=TOGETHER,
        http1_settings=HTTP1Settings(header_read_timeout=HEADER_LIMIT),
        respawn_failed_workers=True, respawn_interval=0.1, workers_kill_timeout=STOP_LIMIT, log_level=LogLevels.error,
    )  # fmt: skip
    let_children_end()
    server.serve(target_loader=load_app, wrap_loader=False)


if __name__ == "__main__":
    main()
