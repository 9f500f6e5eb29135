"""Promises 1 and 22: PostgreSQL dies under writers. What was acknowledged is there; errors end with the outage."""

import hashlib
import random
import signal
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from pathlib import Path

import psycopg2
import pytest

from tests.faults.clients import Client
from tests.faults.ledger import Ledger
from tests.servers import PrivatePostgres, wait_until
from tests.test_serve import EMAIL, PASSWORD
from tests.test_serve import Vault as ServedVault

pytestmark = pytest.mark.services
WRITERS, READERS, POOL = 4, 4, 6
HANG = 20.0  # seconds after the outage, ten times the promise


@pytest.fixture(scope="module")
def postgres() -> Iterator[PrivatePostgres]:
    with PrivatePostgres() as server:
        yield server


@pytest.fixture
def served(postgres: PrivatePostgres, tmp_path: Path) -> Iterator[ServedVault]:
    name = f"own_{time.monotonic_ns()}"
    line = psycopg2.connect(postgres.url)
    line.autocommit = True
    line.cursor().execute(f"CREATE DATABASE {name}")
    line.close()
    settings = {"DATABASE_URL": postgres.database(name), "ADMIN_EMAIL": EMAIL, "ADMIN_PASSWORD": PASSWORD,
                "DATABASE_POOL_SIZE": str(POOL), "WEB_THREADS": "24"}  # fmt: skip
    with ServedVault(tmp_path / "var", **settings) as vault:
        yield vault.ready()


@contextmanager
def busy(deeds: list[Callable[[threading.Event], None]]) -> Iterator[None]:
    """Each deed on a thread, until the block ends."""
    over = threading.Event()
    threads = [threading.Thread(target=deed, args=(over,)) for deed in deeds]
    for thread in threads:
        thread.start()
    try:
        yield
    finally:
        over.set()
        for thread in threads:
            thread.join(60)


def crash(postgres: PrivatePostgres, seconds: float) -> tuple[float, float]:
    """`pg_ctl stop -m immediate`, for so long; when it began and when it was over."""
    began = time.monotonic()
    postgres.stop(signal.SIGQUIT)
    time.sleep(seconds)
    postgres.start()
    return began, time.monotonic()


def writer(client: Client, label: str, kept: dict[str, str]) -> Callable[[threading.Event], None]:
    """Uploads one file after the other and remembers those that were acknowledged."""

    def write(over: threading.Event) -> None:
        number = 0
        while not over.wait(0.02):
            number += 1
            data = f"{label} {number}".encode() * random.randrange(1, 500)
            answer = client.ask("POST", f"/files?name={label}-{number}.bin", data)
            if answer is not None and answer.status == 201:
                kept[answer.json["id"]] = hashlib.sha256(data).hexdigest()

    return write


def reader(client: Client) -> Callable[[threading.Event], None]:
    """Lists one's files again and again."""

    def read(over: threading.Event) -> None:
        while not over.wait(0.02):
            client.ask("GET", "/files?limit=5")

    return read


def assert_kept(client: Client, kept: dict[str, str]) -> None:
    """Every acknowledged id answers with its bytes."""
    for number, digest in kept.items():
        answer = client.ask("GET", f"/files/{number}/content")
        assert answer is not None, number
        assert (answer.status, hashlib.sha256(answer.body).hexdigest()) == (200, digest), number


def lose_the_database(served: ServedVault, postgres: PrivatePostgres, times: int, seconds: float) -> None:
    """Under writers and readers; then all promises about it at once."""
    ledger, kept = Ledger(), dict[str, str]()
    client = Client(served.port, ledger, served.token())
    deeds = [writer(client, f"w{n}", kept) for n in range(WRITERS)] + [reader(client) for _ in range(READERS)]
    outages = []
    with busy(deeds):
        for _ in range(times):
            before = len(kept)
            wait_until(lambda before=before: len(kept) > before + 20, about="writes")  # type: ignore[misc]
            outages.append(crash(postgres, seconds))
        before = len(kept)
        wait_until(lambda: len(kept) > before + 20, HANG, about="writes after the last outage")
    assert_kept(client, kept)
    failed = [call for call in ledger.calls if call.status >= 500 or call.status == 0]
    assert {call.status for call in failed} <= {503}, failed
    assert failed, "nobody felt it"
    last = max(call.ended - outages[-1][1] for call in failed)
    print(f"{times} outages of {seconds} s, {len(kept)} acknowledged, {len(failed)} × 503, the last {last:.2f} s after")
    late = [call for call in failed if all(call.ended < began or call.begun > ended + HANG for began, ended in outages)]
    assert late == []
    assert_pool_is_whole(served, client, postgres)


def assert_pool_is_whole(served: ServedVault, client: Client, postgres: PrivatePostgres) -> None:
    """As many connections as the pool may hold are to be had at once, and when it is quiet no more than it keeps."""
    with busy([reader(client) for _ in range(3 * POOL)]):
        time.sleep(1)
    assert all(call.status == 200 for call in client.ledger.calls[-3 * POOL :])
    count = "SELECT count(*) FROM pg_stat_activity WHERE application_name = 'holdfast' AND query NOT LIKE 'LISTEN%'"
    with closing(psycopg2.connect(postgres.url)) as line, line.cursor() as cursor:
        line.autocommit = True

        def kept() -> int:
            cursor.execute(count)
            return int(cursor.fetchone()[0])

        # the clerk and the pulse keep lines of their own; the last answers may still be on their way
        wait_until(lambda: kept() <= POOL + 2, 20, about="the pool to return to its size")
    assert not served.ended


def test_a_database_that_dies_loses_nothing_acknowledged_and_errors_end_with_the_outage(
    served: ServedVault, postgres: PrivatePostgres
) -> None:
    lose_the_database(served, postgres, times=3, seconds=1)


@pytest.mark.chaos
@pytest.mark.timeout(600)
def test_a_database_that_is_away_for_ten_seconds_is_no_more_than_that(
    served: ServedVault, postgres: PrivatePostgres
) -> None:
    lose_the_database(served, postgres, times=5, seconds=10)
