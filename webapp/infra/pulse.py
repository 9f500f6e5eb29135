"""Signs of life: one thread per process beats for the process itself and for the jobs that it runs."""

import os
import threading
from collections.abc import Callable
from contextlib import suppress
from typing import Any

import structlog
from sqlalchemy.exc import SQLAlchemyError

from webapp.config import current_settings
from webapp.errors import HoldfastError
from webapp.infra import ids

log = structlog.get_logger("webapp.pulse")


class Pulse:
    """Calls what it is given every JOB_HEARTBEAT seconds, at once for the first time. A forked child starts without."""

    def __init__(self) -> None:
        self.reset()

    def reset(self) -> None:
        """Forget everything: a forked child has none of its parent's threads."""
        self._beats: list[tuple[Any, Callable[[], None]]] = []
        self._thread: threading.Thread | None = None
        self._lock = threading.Lock()

    def call(self, app: Any, beat: Callable[[], None]) -> None:
        """Call `beat` in contexts of this application for as long as the process lives."""
        with self._lock:
            self._beats.append((app, beat))
            if self._thread is None:
                self._thread = threading.Thread(target=self._run, name="pulse", daemon=True)
                self._thread.start()

    def _run(self) -> None:
        pause = threading.Event()
        while True:
            for app, beat in list(self._beats):
                try:
                    with app.app_context():
                        beat()
                except HoldfastError as error:
                    log.warning("heartbeat_missed", of=beat.__name__, error=error.detail)
                except Exception as error:
                    log.error("heartbeat_missed", of=beat.__name__, error=str(error), exc_info=error)
            pause.wait(current_settings().job_heartbeat)


pulse = Pulse()
os.register_at_fork(after_in_child=pulse.reset)


def live_as(app: Any, role: str, threads: int) -> None:
    """Let everybody see that this process lives, from now until leave(); after a kill until its time is over."""
    ids.appear(role, threads)
    pulse.call(app, ids.sign)


def leave(app: Any) -> None:
    """Give the id node back and be gone for everybody. Without a database the lease ends by itself."""
    with app.app_context(), suppress(HoldfastError, SQLAlchemyError):
        ids.release_node()
