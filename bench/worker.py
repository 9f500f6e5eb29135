"""The worker of the row `jobs`: `dramatiq bench.worker` is `dramatiq tasks` with one more kind of job, which does nothing."""

import dramatiq

import tasks  # noqa: F401  (declares the production actors)
from bench.kinds import NOTHING, know_nothing
from tasks.actors import run_job
from tasks.broker import queue_name
from tasks.worker import WorkerProcess
from webapp.config import current_settings
from webapp.services.jobs import StartedJob

know_nothing()
broker = dramatiq.get_broker()
(process,) = [part for part in broker.middleware if isinstance(part, WorkerProcess)]


def do_nothing(started: StartedJob) -> None:
    """The work."""


def run(job_id: int) -> None:
    """What every actor of the application does with a message."""
    run_job(process.app, do_nothing, job_id)


dramatiq.Actor(run, broker=broker, actor_name=NOTHING, queue_name=queue_name(current_settings(), "default"), priority=0,
               options={"time_limit": 600_000})  # fmt: skip
