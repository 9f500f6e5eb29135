"""Row `access`: what it costs to know who may see what, in statements and in time, for somebody who owns nothing."""

import re
import time
from collections.abc import Iterator
from datetime import UTC, datetime

from sqlalchemy import create_engine, insert, select, update

from bench.load import fetch
from bench.processes import flask, settle, web
from bench.reads import kinds
from bench.rows import Row
from bench.vault import FIRST, NO_BROKER, PASSWORD, Vault, fill, vault
from webapp.models.files import File
from webapp.models.folders import Folder
from webapp.models.grants import Grant
from webapp.models.users import User

GUEST = "guest@harbour.example"
DEEP, EACH = 20, 5  # folders in one another, files in each
FEW, MANY = 50, 1000  # grants on that tree, and in all


def access(quick: bool) -> Iterator[Row]:
    """100,000 files, 1,000 grants to one person, 50 of them in a tree that is 20 folders deep."""
    count, times = (20_000, 100) if quick else (100_000, 500)
    for kind in kinds():
        with vault(kind, RABBITMQ_URL=NO_BROKER) as target:
            fill(target, count)
            who = ("--email", GUEST, "--name", "Guest", "--role", "member")
            flask(target.environ, "users", "create", *who, feed=f"{PASSWORD}\n")
            deepest = _share(target)
            with web(target.home, target.environ) as server:
                wish = {"email": GUEST, "password": PASSWORD}
                status, _, answer = fetch(f"{server.url}/api/v1/auth/login", body=wish)
                if status != 200:
                    raise RuntimeError(f"sign-in answered {status}: {answer}")
                headers = {"Authorization": f"Bearer {answer['access_token']}"}
                page = f"{server.url}/api/v1/shared?limit=100"
                spent = sorted(_time(page, headers) for _ in range(times))
                more = {"p50 ms": spent[times // 2], "files": count, "grants": MANY}
                yield Row(f"access: shared with me, {kind}: p95", spent[times * 95 // 100], "ms", at_most=50, more=more)
                yield Row(f"access: levels of 100 shared things, {kind}", _statements(page, headers), "statements",
                          at_most=3)  # fmt: skip
                inside = f"{server.url}/api/v1/files?limit=100&folder_id={deepest}"
                yield Row(f"access: files of a shared folder {DEEP} deep, {kind}", _statements(inside, headers),
                          "statements", at_most=3)  # fmt: skip
                me = f"{server.url}/api/v1/users/me"
                cold = _statements(me, headers, cold=True)
                yield Row(f"access: who asks, cold, {kind}", cold, "statements", at_most=1)
                yield Row(f"access: who asks, warm, {kind}", _statements(me, headers), "statements", at_most=0)


def _share(target: Vault) -> str:
    """Make the tree, put files into it, share; returns the public id of the deepest folder."""
    engine = create_engine(target.database.replace("postgresql://", "postgresql+psycopg2://"))
    moment, path, parent = datetime.now(UTC), "/", None
    with engine.begin() as connection:
        guest = connection.scalar(select(User.id).where(User.email == GUEST))
        owner = connection.scalar(select(File.owner_id).limit(1))
        for depth in range(DEEP):
            number = FIRST - DEEP + depth
            path, name = f"{path}{number}/", f"level {depth}"
            row = {"id": number, "owner_id": owner, "parent_id": parent, "path": path, "name": name, "name_key": name,
                   "sort_key": name, "created_at": moment, "updated_at": moment, "version": 1}  # fmt: skip
            connection.execute(insert(Folder), [row])
            inside = File.id.between(FIRST + depth * EACH, FIRST + depth * EACH + EACH - 1)
            connection.execute(update(File).where(inside).values(folder_id=number))
            parent = number
        folders = [{"folder_id": FIRST - DEEP + n, "file_id": None} for n in range(DEEP)]
        numbers = (*range(5000, 5000 + MANY - FEW), *range(FEW - DEEP))  # those of the tree last: on the first page
        files = [{"folder_id": None, "file_id": FIRST + n} for n in numbers]
        grants = [{**place, "id": FIRST + n, "user_id": guest, "level": 1 + n % 3, "created_at": moment,
                   "updated_at": moment, "version": 1} for n, place in enumerate([*files, *folders])]  # fmt: skip
        connection.execute(insert(Grant), grants)
        deepest = connection.scalar(select(Folder.uuid).where(Folder.id == parent))
    with engine.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
        connection.exec_driver_sql("ANALYZE")
    engine.dispose()
    return str(deepest)


def _time(url: str, headers: dict[str, str]) -> float:
    began = time.perf_counter()
    status, _, answer = fetch(url, headers)
    if status != 200 or len(answer["items"]) != 100:
        raise RuntimeError(f"{url} answered {status} with {len(answer.get('items', []))} things")
    return (time.perf_counter() - began) * 1000


def _statements(url: str, headers: dict[str, str], *, cold: bool = False) -> int:
    """The least that one of several requests cost, right after another one of the same person; `cold`, a good second
    after it, when only the settings have been read again, by somebody else.
    """
    costs = []
    for _ in range(3):
        if cold:
            settle(1.2)
        fetch(url, {} if cold else headers)
        _, told, _ = fetch(url, headers)
        found = re.search(r'db;.*desc="(\d+)"', told["Server-Timing"])
        costs.append(int(found[1]) if found else 0)
    return min(costs)
