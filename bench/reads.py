"""Rows `me`, `list` and `page`: requests per second against the bare probe, and server CPU of each request."""

import re
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass

import requests
from sqlalchemy import create_engine, select

from bench.load import Load, fetch, press
from bench.processes import Server, settle, web
from bench.rows import Row
from bench.vault import EMAIL, NO_BROKER, PASSWORD, Vault, cursor_after, fill, postgres_answers, vault
from webapp.models.users import User

ROUNDS = 2
DEEP = 10  # rows a page where page 10,000 is compared with page 1


@dataclass(frozen=True, slots=True)
class Best:
    """The best of the rounds; `cpu` is microseconds of the server's processes for each request."""

    load: Load
    cpu: float


def kinds() -> list[str]:
    """The databases of this machine."""
    return ["postgresql", "sqlite"] if postgres_answers() else ["sqlite"]


def measure(pairs: list[tuple[Server, str, dict[str, str]]], seconds: float) -> list[Best]:
    """Press each address in turn, several rounds, so that a slow moment of the machine hits all of them."""
    best: list[Best | None] = [None] * len(pairs)
    for server, url, headers in pairs:
        press(server.url + url, headers, 1)  # connections, plans and memories are warm
    for _ in range(ROUNDS):
        for number, (server, url, headers) in enumerate(pairs):
            settle(0.3)
            before = server.cpu()
            load = press(server.url + url, headers, seconds)
            found = Best(load, (server.cpu() - before) / load.requests * 1e6)
            last = best[number]
            best[number] = found if last is None or found.load.rate > last.load.rate else last
    return [found for found in best if found is not None]


def me(quick: bool) -> Iterator[Row]:
    """`GET /api/v1/users/me` with a bearer token."""
    yield from _against_probe(
        "me", "/api/v1/users/me", "/me", {"postgresql": (0.4, 700), "sqlite": (0.25, None)}, quick
    )


def list_files(quick: bool) -> Iterator[Row]:
    """25 of 100,000 files; and 10 of them on page 10,000 against page 1."""
    reach = {"postgresql": (0.35, 1250), "sqlite": (0.35, None)}
    yield from _against_probe("list 25", "/api/v1/files?limit=25", "/list", reach, quick)


def _against_probe(
    name: str, url: str, probe_url: str, reach: dict[str, tuple[float, float | None]], quick: bool
) -> Iterator[Row]:
    count, seconds = (20_000, 2.0) if quick else (100_000, 6.0)
    for kind in kinds():
        processes = 2 if kind == "postgresql" else 1  # embedded is one process
        with (
            vault(kind, **({"RABBITMQ_URL": NO_BROKER} if kind == "postgresql" else {})) as target,
            ExitStack() as stack,
        ):
            if name != "me":
                fill(target, count)
            server = stack.enter_context(web(target.home, target.environ, processes=processes))
            probe = stack.enter_context(_probe(target, processes))
            headers = target.headers(server.url)
            ours, bare = measure([(server, url, headers), (probe, probe_url, {})], seconds)
            least, cpu = reach[kind]
            more = {"cpu µs": round(ours.cpu), "probe cpu µs": round(bare.cpu), "p99 ms": ours.load.p99}
            yield Row(f"{name}, {kind}", ours.load.rate, "requests/s", bare.load.rate, least, more=more)
            if cpu is not None:
                yield Row(f"{name}, {kind}: server CPU", ours.cpu, "µs", at_most=cpu)
            if name != "me":
                yield _deep(kind, server, headers, count, seconds)


def _deep(kind: str, server: Server, headers: dict[str, str], count: int, seconds: float) -> Row:
    first = f"/api/v1/files?limit={DEEP}"
    _, _, page = fetch(server.url + first, headers)
    last = f"{first}&cursor={cursor_after(page['next_cursor'], count - DEEP - 1)}"
    near, deep = measure([(server, first, headers), (server, last, headers)], seconds)
    return Row(
        f"list {DEEP}, {kind}: page {count // DEEP:,} against page 1", deep.load.rate, "requests/s", near.load.rate, 0.8
    )


def _probe(target: Vault, processes: int):  # type: ignore[no-untyped-def]
    engine = create_engine(target.database.replace("postgresql://", "postgresql+psycopg2://"))
    with engine.connect() as connection:
        owner = connection.scalar(select(User.id))
    engine.dispose()
    place = target.database.removeprefix("sqlite:///")
    environ = {**target.environ, "PROBE_DATABASE": place, "PROBE_OWNER": str(owner)}
    return web(target.home, environ, "bench.probe:app", processes, "probe")


def page(quick: bool) -> Iterator[Row]:
    """The files page of a person: 50 rows of HTML."""
    for kind in kinds():
        with vault(kind, RABBITMQ_URL=NO_BROKER) as target:
            fill(target, 5000)
            with web(target.home, target.environ) as server:
                browser = sign_in(server.url)
                cookie = {"Cookie": "; ".join(f"{c.name}={c.value}" for c in browser.cookies)}
                answer = browser.get(f"{server.url}/files")
                shown = answer.text.count("Quarterly report")
                if answer.status_code != 200 or not shown:
                    raise RuntimeError(
                        f"/files answered {answer.status_code} with {shown} files: {server.log.read_text()[-1500:]}"
                    )
                (found,) = measure([(server, "/files", cookie)], 2.0 if quick else 6.0)
                queries = _queries(browser, server.url)
        more = {"requests/s": found.load.rate, "p99 ms": found.load.p99, "bytes": len(answer.content)}
        yield Row(f"files page, 50 rows, {kind}: server CPU", found.cpu / 1000, "ms", at_most=4, more=more)
        yield Row(f"files page, 50 rows, {kind}: queries", queries, "statements", at_most=6)


def _queries(browser: requests.Session, url: str) -> int:
    """The most statements that one of several requests made; they are over a second apart, so no memory helps."""
    most = 0
    for _ in range(3):
        settle(1.2)
        timing = browser.get(f"{url}/files").headers["Server-Timing"]
        found = re.search(r'db;.*desc="(\d+)"', timing)
        assert found, timing
        most = max(most, int(found[1]))
    return most


def sign_in(url: str) -> requests.Session:
    """A browser that has signed in by the form."""
    browser = requests.Session()
    found = re.search(r'name="csrf_token" value="([^"]+)"', browser.get(f"{url}/sign-in").text)
    assert found, "no sign-in form"
    wish = {"email": EMAIL, "password": PASSWORD, "csrf_token": found[1]}
    answer = browser.post(f"{url}/sign-in", data=wish, allow_redirects=False)
    if answer.status_code != 302:
        raise RuntimeError(f"sign-in answered {answer.status_code}")
    return browser
