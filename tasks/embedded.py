"""Embedded: relay and workers on threads of the one web process, without a broker. Nothing is lost by a restart."""

import atexit
import threading
from datetime import timedelta
from multiprocessing.util import Finalize

import dramatiq
import structlog
from flask import Flask

from tasks.actors import declare_actors, load_functions, run_job
from tasks.broker import MemoryBroker, make_broker
from tasks.clerk import Clerk, DirectDesk
from tasks.processes import SoleOwner
from tasks.publishers import MemoryPublisher
from tasks.relay import Relay
from tasks.sealer import Sealer
from webapp.config import Settings, current_settings
from webapp.infra.clock import now
from webapp.infra.pulse import leave
from webapp.models.jobs import QUEUES
from webapp.services import jobs, turns

log = structlog.get_logger("tasks")
DRAIN = 30_000  # milliseconds that running jobs have to end at a stop; the next start takes back what did not
AFTER_A_CRASH = 6.0  # seconds until a job runs again whose process died: the server calls quicker deaths a crash loop


class Runtime:
    """The threads of one process."""

    def __init__(self, app: Flask, settings: Settings) -> None:
        broker = make_broker(settings)
        assert isinstance(broker, MemoryBroker)  # noqa: S101
        self.app, self.clerk, self.owner = app, Clerk(app), SoleOwner(settings.var_dir)
        declare_actors(broker, self.clerk)
        self.worker = dramatiq.Worker(broker, worker_threads=settings.job_threads, worker_timeout=500)
        self.relay = Relay(app, MemoryPublisher(settings, broker), self._take_over if self.owner.alone else None)
        self.thread = threading.Thread(target=self.relay.run, name="relay", daemon=True)
        self.sealer = Sealer(app)
        self._stopped = False

    def start(self) -> None:
        """Start them. Jobs that a process which is gone left running or had in memory are due again."""
        self.worker.broker.emit_after("process_boot")
        self.worker.start()
        self.thread.start()
        self.sealer.start()

    def _take_over(self) -> None:
        back, dead = jobs.rescue_orphans(0, AFTER_A_CRASH)
        sent = turns.forget_sending(QUEUES, now() + timedelta(seconds=1))
        if back or dead or sent:
            log.warning("jobs_taken_over", running=back, dead=dead, waiting=sent)

    def works(self) -> bool:
        """Whether all threads that run jobs live."""
        return all(thread.is_alive() for thread in self.worker.workers)

    def stop(self) -> None:
        """Let running jobs end, then give node and lock back. May be called twice."""
        if self._stopped:
            return
        self._stopped = True
        self.relay.stop()
        self.thread.join(5)
        self.sealer.stop()
        self.worker.stop(DRAIN)
        self.clerk.close()
        leave(self.app)
        self.owner.release()


def start(app: Flask) -> Runtime:
    """Start the runtime in this process and have it stopped at the process's end, whichever server runs it."""
    runtime = Runtime(app, current_settings())
    runtime.start()
    atexit.register(runtime.stop)
    Finalize(None, runtime.stop, exitpriority=100)  # children of multiprocessing (granian's workers) run no atexit
    return runtime


def run_due_jobs(app: Flask, batch: int = 100) -> int:
    """Run all due jobs in this thread, as the workers would; returns how many messages there were."""
    functions, desk, count = load_functions(), DirectDesk(app), 0
    while True:
        with app.app_context(), turns.due_jobs(dict.fromkeys(QUEUES, batch)) as turn:
            pass
        for job in turn.jobs:
            run_job(desk, functions[job.name], job.id)
        count += len(turn.jobs)
        if not turn.jobs:
            return count
