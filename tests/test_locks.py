"""Promise 13: a dead holder frees its lock, a stale one cannot write. On Redis, PostgreSQL and rows alike."""

import io
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from unittest.mock import Mock

import pytest
from flask import Flask
from flask.testing import FlaskClient

from webapp.config import Settings, current_settings, use_settings
from webapp.db import transaction
from webapp.errors import Conflict, Locked
from webapp.infra.locks import AdvisoryLock, Held, RedisLock, RowLock, _issue, _new, locked
from webapp.infra.storage import LocalStore
from webapp.policies import Actor
from webapp.services import blobs, files, inspections, scrubs

from .servers import PrivateRedis
from .vault import Vault

ROOT = Path(__file__).parent.parent
HOLDER = """
import os, sys, time
from webapp.app import create_app
from webapp.config import load_settings
from webapp.db import transaction
from webapp.errors import HoldfastError
from webapp.infra.locks import locked
with create_app(load_settings()).app_context():
    with locked("deed", ttl=float(sys.argv[1])) as held:
        print("held", held.fence, flush=True)
        sys.stdin.readline()
        try:
            with transaction():
                held.guard()
            print("written", flush=True)
        except HoldfastError as error:
            print(error.code, flush=True)
"""


@pytest.fixture(scope="module")
def server() -> Iterator[PrivateRedis]:
    with PrivateRedis() as server:
        yield server


@pytest.fixture(params=["database", "redis"])
def kind(request: pytest.FixtureRequest, app: Flask) -> Iterator[type[Held]]:
    """Rows on SQLite, advisory locks on PostgreSQL, and Redis above both."""
    settings = current_settings()
    if request.param == "redis":
        use_settings(_with(settings, redis_url=request.getfixturevalue("server").url))
        yield RedisLock
    else:
        yield RowLock if settings.sqlite else AdvisoryLock
    use_settings(settings)


def _with(settings: Settings, **changes: str) -> Settings:
    return Settings.model_validate({**settings.model_dump(), **changes})


def holder(ttl: float) -> subprocess.Popen[str]:
    """Another process that takes the lock and waits for a line before it writes."""
    settings = current_settings()
    environment = {
        **os.environ,
        "APP_ENV": "test",
        "VAR_DIR": str(settings.var_dir),
        "DATABASE_URL": settings.database_url.get_secret_value(),
        "REDIS_URL": settings.redis_url.get_secret_value() if settings.redis_url else "",
    }
    command = [sys.executable, "-c", HOLDER, str(ttl)]
    process = subprocess.Popen(
        command, cwd=ROOT, env=environment, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    assert process.stdout is not None
    assert process.stdout.readline().startswith("held")
    return process


def test_the_right_kind_of_lock_is_chosen(kind: type[Held]) -> None:
    with locked("deed") as held:
        assert type(held) is kind


def test_one_at_a_time_and_fences_grow(app: Flask, kind: type[Held]) -> None:
    inside, most, fences = [0], [0], []

    def work(_: int) -> None:
        with app.app_context(), locked("deed", wait=30) as held:
            inside[0] += 1
            most[0] = max(most[0], inside[0])
            time.sleep(0.01)
            fences.append(held.fence)
            inside[0] -= 1

    with ThreadPoolExecutor(8) as pool:
        list(pool.map(work, range(24)))
    assert most == [1]
    assert fences == sorted(set(fences))
    assert len(fences) == 24


def test_waiting_is_bounded_and_other_names_are_free(app: Flask, kind: type[Held]) -> None:
    def other(name: str, wait: float) -> str:
        with app.app_context():
            try:
                with locked(name, wait=wait):
                    return "taken"
            except Locked as error:
                return f"{error.status} {error.retry_after}"

    with locked("deed"), ThreadPoolExecutor(1) as pool:
        assert pool.submit(other, "deed", 0).result() == "423 1.0"
        assert pool.submit(other, "deed", 0.3).result() == "423 1.0"
        assert pool.submit(other, "another", 0).result() == "taken"
    assert other("deed", 0) == "taken"


def test_ten_who_want_it_again_and_again_all_get_their_share(app: Flask, kind: type[Held]) -> None:
    """Nobody is passed over: not by those who have just left, nor by those who came later."""
    end, shares = time.monotonic() + 3, [0] * 10

    def work(number: int) -> None:
        with app.app_context():
            while time.monotonic() < end:
                with locked("deed", wait=30):
                    shares[number] += 1
                    time.sleep(0.02)

    with ThreadPoolExecutor(10) as pool:
        list(pool.map(work, range(10)))
    assert min(shares) >= sum(shares) / 10 / 3, shares


def test_ten_who_wait_too_long_all_give_up_in_time_and_leave_nothing_behind(app: Flask, kind: type[Held]) -> None:
    def wait(_: int) -> float:
        begun = time.monotonic()
        with app.app_context(), pytest.raises(Locked), locked("deed", wait=0.5):
            pass
        return time.monotonic() - begun

    with locked("deed"), ThreadPoolExecutor(10) as pool:
        assert max(pool.map(wait, range(10))) < 5
    with locked("deed", wait=0) as held:
        assert held.fence >= 2


def test_a_killed_holder_frees_its_lock_within_its_time(kind: type[Held]) -> None:
    process = holder(3)
    process.kill()
    process.communicate()
    with locked("deed", wait=20) as held:
        assert held.fence >= 2


def test_a_holder_that_slept_too_long_cannot_write(kind: type[Held]) -> None:
    process = holder(1.5)
    process.send_signal(signal.SIGSTOP)
    with locked("deed", wait=20) as held, transaction():
        held.guard()
    process.send_signal(signal.SIGCONT)
    printed, _ = process.communicate("\n", timeout=30)
    assert printed == "lock_lost\n"


def test_a_holder_in_time_writes(kind: type[Held]) -> None:
    printed, _ = holder(30).communicate("\n", timeout=30)
    assert printed == "written\n"


def test_a_lock_that_is_prolonged_outlives_its_time(app: Flask, kind: type[Held]) -> None:
    def try_it() -> bool:
        with app.app_context():
            try:
                with locked("deed", wait=0):
                    return True
            except Locked:
                return False

    with locked("deed", ttl=1.0) as held, ThreadPoolExecutor(1) as pool:
        for _ in range(10):
            time.sleep(0.25)
            held.keep()
            assert not pool.submit(try_it).result()


def test_a_lock_is_not_taken_inside_a_transaction(kind: type[Held]) -> None:
    with transaction(), pytest.raises(RuntimeError, match="inside a transaction"), locked("deed"):
        pass


def test_when_redis_dies_the_row_takes_over_and_the_old_holder_is_fenced_off(app: Flask) -> None:
    settings = current_settings()
    with PrivateRedis() as server:
        use_settings(_with(settings, redis_url=server.url))
        with locked("deed") as old:
            server.kill()
            with locked("deed", wait=5) as new, transaction():
                new.guard()
            with pytest.raises(Conflict, match="went to somebody else"), transaction():
                old.guard()
    use_settings(settings)


def test_two_uploads_of_one_file_do_not_mix(
    app: Flask, client: FlaskClient, member: Actor, bearer: Callable[[Actor], dict[str, str]]
) -> None:
    headers = bearer(member)
    file = client.post("/api/v1/files", data={"file": (io.BytesIO(b"one"), "a.txt")}, headers=headers).json
    content = f"/api/v1/files/{file['id']}/content"
    with files.hold_content(file["id"]):
        answers: list[int] = []

        def put() -> None:
            answers.append(app.test_client().put(content, data=b"two", headers=headers).status_code)

        thread = threading.Thread(target=put)
        thread.start()
        thread.join()
        assert answers == [423]
    assert client.put(content, data=b"two", headers=headers).status_code == 200


def test_an_upload_that_lost_its_lock_writes_nothing(
    client: FlaskClient, member: Actor, bearer: Callable[[Actor], dict[str, str]], monkeypatch: pytest.MonkeyPatch
) -> None:
    headers = bearer(member)
    file = client.post("/api/v1/files", data={"file": (io.BytesIO(b"one"), "a.txt")}, headers=headers).json
    monkeypatch.setattr(Held, "fence", 0, raising=False)
    keep = RowLock.take

    def overtaken(self: Held, wait: float) -> bool:
        taken = keep(RowLock(self.name, self.ttl), wait)
        self.fence = -1
        return taken

    for kind in (RowLock, AdvisoryLock, RedisLock):
        monkeypatch.setattr(kind, "take", overtaken)
    answer = client.put(f"/api/v1/files/{file['id']}/content", data=b"two", headers=headers)
    assert (answer.status_code, answer.json["code"]) == (409, "lock_lost")
    assert client.get(f"/api/v1/files/{file['id']}/content", headers=headers).data == b"one"


def test_moves_of_one_owner_wait_for_each_other(app: Flask, member: Actor) -> None:
    from webapp.services.folders import FolderChange, NewFolder, change_folder, create_folder

    one, two = (create_folder(member, NewFolder(name=name)) for name in ("one", "two"))

    def move(pair: tuple[object, object]) -> str:
        with app.app_context():
            try:
                change_folder(member, pair[0], FolderChange(parent_id=pair[1]))  # type: ignore[arg-type]
            except Conflict as error:
                return error.code
            return "moved"

    with ThreadPoolExecutor(2) as pool:
        with locked(f"tree:{member.id}"):
            waiting = pool.submit(move, (one.id, None))
            time.sleep(0.3)
            assert not waiting.done()
        assert waiting.result() == "moved"
        outcome = sorted(pool.map(move, [(one.id, two.id), (two.id, one.id)]))
    assert outcome == ["cycle", "moved"]


def test_a_second_sweep_and_a_second_scrub_are_refused_while_one_runs(app: Flask, kind: type[Held]) -> None:
    for name, deed in (("sweep", blobs.sweep_blobs), ("scrub", lambda: scrubs.scrub_blobs(Mock()))):
        with locked(name), pytest.raises(Locked):
            deed()
        deed()


def test_a_scrub_that_lost_its_lock_marks_nothing(
    vault: Vault, kind: type[Held], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its worker slept until the job was given to another, which is the newest holder now."""
    file = vault.upload("a.txt", b"whole")

    def overtaken(*_: object) -> bool:
        assert _issue(_new("scrub", 60), only_free=False)
        return False

    monkeypatch.setattr(scrubs, "_is_whole", overtaken)
    with pytest.raises(Conflict, match="went to somebody else"):
        scrubs.scrub_blobs(Mock())
    assert vault.content(file["id"]).data == b"whole"


def test_a_scrub_keeps_its_lock_while_it_reads_one_large_content(
    vault: Vault, kind: type[Held], monkeypatch: pytest.MonkeyPatch
) -> None:
    vault.upload("a.txt", b"x" * 4096)
    kept: list[str] = []
    monkeypatch.setattr(Held, "keep", lambda held: kept.append(held.name))
    monkeypatch.setattr(inspections, "REPORT_EVERY", 0)
    monkeypatch.setattr(LocalStore, "read", lambda *_: iter([b"x" * 1024] * 4))
    scrubs.scrub_blobs(Mock())
    assert kept == ["scrub"] * 4
