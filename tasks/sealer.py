"""The sealer: a thread beside the relay that chains the audit trail within seconds. Several are safe."""

import threading

import structlog
from flask import Flask

from webapp.errors import Unavailable
from webapp.services import seals

log = structlog.get_logger("tasks")
PAUSE, AWAY = 2.0, 5.0  # seconds between two looks, and while the database is away


class Sealer:
    """Seals until stop()."""

    def __init__(self, app: Flask) -> None:
        self.app = app
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._run, name="sealer", daemon=True)

    def start(self) -> None:
        """Begin."""
        self._thread.start()

    def stop(self) -> None:
        """Return when the present batch is sealed; may be called twice."""
        self._stopping.set()
        self._thread.join(5)

    def _run(self) -> None:
        pause = PAUSE
        with self.app.app_context():
            while not self._stopping.wait(pause):
                pause = self._seal()

    def _seal(self) -> float:
        try:
            seals.seal_entries()
        except Unavailable:
            return AWAY
        except Exception as error:
            log.error("audit_not_sealed", exc_info=error)
            return AWAY
        return PAUSE
