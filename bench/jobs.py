"""Row `jobs`: jobs that do nothing, through table, relay, broker and worker, against dramatiq and celery alone."""

import contextlib
import json
import os
import secrets
import statistics
import struct
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import pika
from pika.adapters.blocking_connection import BlockingChannel
from sqlalchemy import Engine, create_engine, func, insert, select, text

from bench import rival
from bench.kinds import NOTHING, SLOTS
from bench.processes import ROOT, Server, running, settle
from bench.rows import Row
from bench.vault import RABBITMQ, Vault, postgres_answers, vault
from tests.servers import wait_until
from webapp.infra.wakeups import CHANNEL
from webapp.models.jobs import QUEUES, Job

PROCESSES, THREADS = 2, 4
BATCH = 500  # jobs or messages in a transaction
SINGLE, TURNS = 40, 3
NEAR = PROCESSES * THREADS  # counts of the last moment may still be on their way
FIRST = 10**12
Message = Callable[[str, int], tuple[bytes, pika.BasicProperties]]  # of a queue and a number


def jobs(quick: bool) -> Iterator[Row]:
    """A backlog worked off, and the wait of single jobs; first with servers, then embedded."""
    count = 1000 if quick else 6000
    yield from _with_servers(count)
    with vault("sqlite", APP_ENV="test", REDIS_URL="") as target:
        command = [sys.executable, "-m", "bench.embedded", str(count)]
        done = subprocess.run(command, cwd=ROOT, env=target.environ, capture_output=True, text=True, timeout=600)
    if done.returncode:
        raise RuntimeError(f"the embedded runtime ended:\n{done.stderr[-3000:]}")
    found = json.loads(done.stdout.splitlines()[-1])
    yield Row("jobs that do nothing, embedded on SQLite", found["rate"], "jobs/s", at_least=300)
    yield Row("job start delay, p50, embedded", found["start"], "ms", at_most=50, more={"until done ms": found["end"]})


def _with_servers(count: int) -> Iterator[Row]:
    prefix = f"bench-{os.getpid()}-{secrets.token_hex(3)}"
    if not postgres_answers() or not broker_answers():
        raise RuntimeError("needs PostgreSQL and RabbitMQ")
    with (
        vault("postgresql", APP_ENV="test", RABBITMQ_URL=RABBITMQ, RABBITMQ_QUEUE_PREFIX=prefix) as target,
        passing_queues(prefix),
    ):
        celery = _alone(target, prefix, count, "rival", rival.message)
        with ExitStack() as stack:
            worker = ["bench.worker", "--processes", str(PROCESSES), "--threads", str(THREADS)]
            dramatiq = stack.enter_context(_dramatiq(target, worker, target.environ, "worker"))
            relay = stack.enter_context(
                running([sys.executable, "-m", "tasks.relay"], target.home, target.environ, name="relay")
            )
            engine = create_engine(target.database.replace("postgresql://", "postgresql+psycopg2://"))
            _insert(engine, FIRST, 1)
            wait_until(lambda: _done(engine) == 1, about="the first job")
            rates: list[float] = []
            limits: list[float] = []
            costs: list[float] = []
            for turn in range(TURNS):  # side by side: what else the machine does changes by the minute
                limits.append(_alone(target, prefix, count, "bare", _dramatiq_message))
                before = dramatiq.cpu() + relay.cpu()
                rates.append(_worked_off(engine, 1 + turn * count, count))
                costs.append((dramatiq.cpu() + relay.cpu() - before) / count * 1e6)
            rate, bare = max(rates), max(limits)
            delay, total = _single(engine, FIRST + 10**6)
            engine.dispose()
    yield Row("jobs that do nothing, against dramatiq", rate, "jobs/s", bare, 0.3,
              more={"worker and relay cpu µs": round(min(costs))})  # fmt: skip
    yield Row(
        "jobs that do nothing, against celery", rate, "jobs/s", celery, more={"celery against dramatiq": celery / bare}
    )
    yield Row("job start delay, p50", delay, "ms", at_most=50, more={"until done ms": total})


def _worked_off(engine: Engine, known: int, count: int) -> float:
    """Jobs per second, from the first insert until all are done; `known` are there already, done."""
    began = time.perf_counter()
    for start in range(0, count, BATCH):
        _insert(engine, FIRST + known + start, min(BATCH, count - start))
    wait_until(lambda: _done(engine) == known + count, 300, about=f"{count} jobs")
    return count / (time.perf_counter() - began)


def _insert(engine: Engine, first: int, count: int) -> None:
    """As services.events does it: rows and the wake-up call in one transaction."""
    kind: dict[str, object] = {"name": NOTHING, "queue": "default", "args": {}, "max_attempts": 5}
    with engine.begin() as connection:
        kind["run_at"] = connection.scalar(select(func.now()))
        connection.execute(insert(Job), [{**kind, "id": first + number} for number in range(count)])
        connection.execute(text(f"NOTIFY {CHANNEL}"))


def _done(engine: Engine) -> int:
    with engine.connect() as connection:
        return int(connection.scalar(select(func.count()).where(Job.state == "done", Job.name == NOTHING)) or 0)


def _single(engine: Engine, first: int) -> tuple[float, float]:
    """Milliseconds from commit to the start and to the end of jobs that come one by one, by the median."""
    starts, ends = [], []
    for number in range(first, first + SINGLE):
        settle(0.05)
        _insert(engine, number, 1)
        committed = time.time()
        mine = select(Job.started_at, Job.finished_at).where(Job.id == number)
        while True:
            with engine.connect() as connection:
                row = connection.execute(mine).one()
            if row.finished_at:
                break
            time.sleep(0.005)
        starts.append((row.started_at.timestamp() - committed) * 1000)
        ends.append((row.finished_at.timestamp() - committed) * 1000)
    return statistics.median(starts), statistics.median(ends)


def _alone(target: Vault, prefix: str, count: int, name: str, message: Message) -> float:
    """Messages per second of dramatiq or celery alone, published in transactions of BATCH as the relay does."""
    counts = target.home / f"{name}-counts"
    counts.write_bytes(bytes(SLOTS * 8))
    queue = f"{prefix}.{name}"
    environ = {**target.environ, "BENCH_RABBITMQ": RABBITMQ, "BENCH_QUEUE": queue, "BENCH_COUNTS": str(counts)}
    processes, threads = str(PROCESSES), str(THREADS)
    command = {
        "bare": ["dramatiq", "bench.bare", "--processes", processes, "--threads", threads],
        "rival": ["celery", "-A", "bench.rival", "worker", "--concurrency", processes, "--loglevel", "warning",
                  "--without-gossip", "--without-mingle", "--without-heartbeat"],
    }[name]  # fmt: skip
    with running([sys.executable, "-m", *command], target.home, environ, name=name), _channel() as channel:
        channel.tx_select()
        while _counted(counts) == 0:  # until the worker has made its queue, messages to it go nowhere
            _publish(channel, queue, 1, message)
            settle(0.2)
        before = _counted(counts)
        began = time.perf_counter()
        _publish(channel, queue, count, message)
        wait_until(lambda: _counted(counts) >= before + count - NEAR, 300, about=f"{count} messages of {name}")
        return count / (time.perf_counter() - began)


def _publish(channel: BlockingChannel, queue: str, count: int, message: Message) -> None:
    for number in range(count):
        body, properties = message(queue, number)
        channel.basic_publish("", queue, body, properties)
        if number % BATCH == BATCH - 1:
            channel.tx_commit()
    channel.tx_commit()


def _dramatiq_message(queue: str, number: int) -> tuple[bytes, pika.BasicProperties]:
    import dramatiq

    message = dramatiq.Message(queue_name=queue, actor_name="nothing", args=(number,), kwargs={}, options={})  # type: ignore[var-annotated]
    return message.encode(), pika.BasicProperties(delivery_mode=2)


def _counted(counts: Path) -> int:
    return sum(struct.unpack(f"<{SLOTS}Q", counts.read_bytes()))


@contextlib.contextmanager
def _channel() -> Iterator[BlockingChannel]:
    connection = pika.BlockingConnection(pika.URLParameters(RABBITMQ))
    try:
        yield connection.channel()
    finally:
        connection.close()


@contextlib.contextmanager
def passing_queues(prefix: str) -> Iterator[None]:
    """Queues of this run go with it."""
    try:
        yield
    finally:
        with _channel() as channel:
            for name in (*QUEUES, "bare", "bare.DQ", "bare.XQ", "rival"):
                channel.queue_delete(f"{prefix}.{name}")


@contextlib.contextmanager
def _dramatiq(target: Vault, words: list[str], environ: dict[str, str], name: str) -> Iterator[Server]:
    with running([sys.executable, "-m", "dramatiq", *words], target.home, environ, name=name) as server:
        yield server


def broker_answers() -> bool:
    """Whether BENCH_RABBITMQ takes us in."""
    with contextlib.suppress(pika.exceptions.AMQPError, OSError), _channel():
        return True
    return False
