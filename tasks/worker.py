"""What a worker process of `dramatiq tasks` sets up before its threads start."""

import logging
import sys

import dramatiq
from dramatiq.middleware import Middleware

from tasks.actors import declare_actors
from tasks.application import make_app
from tasks.broker import JobsBroker, make_broker
from tasks.clerk import Clerk
from tasks.outages import Outage
from tasks.processes import die_with_parent
from webapp.config import ConfigurationError, current_settings
from webapp.infra.pulse import leave, live_as
from webapp.services.keys import refuse_lost_keys


class WorkerProcess(Middleware):
    """A worker never outlives its master, and tells that it lives until it ends."""

    def __init__(self) -> None:
        self.clerk = Clerk(make_app())

    def after_process_boot(self, broker: dramatiq.Broker) -> None:
        die_with_parent()

    def after_worker_boot(self, broker: dramatiq.Broker, worker: dramatiq.Worker) -> None:
        live_as(self.clerk.app, "worker", worker.worker_threads)

    def after_worker_shutdown(self, broker: dramatiq.Broker, worker: dramatiq.Worker) -> None:
        self.clerk.close()
        leave(self.clerk.app)


def start_worker() -> None:
    """Make the broker of RABBITMQ_URL dramatiq's own, with every actor declared."""
    logging.getLogger().handlers.clear()  # dramatiq's own: ours write its records, too
    try:
        process = WorkerProcess()
        with process.clerk.app.app_context():
            refuse_lost_keys()
    except ConfigurationError as error:
        print(error, file=sys.stderr)  # noqa: T201
        sys.exit(2)
    broker = make_broker(current_settings())
    broker.add_middleware(process)
    if isinstance(broker, JobsBroker):
        broker.outage = Outage()
        broker.outage.watch(broker.queues)
    declare_actors(broker, process.clerk)
    dramatiq.set_broker(broker)
