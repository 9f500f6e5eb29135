"""What a worker process of `dramatiq tasks` sets up before its threads start."""

import logging

import dramatiq
from dramatiq.middleware import Middleware

from tasks.actors import declare_actors
from tasks.application import make_app
from tasks.broker import make_broker
from tasks.clerk import Clerk
from tasks.processes import die_with_parent
from webapp.config import current_settings
from webapp.infra.ids import release_node


class WorkerProcess(Middleware):
    """A worker never outlives its master, and gives its id node back when it ends."""

    def __init__(self) -> None:
        self.clerk = Clerk(make_app())

    def after_process_boot(self, broker: dramatiq.Broker) -> None:
        die_with_parent()

    def after_worker_shutdown(self, broker: dramatiq.Broker, worker: dramatiq.Worker) -> None:
        self.clerk.close()
        with self.clerk.app.app_context():
            release_node()


def start_worker() -> None:
    """Make the broker of RABBITMQ_URL dramatiq's own, with every actor declared."""
    logging.getLogger().handlers.clear()  # dramatiq's own: ours write its records, too
    process = WorkerProcess()
    broker = make_broker(current_settings())
    broker.add_middleware(process)
    declare_actors(broker, process.clerk)
    dramatiq.set_broker(broker)
