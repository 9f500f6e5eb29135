"""Signs of life of the jobs that this process runs, on the thread that beats for the process."""

import os
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial, update_wrapper

from flask import Flask

from webapp.infra import pulse as process
from webapp.services.jobs import StartedJob, heartbeat


class Pulse:
    """Knows the running jobs of each application; only tests have two of these, each with its database."""

    def __init__(self) -> None:
        self.reset()

    def reset(self) -> None:
        """Forget everything: a forked child runs none of its parent's jobs."""
        self._running: dict[Flask, dict[int, StartedJob]] = {}
        self._lock = threading.Lock()

    @contextmanager
    def watches(self, app: Flask, job: StartedJob) -> Iterator[None]:
        """Beat for this job inside the block."""
        with self._lock:
            if app not in self._running:
                self._running[app] = {}
                process.pulse.call(app, update_wrapper(partial(self._beat, app), heartbeat))
        self._running[app][id(job)] = job
        try:
            yield
        finally:
            del self._running[app][id(job)]

    def _beat(self, app: Flask) -> None:
        if running := list(self._running[app].values()):
            heartbeat(running)


pulse = Pulse()


os.register_at_fork(after_in_child=pulse.reset)
