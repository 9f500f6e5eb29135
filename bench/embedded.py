"""The program of the row `jobs` for SQLite: the embedded runtime with one more kind of job, a no-op.

`python -m bench.embedded COUNT` prints JSON.
"""

import json
import statistics
import sys
import time

from sqlalchemy import func, insert, select
from sqlalchemy.engine import Row

from bench.kinds import NOTHING, know_nothing
from tasks.actors import job
from tasks.application import make_app
from tasks.embedded import start
from webapp.db import db, transaction
from webapp.infra.clock import now
from webapp.infra.wakeups import wake_relay
from webapp.models.jobs import Job
from webapp.services.jobs import StartedJob

FIRST = 10**12
SINGLE = 40
LIMIT = 300.0  # seconds

know_nothing()


@job(NOTHING)
def do_nothing(started: StartedJob) -> None:
    """The work."""


def queue(first: int, count: int) -> None:
    """As services.events does it: rows and the wake-up call in one transaction."""
    kind = {"name": NOTHING, "queue": "default", "args": {}, "max_attempts": 5, "run_at": now()}
    with transaction():
        db.session.execute(insert(Job), [{**kind, "id": first + number} for number in range(count)])
        wake_relay()


def ended(first: int, count: int) -> Row[tuple[int, object, object]]:
    """How many of them are done, and the latest start and end."""
    mine = (Job.id >= first) & (Job.id < first + count) & (Job.state == "done")
    with db.engine.connect() as connection:
        statement = select(func.count(), func.max(Job.started_at), func.max(Job.finished_at)).where(mine)
        return connection.execute(statement).one()


def wait(first: int, count: int, pause: float) -> Row[tuple[int, object, object]]:
    """Until all are done."""
    deadline = time.monotonic() + LIMIT
    while (found := ended(first, count))[0] < count:
        if time.monotonic() > deadline:
            raise TimeoutError(f"{found[0]} of {count} jobs are done")
        time.sleep(pause)
    return found


def measure(count: int) -> dict[str, float]:
    """A backlog worked off, and the wait of single jobs by the median."""
    queue(FIRST, 1)
    wait(FIRST, 1, 0.05)
    began = time.perf_counter()
    queue(FIRST + 1, count)
    wait(FIRST + 1, count, 0.05)
    rate = count / (time.perf_counter() - began)
    starts, ends = [], []
    for number in range(SINGLE):
        time.sleep(0.05)
        first = FIRST + 10**6 + number
        queue(first, 1)
        committed = time.time()
        _, started, finished = wait(first, 1, 0.002)
        starts.append((started.timestamp() - committed) * 1000)
        ends.append((finished.timestamp() - committed) * 1000)
    return {"rate": rate, "start": statistics.median(starts), "end": statistics.median(ends)}


if __name__ == "__main__":
    app = make_app()
    runtime = start(app)
    with app.app_context():
        print(json.dumps(measure(int(sys.argv[1]))), flush=True)
    runtime.stop()
