"""Signs of life: one thread per process beats for every job that the process runs."""

import os
import threading
from collections.abc import Iterator
from contextlib import contextmanager

import structlog
from flask import Flask

from webapp.config import current_settings
from webapp.errors import HoldfastError
from webapp.services.jobs import StartedJob, heartbeat

log = structlog.get_logger("tasks")


class Pulse:
    """Knows the running jobs. Its thread starts with the first of them and lives as long as the process."""

    def __init__(self) -> None:
        self.reset()

    def reset(self) -> None:
        """Forget everything: a forked child has none of its parent's threads."""
        self._running: dict[int, StartedJob] = {}
        self._thread: threading.Thread | None = None
        self._lock = threading.Lock()

    @contextmanager
    def watches(self, app: Flask, job: StartedJob) -> Iterator[None]:
        """Beat for this job inside the block."""
        key = id(job)
        self._running[key] = job
        if self._thread is None:
            self._start(app)
        try:
            yield
        finally:
            del self._running[key]

    def _start(self, app: Flask) -> None:
        with self._lock:
            if self._thread is None:
                self._thread = threading.Thread(target=self._beat, args=(app,), name="pulse", daemon=True)
                self._thread.start()

    def _beat(self, app: Flask) -> None:
        pause = threading.Event()
        while not pause.wait(current_settings().job_heartbeat):
            running = list(self._running.values())
            if not running:
                continue
            try:
                with app.app_context():
                    heartbeat(running)
            except HoldfastError as error:
                log.warning("heartbeat_missed", jobs=len(running), error=error.detail)


pulse = Pulse()


os.register_at_fork(after_in_child=pulse.reset)
