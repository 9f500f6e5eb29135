"""Row `jobs`: jobs that do nothing, through table, relay, broker and worker, against dramatiq alone."""

import contextlib
import os
import secrets
import statistics
import struct
import sys
import time
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pika
from sqlalchemy import Engine, create_engine, func, insert, select, text

from bench.kinds import NOTHING, SLOTS
from bench.processes import Server, running, settle
from bench.rows import Row
from bench.vault import RABBITMQ, Vault, postgres_answers, vault
from tests.servers import wait_until
from webapp.infra.wakeups import CHANNEL
from webapp.models.jobs import QUEUES, Job

PROCESSES, THREADS = 2, 4
SINGLE = 40
NEAR = PROCESSES * THREADS  # counts of the last moment may still be on their way
FIRST = 10**12


def jobs(quick: bool) -> Iterator[Row]:
    """A backlog worked off, and the wait of single jobs."""
    count = 1000 if quick else 6000
    prefix = f"bench-{os.getpid()}-{secrets.token_hex(3)}"
    if not postgres_answers() or not broker_answers():
        raise RuntimeError("needs PostgreSQL and RabbitMQ")
    with (
        vault("postgresql", APP_ENV="test", RABBITMQ_URL=RABBITMQ, RABBITMQ_QUEUE_PREFIX=prefix) as target,
        passing_queues(prefix),
    ):
        bare = _bare(target, prefix, count)
        with ExitStack() as stack:
            worker = ["bench.worker", "--processes", str(PROCESSES), "--threads", str(THREADS)]
            dramatiq = stack.enter_context(_dramatiq(target, worker, target.environ, "worker"))
            relay = stack.enter_context(
                running([sys.executable, "-m", "tasks.relay"], target.home, target.environ, name="relay")
            )
            engine = create_engine(target.database.replace("postgresql://", "postgresql+psycopg2://"))
            _insert(engine, FIRST, 1)
            wait_until(lambda: _done(engine) == 1, about="the first job")
            before = dramatiq.cpu() + relay.cpu()
            began = time.perf_counter()
            _insert(engine, FIRST + 1, count)
            wait_until(lambda: _done(engine) == 1 + count, 300, about=f"{count} jobs")
            rate = count / (time.perf_counter() - began)
            cpu = (dramatiq.cpu() + relay.cpu() - before) / count * 1e6
            delay, total = _single(engine, FIRST + 10**6)
            engine.dispose()
    yield Row("jobs that do nothing", rate, "jobs/s", bare, 0.3, more={"worker and relay cpu µs": round(cpu)})
    yield Row("job start delay, p50", delay, "ms", at_most=50, more={"until done ms": total})


def _insert(engine: Engine, first: int, count: int) -> None:
    """As services.events does it: rows and the wake-up call in one transaction."""
    kind = {"name": NOTHING, "queue": "default", "args": {}, "max_attempts": 5}
    with engine.begin() as connection:
        connection.execute(
            insert(Job), [{**kind, "id": first + number, "run_at": _now(connection)} for number in range(count)]
        )
        connection.execute(text(f"NOTIFY {CHANNEL}"))


def _now(connection):  # type: ignore[no-untyped-def]
    return connection.info.setdefault("now", connection.scalar(select(func.now())))


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


def _bare(target: Vault, prefix: str, count: int) -> float:
    """Messages per second of dramatiq alone, published in transactions of 500 as the relay does."""
    counts = target.home / "counts"
    counts.write_bytes(bytes(SLOTS * 8))
    queue = f"{prefix}.bare"
    environ = {**target.environ, "BENCH_RABBITMQ": RABBITMQ, "BARE_QUEUE": queue, "BARE_COUNTS": str(counts)}
    command = ["bench.bare", "--processes", str(PROCESSES), "--threads", str(THREADS)]
    with _dramatiq(target, command, environ, "bare"), _channel() as channel:
        channel.tx_select()
        while _counted(counts) == 0:  # until the worker has made its queue, messages to it go nowhere
            _publish(channel, queue, 1)
            settle(0.2)
        before = _counted(counts)
        began = time.perf_counter()
        _publish(channel, queue, count)
        wait_until(lambda: _counted(counts) >= before + count - NEAR, 300, about=f"{count} bare messages")
        return count / (time.perf_counter() - began)


def _publish(channel: pika.adapters.blocking_connection.BlockingChannel, queue: str, count: int) -> None:
    import dramatiq

    for number in range(count):
        message = dramatiq.Message(queue_name=queue, actor_name="nothing", args=(number,), kwargs={}, options={})  # type: ignore[var-annotated]
        channel.basic_publish("", queue, message.encode(), pika.BasicProperties(delivery_mode=2))
        if number % 500 == 499:
            channel.tx_commit()
    channel.tx_commit()


def _counted(counts: Path) -> int:
    return sum(struct.unpack(f"<{SLOTS}Q", counts.read_bytes()))


@contextlib.contextmanager
def _channel() -> Iterator[pika.adapters.blocking_connection.BlockingChannel]:
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
            for name in (*QUEUES, "bare", "bare.DQ", "bare.XQ"):
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
