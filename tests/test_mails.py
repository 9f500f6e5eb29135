"""The office of mail: how it is sent, what became of it, a test to oneself."""

from collections.abc import Callable
from typing import Any

import pytest
from flask import Flask
from flask.testing import FlaskClient
from pydantic import SecretStr
from sqlalchemy import LargeBinary, literal, update

from tests.conftest import csrf_of
from tests.test_mail import Mailbox, later, mail_server, order
from tests.vault import Vault, good, problem
from webapp.config import current_settings, use_settings
from webapp.db import db
from webapp.http.limiting import class_of
from webapp.infra.limits import rate_of
from webapp.models.jobs import Job
from webapp.policies import Actor

RunJobs = Callable[[], int]


@pytest.fixture
def office(app: Flask, admin: Actor, bearer: Callable[[Actor], dict[str, str]]) -> Vault:
    return Vault(app, bearer(admin), admin)


def test_a_test_goes_to_the_administrator_who_asked_by_the_way_of_every_mail(
    office: Vault, admin: Actor, run_jobs: RunJobs
) -> None:
    box = Mailbox()
    with mail_server(box):
        answer = good(office.call("POST", "/test-mails"), 201)
        assert (answer.json["state"], answer.json["to"]) == ("queued", admin.email)
        run_jobs()
    (letter,) = box.kept
    assert (letter["To"].addresses[0].addr_spec, letter["Subject"]) == (admin.email, "A test of your vault's mail")
    done = office.get(answer.headers["Location"].removeprefix("/api/v1"))
    assert (done["state"], done["answer"], done["error"]) == ("done", "250 2.0.0 Taken as 42", None)
    assert done["message_id"] == letter["Message-ID"]


def test_what_the_server_said_is_shown_whether_it_refused_or_asked_for_patience(
    office: Vault, admin: Actor, run_jobs: RunJobs
) -> None:
    with mail_server(Mailbox("451 4.3.0 Greylisted", "554 5.7.1 Spam")):
        good(office.call("POST", "/test-mails"), 201)
        run_jobs()
        waiting = office.get("/mails")["items"][0]
        assert (waiting["state"], waiting["attempts"]) == ("queued", 1)
        assert "451 4.3.0 Greylisted" in waiting["error"]
        assert waiting["next_at"] is not None
        later(run_jobs)
    failed = office.get("/mails")["items"][0]
    assert (failed["state"], failed["answer"], failed["next_at"]) == ("failed", "554 5.7.1 Spam", None)
    assert "554 5.7.1 Spam" in failed["error"]


def test_mails_are_listed_page_by_page_newest_first_and_say_nothing_of_their_content(office: Vault) -> None:
    orders = [str(order()) for _ in range(5)]
    assert [mail["id"] for mail in office.every("/mails", limit=2)] == orders[::-1]
    mail = office.get(f"/mails/{orders[0]}")
    assert (mail["about"], mail["to"]) == ("webhook paused", "mira@harbour.example")
    assert "hooks.example" not in str(mail)
    problem(office.call("GET", "/mails?cursor=rubbish"), 422)
    problem(office.call("GET", "/mails/00000000-0000-4000-8000-000000000000"), 404)
    file = office.upload("a.txt")
    problem(office.call("GET", f"/mails/{office.get('/files/' + file['id'] + '/jobs')['items'][0]['id']}"), 404)


def test_the_list_is_read_by_its_own_index(app: Flask, office: Vault) -> None:
    from webapp.models.mails import live_mails

    order()
    asked = live_mails().order_by(Job.id.desc()).limit(3).compile(db.engine)
    lite = db.engine.dialect.name == "sqlite"
    values = tuple(asked.params[name] for name in asked.positiontup or ()) if lite else asked.params
    with db.engine.connect() as line:
        if not lite:
            line.exec_driver_sql("SET enable_seqscan = off")
        plan = line.exec_driver_sql(f"EXPLAIN {'QUERY PLAN ' if lite else ''}{asked}", values).all()  # type: ignore[arg-type]
    assert "ix_jobs_mails" in str(plan)


def test_a_mail_sealed_under_a_key_that_went_is_listed_without_its_address(office: Vault) -> None:
    mail = order()
    with db.engine.connect().execution_options(write=True) as line, line.begin():
        line.execute(update(Job).where(Job.uuid == mail).values(sealed=literal(b"under another key", LargeBinary)))
    assert office.get("/mails")["items"][0]["to"] is None


@pytest.mark.parametrize(
    ("url", "shown", "words"),
    [
        (None, ("none", None, None, None, False), "No mail server is configured"),
        ("console:", ("console", None, None, None, False), "printed on the console"),
        ("smtp://relay.example", ("smtp", "relay.example", 25, "auto", False), "encrypted where the server offers it"),
        ("smtp://u:p%40ss@relay.example:587", ("smtp", "relay.example", 587, "required", True), "relay.example:587"),
        ("smtps://u:p%40ss@relay.example", ("smtps", "relay.example", 465, "required", True), "relay.example:465"),
        ("smtp://relay.example?tls=off", ("smtp", "relay.example", 25, "off", False), "not encrypted"),
    ],
)
def test_how_mail_is_sent_is_shown_without_its_secrets(
    office: Vault, admin: Actor, signed_in: Callable[[Actor], FlaskClient], url: str | None, shown: Any, words: str
) -> None:
    before = current_settings()
    use_settings(before.model_copy(update={"mail_url": SecretStr(url) if url else None}))
    try:
        server = office.get("/mail-server")
        page = signed_in(admin).get("/admin/mail").text
    finally:
        use_settings(before)
    assert tuple(server[name] for name in ("kind", "host", "port", "tls", "signs_in")) == shown
    assert words in page
    assert "p@ss" not in str(server) + page


def test_the_page_sends_a_test_and_shows_what_became_of_it(
    admin: Actor, signed_in: Callable[[Actor], FlaskClient], run_jobs: RunJobs
) -> None:
    browser = signed_in(admin)
    with mail_server(Mailbox("250 2.0.0 <b>Taken</b>")):
        token = csrf_of(browser.get("/admin/mail").text)
        assert browser.post("/admin/test-mails", data={"csrf_token": token}).headers["Location"] == "/admin/mail"
        assert "Waiting" in browser.get("/admin/mail").text
        run_jobs()
    page = browser.get("/admin/mail").text
    assert "Done" in page
    assert "&lt;b&gt;Taken&lt;/b&gt;" in page
    assert "Test mail" in page


def test_members_neither_see_mails_nor_send_tests(vault: Vault, signed_in: Callable[[Actor], FlaskClient]) -> None:
    for method, path in (("GET", "/mails"), ("GET", "/mail-server"), ("POST", "/test-mails")):
        problem(vault.call(method, path), 403)
    browser = signed_in(vault.actor)
    assert browser.get("/admin/mail").status_code == 404
    assert browser.post("/admin/test-mails").status_code == 404


@pytest.mark.parametrize("endpoint", ["mails_api.send_test_mail", "mails_pages.send_test_mail"])
def test_tests_count_as_sending_by_hand(app: Flask, endpoint: str) -> None:
    assert class_of(app.view_functions[endpoint], {"POST"}) == "sendings"


def test_who_sends_too_many_tests_has_to_wait(office: Vault) -> None:
    answers = [office.call("POST", "/test-mails") for _ in range(2)]
    left = [int(answer.headers["RateLimit-Remaining"]) for answer in answers]
    assert left[0] - left[1] == 1
    assert int(answers[0].headers["RateLimit-Limit"]) < rate_of(current_settings().rate_limit).amount
