"""Beside the row `jobs`: celery on the same broker, on the queue BENCH_QUEUE. `celery -A bench.rival worker`."""

import json
import os
from uuid import uuid4

import pika
from celery import Celery

from bench.kinds import count_one

app = Celery("bench", broker=os.environ.get("BENCH_RABBITMQ"))
app.conf.update(
    task_ignore_result=True, task_acks_late=True, task_default_queue=os.environ.get("BENCH_QUEUE", "rival"),
    worker_prefetch_multiplier=64, worker_enable_remote_control=False, worker_hijack_root_logger=False,
)  # fmt: skip


@app.task(name="nothing")
def nothing(number: int) -> None:
    """The work."""
    count_one()


def message(_queue: str, number: int) -> tuple[bytes, pika.BasicProperties]:
    """A task in version 2 of celery's message protocol, so that both rivals are published in the same transactions."""
    task = str(uuid4())
    headers = {"lang": "py", "task": "nothing", "id": task, "root_id": task, "parent_id": None, "group": None,
               "retries": 0, "timelimit": [None, None], "argsrepr": "()", "kwargsrepr": "{}"}  # fmt: skip
    followers = {"callbacks": None, "errbacks": None, "chain": None, "chord": None}
    properties = pika.BasicProperties(delivery_mode=2, content_type="application/json", content_encoding="utf-8",
                                      correlation_id=task, headers=headers)  # fmt: skip
    return json.dumps([[number], {}, followers]).encode(), properties
