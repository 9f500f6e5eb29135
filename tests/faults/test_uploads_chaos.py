"""The long run of promise 7: a server killed again and again under load; what it acknowledged is whole."""

import hashlib
import http.client
import json
import os
import random
import signal
import threading
import time
from contextlib import ExitStack
from pathlib import Path

import pytest

from tests.databases import KINDS, empty_database
from tests.faults.test_uploads_killed import assert_only_orphans_and_swept, looked_at, send
from tests.servers import children_of
from tests.test_serve import EMAIL, PASSWORD
from tests.test_serve import Vault as ServedVault

ROUNDS, WRITERS = 12, 4


def content_of(name: str) -> bytes:
    """The bytes that belong to a name: up to 4 MiB that nothing else has."""
    return hashlib.shake_128(name.encode()).digest(random.Random(name).randrange(4 * 1024 * 1024))


def write_until_it_dies(served: ServedVault, token: str, label: str, acknowledged: dict[str, str]) -> None:
    for number in range(10_000):
        name = f"{label}-{number}.bin"
        try:
            answer = send(served, token, f"/files?name={name}", content_of(name))
        except (OSError, http.client.HTTPException):
            return
        if answer.status == 201:
            acknowledged[name] = json.loads(answer.body)["id"]


@pytest.mark.chaos
@pytest.mark.timeout(900)
@pytest.mark.parametrize("kind", KINDS)
def test_a_server_killed_twelve_times_loses_no_acknowledged_file_and_shows_no_half_one(
    kind: str, tmp_path: Path
) -> None:
    chance, acknowledged = random.Random(7), dict[str, str]()
    with ExitStack() as stack:
        database = stack.enter_context(empty_database(kind, tmp_path))
        settings = {"DATABASE_URL": database, "ADMIN_EMAIL": EMAIL, "ADMIN_PASSWORD": PASSWORD}
        for round_ in range(ROUNDS):
            served = stack.enter_context(ServedVault(tmp_path / "var", **settings)).ready()
            arguments = [(served, served.token(), f"{round_}-{writer}", acknowledged) for writer in range(WRITERS)]
            writers = [threading.Thread(target=write_until_it_dies, args=each) for each in arguments]
            for writer in writers:
                writer.start()
            time.sleep(chance.uniform(0.3, 2.5))
            for process in (served.process.pid, *children_of(served.process.pid)):
                os.kill(process, signal.SIGKILL)
            served.process.wait(30)
            for writer in writers:
                writer.join(60)
        served = stack.enter_context(ServedVault(tmp_path / "var", **settings)).ready()
        token = served.token()
        for name, number in acknowledged.items():
            assert send(served, token, f"/files/{number}/content", method="GET").body == content_of(name), name
        assert len(acknowledged) > ROUNDS
        served.stop()
        with looked_at(tmp_path, database):
            assert_only_orphans_and_swept()
    print(f"{kind}: {ROUNDS} kills, {len(acknowledged)} acknowledged files, all whole")
