"""The relay: hands due jobs to the broker, takes orphans back, sends again what was lost. Several are safe.

`python -m tasks.relay` for RabbitMQ; the embedded runtime runs the same class on a thread.
"""

import signal
import sys
import time
from collections.abc import Callable
from datetime import timedelta

import structlog
from flask import Flask

from tasks.application import make_app
from tasks.listener import POLL, Listener
from tasks.publishers import BrokerDown, Publisher, RabbitPublisher
from tasks.sealer import Sealer
from webapp.config import ConfigurationError, current_settings
from webapp.errors import Unavailable
from webapp.infra import ids
from webapp.infra.clock import now
from webapp.infra.pulse import leave
from webapp.services import firings, jobs, turns
from webapp.services.keys import refuse_lost_keys

log = structlog.get_logger("relay")
ROUND = 5.0  # seconds between two looks for orphans and lost messages
# Seconds after which a sent job in an empty queue is sent again. Lost is its message, or, with the last moments before
# a crash of the database, its start; or it waits in a busy worker, which nobody can tell from here. It costs nothing.
LOST_AFTER = 20.0
LONGEST_PAUSE = 5.0  # seconds between two tries while the broker or the database is away
GATHER = 0.003  # seconds after a batch in which the next one gathers
CROWDED = (0.01, 0.25)  # seconds, growing, until room is looked for again while jobs are due that have none


class Relay:
    """Loops until stop(). Trouble with the broker or the database is logged once and waited out."""

    def __init__(self, app: Flask, publisher: Publisher, at_start: Callable[[], None] | None = None) -> None:
        self.app, self.publisher, self.at_start = app, publisher, at_start
        self.listener = Listener()
        self.trouble = ""
        self._pause = self._crowded = 0.0
        self._next_round = self._next_firing = 0.0
        self._planted = self._stopping = False

    def run(self) -> None:
        """Work until stop() is called from another thread or a signal handler."""
        with self.app.app_context():
            while not self._stopping:
                try:
                    gap, limit = self._turn()
                except Exception as error:  # noqa: BLE001 - a fault of ours in one turn must not end all jobs
                    self._wait_out(error)
                    continue
                self._recovered()
                self.listener.pause(gap)
                self.listener.wait(limit)
            self.publisher.close()
            self.listener.close()

    def stop(self) -> None:
        """Finish the present batch and return from run(). No lock is taken: a signal may come while one is held."""
        self._stopping = True
        self.listener.wake()

    def _turn(self) -> tuple[float, float]:
        """One batch. Returns seconds: the least until the next, and then the most to wait for news of another job."""
        ids.sign()  # here, so that a relay which hangs shows no sign of life
        if self.at_start:
            self.at_start()
            self.at_start = None
        if time.monotonic() >= self._next_firing:
            self._fire()
        room = self.publisher.room()
        if time.monotonic() >= self._next_round:
            self._look_after()
        with turns.due_jobs(room) as turn:
            if turn.jobs:
                self.publisher.send(turn.jobs)
        if turn.jobs:
            self._crowded = 0.0
            return GATHER, 0.0
        if not turn.more and all(room.values()):
            return 0.0, POLL
        self._crowded = min(CROWDED[1], self._crowded * 1.5 or CROWDED[0])
        return CROWDED[0], self._crowded

    def _fire(self) -> None:
        """Queue what is due by the clock, whether the broker takes messages or not."""
        if not self._planted:
            firings.plant_schedules()
            self._planted = True
        self._next_firing = time.monotonic() + firings.fire_due()

    def _look_after(self) -> None:
        self._next_round = time.monotonic() + ROUND
        settings = current_settings()
        back, dead = jobs.rescue_orphans(settings.job_orphan_after)
        if back or dead:
            log.warning("orphans_taken_back", queued=back, dead=dead)
        late = jobs.give_up_late()
        if late:
            log.warning("late_jobs_given_up", dead=late)
        queues = self.publisher.empty_queues()
        again = turns.forget_sending(queues, now() - timedelta(seconds=LOST_AFTER)) if queues else 0
        if again and turns.workers_are_busy():
            log.info("waiting_messages_sent_again", jobs=again, why="A busy worker may hold the first ones.")
        elif again:
            log.warning("lost_messages_sent_again", jobs=again)

    def _wait_out(self, error: Exception) -> None:
        part = "broker" if isinstance(error, BrokerDown) else "database" if isinstance(error, Unavailable) else "relay"
        if self.trouble != part:
            log.warning("relay_waits", part=part, error=str(error), exc_info=error if part == "relay" else None)
        self.trouble = part
        self._pause = min(LONGEST_PAUSE, self._pause * 2 or 0.1)
        self.listener.pause(self._pause)

    def _recovered(self) -> None:
        if self.trouble:
            log.info("relay_works_again", part=self.trouble)
        self.trouble, self._pause = "", 0.0


def main() -> int:
    """The process: stops on SIGTERM and SIGINT after the present batch."""
    try:
        settings = current_settings()
        app = make_app(settings)
        with app.app_context():
            refuse_lost_keys()
    except ConfigurationError as error:
        print(error, file=sys.stderr)  # noqa: T201
        return 2
    if settings.rabbitmq_url is None:
        print("RABBITMQ_URL is not set: the web process runs its jobs itself and needs no relay.", file=sys.stderr)  # noqa: T201
        return 2
    relay, sealer = Relay(app, RabbitPublisher(settings)), Sealer(app)
    ids.appear("relay", 1)
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: relay.stop())
    log.info("relay_started")
    sealer.start()
    relay.run()
    sealer.stop()
    leave(relay.app)
    log.info("relay_stopped")
    return 0


if __name__ == "__main__":
    sys.exit(main())
