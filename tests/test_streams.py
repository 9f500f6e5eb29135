"""Event streams: who hears what, resuming, ending, limits; on the tables alone and through Redis."""

import dataclasses
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from flask import Flask
from flask.testing import FlaskClient
from hypothesis import example, given
from hypothesis import strategies as st

from tasks.embedded import run_due_jobs
from tests.plumbing import make_app, make_person
from tests.servers import PrivateRedis, wait_until
from tests.streaming import Ear, Floor
from tests.vault import Vault
from webapp import streams as asgi
from webapp.infra import hubs, ids
from webapp.infra.news import mark_of, text_of
from webapp.policies import Actor
from webapp.services import news
from webapp.services.events import SUBSCRIPTIONS
from webapp.streams import Streams

from .conftest import PASSWORD, csrf_of

JOBS = len(SUBSCRIPTIONS["file.created"]) - 1  # of each upload: without a scanner, no scan


@pytest.fixture(scope="module")
def redis() -> Iterator[PrivateRedis]:
    with PrivateRedis() as server:
        yield server


@pytest.fixture(params=["tables", "redis"])
def web(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Flask]:
    """An application on SQLite whose news come from the tables, or through Redis."""
    extra = {"REDIS_URL": request.getfixturevalue("redis").url} if request.param == "redis" else {}
    ids._forget()
    yield make_app(tmp_path, **extra)
    ids._forget()


@pytest.fixture
def capacity() -> int:
    return 100


@pytest.fixture
def floor(web: Flask, capacity: int) -> Iterator[Floor]:
    floor = Floor(Streams(web, capacity))
    yield floor
    floor.close()


@pytest.fixture
def pia(web: Flask) -> dict[str, str]:
    return sign_in(web, make_person(web, "pia"))


@pytest.fixture
def otto(web: Flask) -> dict[str, str]:
    return sign_in(web, make_person(web, "otto"))


def sign_in(web: Flask, actor: Actor) -> dict[str, str]:
    answer = web.test_client().post("/api/v1/auth/login", json={"email": actor.email, "password": PASSWORD})
    return {"Authorization": f"Bearer {answer.json['access_token']}"}


def upload(web: Flask, headers: dict[str, str], name: str) -> str:
    """Store a file; returns its id."""
    answer = web.test_client().post(f"/api/v1/files?name={name}", data=b"berth 7", headers=headers,
                                    content_type="text/plain")  # fmt: skip
    assert answer.status_code == 201, answer.text
    return str(answer.json["id"])


def ended_jobs(ear: Ear, file_id: str) -> int:
    return len([e for e in ear.events if e.data.get("target_id") == file_id and e.data.get("state") == "done"])


# What is heard --------------------------------------------------------------------------------------------------------


def test_a_listener_hears_of_its_file_and_of_the_jobs_to_their_end(
    web: Flask, floor: Floor, pia: dict[str, str]
) -> None:
    ear = floor.listen(pia)
    assert ear.headers["content-type"].startswith("text/event-stream")
    assert ear.headers["cache-control"] == "no-store"
    assert ear.headers["x-request-id"]
    ear.await_event("sync")
    assert ear.text.startswith("retry: ")
    file_id = upload(web, pia, "report.txt")
    ear.await_event("file.changed", id=file_id, what="created")
    ear.await_event("job.changed", target_id=file_id, state="queued")
    run_due_jobs(web)
    wait_until(lambda: ended_jobs(ear, file_id) == JOBS, 20, about="the ends of its jobs")
    assert {event.data["progress"] for event in ear.events if event.data.get("state") == "done"} == {100}


def test_nobody_hears_of_anothers_files_and_jobs(
    web: Flask, floor: Floor, pia: dict[str, str], otto: dict[str, str]
) -> None:
    hers, his = floor.listen(pia), floor.listen(otto)
    secret, own = upload(web, pia, "secret.txt"), upload(web, otto, "own.txt")
    run_due_jobs(web)
    for ear, heard, unheard in ((hers, secret, own), (his, own, secret)):
        wait_until(lambda ear=ear, heard=heard: ended_jobs(ear, heard) == JOBS, 20)  # type: ignore[misc]
        assert unheard not in ear.text


def test_a_job_that_fails_for_good_is_also_a_notification(web: Flask, floor: Floor, pia: dict[str, str]) -> None:
    ear = floor.listen(pia)
    answer = web.test_client().post("/api/v1/files?name=broken.jpg", data=b"\xff\xd8\xff\xe0 no picture at all",
                                    headers=pia, content_type="image/jpeg")  # fmt: skip
    run_due_jobs(web)
    failed = ear.await_event("job.changed", target_id=answer.json["id"], state="failed")
    ear.await_event("notification", kind="job.failed", id=failed.data["id"])


def test_cancelling_and_running_again_are_told(web: Flask, floor: Floor, pia: dict[str, str]) -> None:
    ear = floor.listen(pia)
    upload(web, pia, "later.txt")
    job = ear.await_event("job.changed", state="queued").data["id"]
    for deed, state in (("cancellation", "cancelled"), ("replay", "queued")):
        seen = len(ear.events)
        assert web.test_client().post(f"/api/v1/jobs/{job}/{deed}", headers=pia).status_code == 200
        wait_until(lambda seen=seen, state=state: any(  # type: ignore[misc]
            e.data.get("id") == job and e.data.get("state") == state for e in ear.events[seen:]), 20)  # fmt: skip


def test_what_is_rolled_back_is_not_told(web: Flask, floor: Floor, pia: dict[str, str]) -> None:
    ear = floor.listen(pia)
    upload(web, pia, "once.txt")
    ear.await_event("file.changed")
    answer = web.test_client().post("/api/v1/files?name=once.txt", data=b"twice", headers=pia)
    assert answer.status_code == 409
    last = upload(web, pia, "last.txt")
    ear.await_event("file.changed", id=last)
    assert ear.types().count("file.changed") == 2


def test_events_that_one_may_not_hear_are_left_out(member: Actor) -> None:
    assert news.types_for(member) == set(news.HEARD_WITH)
    blind = dataclasses.replace(member, permissions=member.permissions - {"files.read"})
    assert news.types_for(blind) == {"job.changed", "notification"}


def test_on_either_database_listeners_hear_through_the_tables(app: Flask, vault: Vault) -> None:
    app.extensions.pop("holdfast.hub", None)
    floor = Floor(Streams(app))
    try:
        ear = floor.listen(vault.headers)
        ear.await_event("sync")
        file_id = vault.upload("report.txt", b"some bytes")["id"]
        run_due_jobs(app)
        wait_until(lambda: ended_jobs(ear, file_id) == JOBS, 20, about="the ends of its jobs")
        ear.await_event("file.changed", id=file_id)
    finally:
        floor.close()
        app.extensions.pop("holdfast.hub", None)


# Resuming -------------------------------------------------------------------------------------------------------------


def test_who_comes_back_with_the_last_event_misses_nothing_and_hears_nothing_twice(
    web: Flask, floor: Floor, pia: dict[str, str]
) -> None:
    first = floor.listen(pia)
    upload(web, pia, "one.txt")
    run_due_jobs(web)
    wait_until(lambda: len([e for e in first.events if e.data.get("state") == "done"]) == JOBS, 20)
    last = first.events[-1].id
    first.leave()  # type: ignore[attr-defined]
    assert first.over.wait(20)
    missed = upload(web, pia, "two.txt")
    run_due_jobs(web)
    time.sleep(1.5)  # so that the tables were looked at while nobody listened
    second = floor.listen(pia, last)
    wait_until(lambda: ended_jobs(second, missed) == JOBS, 20)
    assert "sync" not in second.types()
    assert not {event.id for event in first.events} & {event.id for event in second.events}
    marks = [mark_of(event.id) for event in second.events]
    assert marks == sorted(marks)  # type: ignore[type-var]


def test_the_place_in_the_history_is_known_from_the_first_event_on(
    web: Flask, floor: Floor, pia: dict[str, str]
) -> None:
    first = floor.listen(pia)
    begin = first.await_event("sync").id
    first.leave()  # type: ignore[attr-defined]
    assert first.over.wait(20)
    file_id = upload(web, pia, "between.txt")
    second = floor.listen(pia, begin)
    second.await_event("file.changed", id=file_id)
    assert "sync" not in second.types()


@pytest.mark.parametrize("last", ["", "1-1", "nonsense", "99999999999999999999-0", "1-2-3", "-1-1", "1 OR 1=1"])
def test_who_comes_with_an_event_that_nobody_knows_is_told_to_read_again(
    floor: Floor, pia: dict[str, str], last: str
) -> None:
    assert floor.listen(pia, last).await_event("sync")


def test_a_history_longer_than_is_kept_is_answered_by_sync(
    web: Flask, floor: Floor, pia: dict[str, str], person_id: Callable[[str], int]
) -> None:
    first = floor.listen(pia)
    begin = first.await_event("sync").id
    board, owner = news.board(), person_id("pia")
    pieces = [news.News(owner, "file.changed", '{"id":"x","what":"moved"}')] * 450
    board.post(pieces) if hasattr(board, "post") else board.tell(pieces)
    board.flush(10)
    assert floor.listen(pia, begin).await_event("sync")


@pytest.fixture
def person_id(web: Flask) -> Callable[[str], int]:
    """The internal id of an account."""

    def find(name: str) -> int:
        from webapp.models.users import live_user_by_email

        with web.app_context():
            from webapp.db import db

            return int(db.session.scalar(live_user_by_email(f"{name}@harbour.example")).id)

    return find


@given(st.text(max_size=50))
@example("1-1")
@example("18446744073709551616-0")
@example("٣-٣")
def test_a_mark_is_read_as_it_was_written_and_nothing_else_is_one(text: str) -> None:
    mark = mark_of(text)
    assert mark is None or (max(mark) < 2**64 and mark_of(text_of(mark)) == mark)


# Ending ---------------------------------------------------------------------------------------------------------------


def test_signing_out_ends_the_stream_and_no_other(
    web: Flask, floor: Floor, pia: dict[str, str], otto: dict[str, str]
) -> None:
    hers, his = floor.listen(pia), floor.listen(otto)
    assert web.test_client().post("/api/v1/auth/logout", headers=pia).status_code == 204
    assert hers.over.wait(20)
    assert floor.call(pia).status == 401
    assert not his.over.is_set()
    file_id = upload(web, otto, "still.txt")
    his.await_event("file.changed", id=file_id)


def test_a_browser_listens_with_its_cookie_until_it_signs_out(web: Flask, floor: Floor) -> None:
    make_person(web, "pia")
    browser: FlaskClient = web.test_client()
    token = csrf_of(browser.get("/sign-in").text)
    form = {"email": "pia@harbour.example", "password": PASSWORD, "csrf_token": token}
    assert browser.post("/sign-in", data=form).status_code == 302
    cookie = {"Cookie": f"session={browser.get_cookie('session').value}"}  # type: ignore[union-attr]
    ear = floor.call(cookie, "/events")
    assert ear.status == 200
    ear.await_event("sync")
    browser.post("/sign-out", data={"csrf_token": csrf_of(browser.get("/files").text)})
    assert ear.over.wait(20)
    assert floor.call(cookie, "/events").status == 401


def test_a_stream_ends_with_the_token_that_opened_it(floor: Floor, web: Flask, pia: dict[str, str]) -> None:
    ear = floor.listen(pia)
    (listener,) = floor.streams.hub._everybody()
    assert listener.wish.expires_at
    assert 800 < listener.wish.expires_at - time.time() <= 900
    listener.wish = dataclasses.replace(listener.wish, expires_at=time.time() + 0.5)
    assert ear.over.wait(20)


def test_who_leaves_frees_the_seat(floor: Floor, pia: dict[str, str]) -> None:
    ear = floor.listen(pia)
    assert len(floor.streams.hub) == 1
    ear.leave()  # type: ignore[attr-defined]
    wait_until(lambda: len(floor.streams.hub) == 0, 20)


def test_a_comment_comes_while_nothing_happens(
    floor: Floor, pia: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    assert asgi.HEARTBEAT_EVERY <= 15
    monkeypatch.setattr(asgi, "HEARTBEAT_EVERY", 0.05)
    ear = floor.listen(pia)
    wait_until(lambda: ear.text.count(": still here\n\n") >= 3, 20)


def test_a_client_that_does_not_read_is_dropped_and_resumes_later(
    web: Flask, floor: Floor, pia: dict[str, str], person_id: Callable[[str], int]
) -> None:
    slow, quick = floor.listen(pia), floor.listen(pia)
    last = slow.await_event("sync").id
    slow.reading.clear()
    board, owner = news.board(), person_id("pia")
    for number in range(hubs.QUEUE + 50):
        piece = [news.News(owner, "file.changed", f'{{"id":"{number}","what":"moved"}}')]
        board.post(piece) if hasattr(board, "post") else board.tell(piece)
        if number % 40 == 0:
            quick.await_event("file.changed", id=str(number))
    quick.await_event("file.changed", id=str(hubs.QUEUE + 49))
    assert slow.over.wait(20)
    assert not quick.over.is_set()
    slow.reading.set()
    again = floor.listen(pia, last)
    again.await_event("file.changed", id=str(hubs.QUEUE + 49))
    assert "sync" not in again.types()


def test_a_stopping_process_ends_its_streams_and_opens_none(floor: Floor, pia: dict[str, str]) -> None:
    ear = floor.listen(pia)
    floor.streams.hub.close()
    assert ear.over.wait(20)
    assert floor.call(pia).status == 503


# Refusals -------------------------------------------------------------------------------------------------------------


def test_nobody_and_unknown_addresses_are_refused_like_anywhere(floor: Floor, pia: dict[str, str]) -> None:
    assert floor.call({}).status == 401
    assert floor.call({"Authorization": "Bearer nonsense"}).status == 401
    assert floor.call({}, "/events").status == 401
    assert floor.call(pia, query="x=1").status == 422
    assert floor.call(pia, method="POST").status == 405
    assert floor.call(pia, "/files").status == 404
    assert floor.call({}, "/health/live").status == 200
    head = floor.call(pia, method="HEAD")
    assert head.over.wait(20)
    assert (head.status, head.text, len(floor.streams.hub)) == (200, "", 0)


@pytest.mark.parametrize("capacity", [16, 30])
def test_one_account_cannot_take_all_the_room_and_a_full_house_says_so(
    floor: Floor, pia: dict[str, str], otto: dict[str, str]
) -> None:
    hub = floor.streams.hub
    while len(hub) < hub.capacity // 2 and (last := floor.call(pia)).status == 200:
        pass
    assert (last.status, last.headers["retry-after"]) == (429, "30")
    hers = len(hub)
    assert hub.capacity // 4 <= hers <= hub.capacity * 2 // 5
    floor.listen(otto)
    hub.capacity = len(hub)
    full = floor.call(otto)
    assert (full.status, full.headers["retry-after"]) == (503, "30")
    assert "urn:holdfast:problem:unavailable" in full.text


@pytest.mark.parametrize("capacity", [2])
def test_where_there_is_room_for_two_two_accounts_may_listen(
    floor: Floor, pia: dict[str, str], otto: dict[str, str]
) -> None:
    floor.listen(pia)
    assert floor.call(pia).status == 429
    floor.listen(otto)


# Redis goes and comes -------------------------------------------------------------------------------------------------


@pytest.fixture
def fragile(tmp_path: Path) -> Iterator[tuple[Flask, PrivateRedis]]:
    with PrivateRedis() as server:
        ids._forget()
        yield make_app(tmp_path, REDIS_URL=server.url), server
        ids._forget()


def test_when_redis_dies_streams_end_and_who_comes_back_reads_again(fragile: tuple[Flask, PrivateRedis]) -> None:
    web, server = fragile
    pia = sign_in(web, make_person(web, "pia"))
    floor = Floor(Streams(web))
    ear = floor.listen(pia)
    upload(web, pia, "before.txt")
    last = ear.await_event("job.changed", state="queued").id
    server.kill()
    assert ear.over.wait(30)
    assert floor.call(pia).status == 503
    file_id = upload(web, pia, "during.txt")
    run_due_jobs(web)  # their ends are told to nobody
    server.start()

    def back() -> bool:
        again.append(floor.call(pia | {"Last-Event-ID": last}))
        return again[-1].status == 200

    again: list[Ear] = []
    wait_until(back, 30, about="streams to open again")
    again[-1].await_event("sync")
    jobs = web.test_client().get(f"/api/v1/files/{file_id}/jobs", headers=pia).json["items"]
    assert {job["state"] for job in jobs} == {"done"}
    floor.close()


def test_who_came_back_before_the_teller_is_told_what_was_lost(fragile: tuple[Flask, PrivateRedis]) -> None:
    """The process that tells rests for some seconds after a failure; the listener may be back sooner."""
    web, _ = fragile
    pia = sign_in(web, make_person(web, "pia"))
    floor = Floor(Streams(web))
    ear = floor.listen(pia)
    ear.await_event("sync")
    board = news.board()
    assert isinstance(board, news.FarBoard)
    board.redis.rest()  # as after a failure that the listeners did not see
    upload(web, pia, "lost.txt")
    wait_until(lambda: ear.types().count("sync") == 2, 20, about="being told to read again")
    assert "file.changed" not in ear.types()
    floor.close()


def test_a_redis_that_hangs_holds_no_request_up(fragile: tuple[Flask, PrivateRedis]) -> None:
    web, server = fragile
    pia = sign_in(web, make_person(web, "pia"))
    board = news.board()
    took: list[float] = []

    def tell() -> None:
        began = time.monotonic()
        for _ in range(50):
            board.tell([news.News(1, "file.changed", "{}")])
        took.append(time.monotonic() - began)

    server.pause()
    try:
        teller = threading.Thread(target=tell)
        teller.start()
        teller.join(30)
        assert took
        assert took[0] < 1.0  # one question to Redis alone would take longer
        assert upload(web, pia, "meanwhile.txt")
    finally:
        server.resume()
