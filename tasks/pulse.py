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
        self._running: dict[int, tuple[Flask, StartedJob]] = {}
        self._thread: threading.Thread | None = None
        self._lock = threading.Lock()

    @contextmanager
    def watches(self, app: Flask, job: StartedJob) -> Iterator[None]:
        """Beat for this job inside the block."""
        key = id(job)
        self._running[key] = app, job
        if self._thread is None:
            self._start()
        try:
            yield
        finally:
            del self._running[key]

    def _start(self) -> None:
        with self._lock:
            if self._thread is None:
                self._thread = threading.Thread(target=self._beat, name="pulse", daemon=True)
                self._thread.start()

    def _beat(self) -> None:
        pause = threading.Event()
        while not pause.wait(current_settings().job_heartbeat):
            running = list(self._running.values())
            for app in {app for app, _ in running}:  # tests have two, each with its database
                self._beat_for(app, [job for owner, job in running if owner is app])

    def _beat_for(self, app: Flask, jobs: list[StartedJob]) -> None:
        try:
            with app.app_context():
                heartbeat(jobs)
        except HoldfastError as error:
            log.warning("heartbeat_missed", jobs=len(jobs), error=error.detail)


pulse = Pulse()


os.register_at_fork(after_in_child=pulse.reset)
