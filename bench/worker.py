"""The worker of the row `jobs`: `dramatiq bench.worker` is `dramatiq tasks` with one more kind of job, a no-op."""

import dramatiq

import tasks  # noqa: F401  (declares the production actors)
from bench.kinds import NOTHING, know_nothing
from tasks.actors import declare_actor
from tasks.worker import WorkerProcess
from webapp.services.jobs import StartedJob

know_nothing()
broker = dramatiq.get_broker()
(process,) = [part for part in broker.middleware if isinstance(part, WorkerProcess)]


def do_nothing(started: StartedJob) -> None:
    """The work."""


declare_actor(broker, process.clerk, NOTHING, do_nothing)
