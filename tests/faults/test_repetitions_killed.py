"""Promise 15: the same POST twenty times at once while the server is killed is one POST, with one answer."""

import json
import os
import signal
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from pathlib import Path

import pytest

from tests.databases import KINDS, empty_database
from tests.faults.clients import Client
from tests.faults.deeds import send
from tests.faults.ledger import Ledger, Post
from tests.servers import descendants_of
from tests.test_serve import EMAIL, PASSWORD
from tests.test_serve import Vault as ServedVault

TWINS = 20


def kill_in_the_middle(kind: str, folder: Path, rounds: int) -> None:
    """In every round twenty twins are under way when all processes of the vault die; afterwards they ask again."""
    names = [f"Harbour {n}" for n in range(rounds)]
    posts = [Post(f"key-{name[8:]}", "/folders", json.dumps({"name": name}).encode(), "folder", name) for name in names]
    with ExitStack() as stack:
        database = stack.enter_context(empty_database(kind, folder))
        settings = {"DATABASE_URL": database, "ADMIN_EMAIL": EMAIL, "ADMIN_PASSWORD": PASSWORD}
        served = stack.enter_context(ServedVault(folder / "var", **settings)).ready()
        for number, post in enumerate(posts):
            client = Client(served.port, Ledger(), served.token())
            with ThreadPoolExecutor(TWINS) as pool:
                for _ in range(TWINS):
                    pool.submit(send, client, post)
                time.sleep(0.02 * (number + 1))
                for pid in [*descendants_of(served.process.pid), served.process.pid]:
                    os.kill(pid, signal.SIGKILL)
            served.process.wait(30)
            served = stack.enter_context(ServedVault(folder / "var", **settings)).ready()
            client = Client(served.port, Ledger(), served.token())
            with ThreadPoolExecutor(TWINS) as pool:
                list(pool.map(lambda _, c=client, p=post: send(c, p), range(TWINS)))
            known = len(post.answers)
            send(client, post)
            assert len(post.answers) == known + 1 > 1, "a repetition is answered like the first"
        assert [len(set(post.answers)) for post in posts] == [1] * rounds
        made = [item["name"] for item in served.items("/api/v1/folders?limit=100", served.token())]
        assert sorted(made) == sorted(names)


@pytest.mark.parametrize("kind", KINDS)
def test_twenty_twins_and_a_kill_in_the_middle_make_one_folder_and_one_answer(kind: str, tmp_path: Path) -> None:
    kill_in_the_middle(kind, tmp_path, 3)


@pytest.mark.chaos
@pytest.mark.timeout(900)
@pytest.mark.parametrize("kind", KINDS)
def test_twenty_twins_killed_in_twenty_places_make_one_folder_and_one_answer(kind: str, tmp_path: Path) -> None:
    kill_in_the_middle(kind, tmp_path, 20)
