"""Webhooks: what is sent, how it is signed, what becomes of answers, who may see and change them."""

import json
from collections.abc import Callable, Iterator
from datetime import timedelta
from typing import Any
from uuid import UUID

import pytest
from flask import Flask
from flask.testing import FlaskClient
from sqlalchemy import event as sqlalchemy_event
from standardwebhooks import WebhookVerificationError

from tests.conftest import csrf_of
from tests.receiver import Receiver, receiver
from webapp.config import current_settings, use_settings
from webapp.db import db, read_rows, tally
from webapp.errors import Conflict
from webapp.infra import courier
from webapp.infra.clock import now
from webapp.models.idempotency_keys import IdempotencyKey
from webapp.models.jobs import Job
from webapp.models.record import any_state
from webapp.models.webhooks import Webhook, WebhookAttempt, WebhookDelivery, WebhookHealth
from webapp.policies import Actor
from webapp.services import deliveries, fanout, folders, webhooks
from webapp.services.deliveries import DeliveryFilter, ReplayWish, Which
from webapp.services.folders import NewFolder
from webapp.services.webhooks import NewWebhook, WebhookChange

Bearer = Callable[[Actor], dict[str, str]]
RunJobs = Callable[[], int]


@pytest.fixture(autouse=True)
def local(app: Flask) -> Iterator[None]:
    """The tests' receivers are on this machine, which the operator has to allow."""
    before = current_settings()
    allowed = type(before).model_validate({**before.model_dump(), "webhook_allowed_networks": "127.0.0.0/8"})
    use_settings(before.model_copy(update={"webhook_allowed_networks": allowed.webhook_allowed_networks}))
    fanout.forget_filters()
    yield
    use_settings(before)
    fanout.forget_filters()


@pytest.fixture
def box() -> Iterator[Receiver]:
    with receiver() as server:
        yield server


def hook(admin: Actor, box: Receiver, *events: str) -> Any:
    return webhooks.create_webhook(
        admin, NewWebhook(name="Harbour", url=box.url, events=list(events or ("folder.created",)))
    )


def folder(actor: Actor, name: str) -> None:
    folders.create_folder(actor, NewFolder(name=name))


def pass_time(hours: float) -> None:
    """All that webhooks wait for is so much nearer. (The clock itself must not jump: ids would wait for it.)"""
    columns = (Job.run_at, WebhookHealth.failing_since, WebhookHealth.next_try_at, Webhook.former_until,
               WebhookDelivery.created_at)  # fmt: skip
    with db.engine.connect().execution_options(write=True) as line, line.begin():
        for column in columns:
            table = column.class_.__table__
            for key, moment in line.execute(any_state(column.class_, *table.primary_key, column)).all():
                if moment is not None:
                    values = {column.key: moment - timedelta(hours=hours)}
                    line.execute(table.update().where(*(k == key for k in table.primary_key)).values(values))


def days_pass(run_jobs: RunJobs, hours: int = 40) -> None:
    """Run what is due, hour by hour."""
    for _ in range(hours):
        pass_time(1)
        run_jobs()


def log_of(admin: Actor, made: Any) -> list[Any]:
    return deliveries.list_deliveries(admin, made.id, DeliveryFilter(limit=100)).items


def job_states() -> list[str]:
    rows = read_rows(any_state(Job, Job.state).where(Job.name == "webhooks.deliver").order_by(Job.id))
    return [row.state for row in rows]


# Sending --------------------------------------------------------------------------------------------------------------


def test_an_event_arrives_signed_so_that_an_independent_library_believes_it(
    admin: Actor, member: Actor, box: Receiver, run_jobs: RunJobs
) -> None:
    made = hook(admin, box)
    folder(member, "Survey")
    run_jobs()
    (message,) = box.kept
    payload = message.verified(made.secret)
    assert payload["type"] == "folder.created"
    assert payload["data"]["actor"] == {"id": str(member.uuid), "name": member.name}
    assert payload["data"]["target"]["name"] == "Survey"
    assert payload["data"]["changes"] == {"name": [None, "Survey"]}
    assert message.path == "/hook"
    assert message.headers["content-type"] == "application/json"
    with pytest.raises(WebhookVerificationError):
        message._replace(body=message.body + b" ").verified(made.secret)
    (one,) = log_of(admin, made)
    assert (one.state, one.attempts, one.webhook_id) == ("delivered", 1, message.id)
    card = deliveries.show_delivery(admin, made.id, one.id)
    assert (card.attempt_log[0].status, card.attempt_log[0].answer) == (200, "thank you")
    assert card.attempt_log[0].request_headers["webhook-id"] == message.id
    assert made.secret not in str(card)


def test_only_what_the_filter_means_is_sent(admin: Actor, member: Actor, box: Receiver, run_jobs: RunJobs) -> None:
    hook(admin, box, "file.*", "session.started")
    folder(member, "Survey")
    assert log_count() == 0
    with receiver() as other:
        hook(admin, other, "folder.*")
        folder(member, "Charts")
        run_jobs()
        assert [json.loads(m.body)["type"] for m in other.kept] == ["folder.created"]
    assert box.kept == []


def log_count() -> int:
    return len(read_rows(any_state(WebhookDelivery, WebhookDelivery.id)))


def test_a_deed_that_rolls_back_tells_nobody(admin: Actor, member: Actor, box: Receiver, run_jobs: RunJobs) -> None:
    hook(admin, box)
    folder(member, "Survey")
    with pytest.raises(Conflict):
        folder(member, "Survey")  # taken
    run_jobs()
    assert len(box.kept) == log_count() == 1


def test_without_webhooks_a_write_asks_nothing_more(member: Actor) -> None:
    asked: list[str] = []

    def note(_conn: Any, _cursor: Any, statement: str, *_: Any) -> None:
        asked.append(statement)

    folder(member, "First")
    sqlalchemy_event.listen(db.engine, "before_cursor_execute", note)
    try:
        tally.reset()
        folder(member, "Second")
    finally:
        sqlalchemy_event.remove(db.engine, "before_cursor_execute", note)
    assert asked
    assert not [statement for statement in asked if "webhook" in statement]


def test_while_a_secret_is_exchanged_both_are_believed_and_after_a_day_only_the_new_one(
    admin: Actor, member: Actor, box: Receiver, run_jobs: RunJobs
) -> None:
    made = hook(admin, box)
    exchanged = webhooks.rotate_secret(admin, made.id)
    folder(member, "Survey")
    run_jobs()
    assert len(box.kept[0].headers["webhook-signature"].split()) == 2
    for secret in (made.secret, exchanged.secret):
        assert box.kept[0].verified(secret)["type"] == "folder.created"
    pass_time(25)
    folder(member, "Charts")
    run_jobs()
    assert box.kept[1].verified(exchanged.secret)
    with pytest.raises(WebhookVerificationError):
        box.kept[1].verified(made.secret)


def test_secrets_are_encrypted_at_rest_and_shown_once(
    admin: Actor, client: FlaskClient, bearer: Bearer, box: Receiver
) -> None:
    headers = {**bearer(admin), "Idempotency-Key": "once"}
    wish = {"name": "Harbour", "url": box.url, "events": ["*"]}
    answers = [client.post("/api/v1/webhooks", json=wish, headers=headers) for _ in range(2)]
    assert [answer.status_code for answer in answers] == [201, 201], answers[0].text
    assert answers[0].data == answers[1].data
    secret = answers[0].json["secret"]
    assert secret.startswith("whsec_")
    assert "secret" not in client.get(answers[0].headers["Location"], headers=bearer(admin)).json
    with db.engine.connect() as line:
        stored = line.exec_driver_sql("SELECT secret FROM webhooks").scalar_one()
        kept = line.exec_driver_sql(f"SELECT body FROM {IdempotencyKey.__tablename__}").scalar_one()
    assert secret[6:].encode() not in bytes(stored)
    assert secret.encode() not in bytes(kept), "nor in the answer that is kept for a repetition"


# Answers --------------------------------------------------------------------------------------------------------------


def test_after_a_500_the_same_message_comes_again(
    admin: Actor, member: Actor, box: Receiver, run_jobs: RunJobs
) -> None:
    made, box.answers = hook(admin, box), [500, 200]
    folder(member, "Survey")
    run_jobs()
    (waiting,) = log_of(admin, made)
    assert (waiting.state, waiting.attempts) == ("pending", 1)
    assert timedelta(seconds=3) < waiting.next_at - now() < timedelta(seconds=7)
    assert webhooks.show_health(admin, made.id).failing_since is not None
    days_pass(run_jobs, 2)
    assert [message.id for message in box.kept] == [waiting.webhook_id] * 2
    assert box.kept[0].body == box.kept[1].body
    assert log_of(admin, made)[0].state == "delivered"
    health = webhooks.show_health(admin, made.id)
    assert (health.failing_since, health.failures) == (None, 0)


@pytest.mark.parametrize(
    ("answer", "said"),
    [("hang", "within 1 seconds"), ("drip", "within 1 seconds"), ("drip_head", "within 1 seconds"),
     ("reset", "The connection broke"), ("gibberish", "not HTTP"), (302, "redirects are not followed"),
     (404, "Answered 404"), ("nul", "Answered 500")],
)  # fmt: skip
def test_a_receiver_that_misbehaves_is_a_failed_attempt_in_good_time(
    admin: Actor,
    member: Actor,
    box: Receiver,
    run_jobs: RunJobs,
    monkeypatch: pytest.MonkeyPatch,
    answer: Any,
    said: str,
) -> None:
    monkeypatch.setattr(courier, "TOTAL", 1.0)
    made, box.answers, box.headers = hook(admin, box), [answer], {"Location": "http://127.0.0.1:1/elsewhere"}
    folder(member, "Survey")
    run_jobs()
    (one,) = log_of(admin, made)
    card = deliveries.show_delivery(admin, made.id, one.id)
    assert one.state == "pending"
    assert said in str(card.attempt_log[0].error)
    assert card.attempt_log[0].duration < 10_000
    assert len(box.kept) == 1, "nothing was followed or sent twice"


def test_of_ten_megabytes_the_first_two_kilobytes_are_kept(
    admin: Actor, member: Actor, box: Receiver, run_jobs: RunJobs
) -> None:
    made, box.answers = hook(admin, box), ["flood"]
    folder(member, "Survey")
    run_jobs()
    (one,) = log_of(admin, made)
    assert one.state == "delivered"
    assert deliveries.show_delivery(admin, made.id, one.id).attempt_log[0].answer == "x" * 2048


def test_retry_after_is_respected(admin: Actor, member: Actor, box: Receiver, run_jobs: RunJobs) -> None:
    made, box.answers, box.headers = hook(admin, box), [503], {"Retry-After": "7200"}
    folder(member, "Survey")
    run_jobs()
    (one,) = log_of(admin, made)
    assert timedelta(minutes=119) < one.next_at - now() <= timedelta(hours=2)


def test_gone_pauses_at_once_and_its_maker_gets_a_mail(
    admin: Actor, member: Actor, box: Receiver, run_jobs: RunJobs, capsys: pytest.CaptureFixture[str]
) -> None:
    made, box.answers = hook(admin, box), [410]
    folder(member, "Survey")
    run_jobs()
    paused = webhooks.show_webhook(admin, made.id)
    assert (paused.enabled, paused.pause_reason) == (False, "gone")
    assert log_of(admin, made)[0].state == "failed"
    printed = capsys.readouterr().out
    assert f"To: {admin.name} <{admin.email}>" in printed
    assert "410 Gone" in printed
    assert f"/admin/webhooks/{made.id}" in printed
    folder(member, "Charts")
    days_pass(run_jobs, 2)
    assert len(box.kept) == 1


def test_a_delivery_is_tried_ten_times_in_a_day_then_given_up(
    admin: Actor, member: Actor, box: Receiver, run_jobs: RunJobs
) -> None:
    made, box.answers = hook(admin, box), [500]
    folder(member, "Survey")
    for _ in range(120):
        pass_time(0.25)
        run_jobs()
    (one,) = log_of(admin, made)
    assert (one.state, one.attempts, len(box.kept)) == ("failed", 10, 10)
    assert job_states() == ["dead"]
    assert webhooks.show_health(admin, made.id).failures == 1


def test_a_webhook_that_fails_for_a_day_is_paused_with_one_mail_and_nothing_is_lost(
    admin: Actor, member: Actor, box: Receiver, run_jobs: RunJobs, capsys: pytest.CaptureFixture[str]
) -> None:
    made, box.answers = hook(admin, box), [500]
    for name in ("Survey", "Charts", "Depths"):
        folder(member, name)
    days_pass(run_jobs)
    assert {message.id for message in box.kept} == {one.webhook_id for one in log_of(admin, made)}
    paused = webhooks.show_webhook(admin, made.id)
    assert (paused.enabled, paused.pause_reason, paused.paused_by) == (False, "failing", None)
    assert [one.state for one in log_of(admin, made)] == ["held"] * 3
    assert capsys.readouterr().out.count("Subject: The webhook") == 1
    box.answers = [200]
    webhooks.change_webhook(admin, made.id, WebhookChange(enabled=True))
    run_jobs()
    assert [one.state for one in log_of(admin, made)] == ["delivered"] * 3


def test_three_deliveries_given_up_in_a_row_pause_it(
    admin: Actor, member: Actor, box: Receiver, run_jobs: RunJobs, capsys: pytest.CaptureFixture[str]
) -> None:
    made, box.answers = hook(admin, box), [404]
    for name in ("Survey", "Charts", "Depths"):
        folder(member, name)
    with db.engine.connect().execution_options(write=True) as line, line.begin():
        line.execute(Job.__table__.update().where(Job.name == "webhooks.deliver").values(max_attempts=1))
    run_jobs()
    assert webhooks.show_webhook(admin, made.id).pause_reason == "failing"
    assert capsys.readouterr().out.count("Subject: The webhook") == 1


def test_what_waits_while_it_is_paused_is_held_and_sent_when_it_is_resumed(
    admin: Actor, member: Actor, box: Receiver, run_jobs: RunJobs
) -> None:
    made, box.answers = hook(admin, box), [500, 200]
    folder(member, "Survey")
    run_jobs()
    webhooks.change_webhook(admin, made.id, WebhookChange(enabled=False))
    days_pass(run_jobs, 2)
    assert [one.state for one in log_of(admin, made)] == ["held"]
    webhooks.change_webhook(admin, made.id, WebhookChange(enabled=True))
    run_jobs()
    assert [one.state for one in log_of(admin, made)] == ["delivered"]
    assert len({message.id for message in box.kept}) == 1


def test_a_removed_webhook_is_sent_nothing_more(admin: Actor, member: Actor, box: Receiver, run_jobs: RunJobs) -> None:
    made = hook(admin, box)
    folder(member, "Survey")
    webhooks.delete_webhook(admin, made.id)
    folder(member, "Charts")
    run_jobs()
    assert box.kept == []


def test_a_worker_that_dies_after_sending_sends_the_same_id_again(
    admin: Actor, member: Actor, box: Receiver, run_jobs: RunJobs, monkeypatch: pytest.MonkeyPatch
) -> None:
    from webapp.services import dispatches, jobs

    class Killed(BaseException):
        """What a SIGKILL would be, for the code after it."""

    def die(*_: Any) -> Any:
        raise Killed

    made = hook(admin, box)
    folder(member, "Survey")
    (row,) = read_rows(any_state(Job, Job.id).where(Job.name == "webhooks.deliver"))
    started = jobs.start_job(row.id)
    assert started
    with monkeypatch.context() as patch:
        patch.setattr(dispatches, "_write_attempt", die)
        with pytest.raises(Killed):
            dispatches.deliver(started)
    assert job_states() == ["running"]
    assert jobs.rescue_orphans(-1) == (1, 0)
    run_jobs()
    assert len(box.kept) == 2
    assert len({message.id for message in box.kept}) == 1
    assert log_of(admin, made)[0].state == "delivered"


# Sending again --------------------------------------------------------------------------------------------------------


def test_one_delivery_is_replayed_under_its_id_and_not_while_it_waits(
    admin: Actor, client: FlaskClient, member: Actor, bearer: Bearer, box: Receiver, run_jobs: RunJobs
) -> None:
    made = hook(admin, box)
    folder(member, "Survey")
    address = f"/api/v1/webhooks/{made.id}/deliveries/{log_of(admin, made)[0].id}/replays"
    assert client.post(address, headers=bearer(admin)).status_code == 409
    run_jobs()
    answer = client.post(address, headers=bearer(admin))
    assert (answer.status_code, answer.json["state"]) == (200, "pending")
    run_jobs()
    assert len(box.kept) == 2
    assert len({message.id for message in box.kept}) == 1


def test_all_that_match_are_replayed(
    admin: Actor, client: FlaskClient, member: Actor, bearer: Bearer, box: Receiver, run_jobs: RunJobs
) -> None:
    made = hook(admin, box, "folder.*")
    for name in ("Survey", "Charts", "Depths"):
        folder(member, name)
    run_jobs()
    headers, address = bearer(admin), f"/api/v1/webhooks/{made.id}/replays"
    none = client.post(address, json={"filter": {"state": "failed"}}, headers=headers)
    assert none.json == {"queued": 0, "more": False}
    other = client.post(address, json={"filter": {"state": "delivered", "event": "file.*"}}, headers=headers)
    assert other.json["queued"] == 0
    three = client.post(address, json={"filter": {"state": "delivered", "event": "folder.*"}}, headers=headers)
    assert three.json == {"queued": 3, "more": False}
    run_jobs()
    assert len(box.kept) == 6
    assert len({message.id for message in box.kept}) == 3


def test_a_repeated_order_to_send_again_sends_once(
    admin: Actor, client: FlaskClient, member: Actor, bearer: Bearer, box: Receiver, run_jobs: RunJobs
) -> None:
    made = hook(admin, box)
    folder(member, "Survey")
    run_jobs()
    here, body = f"/api/v1/webhooks/{made.id}", {"filter": {"state": "delivered"}}
    all_, one = f"{here}/replays", f"{here}/deliveries/{log_of(admin, made)[0].id}/replays"
    for number, (address, wish) in enumerate(((all_, body), (one, None)), 2):
        headers = {**bearer(admin), "Idempotency-Key": address[-60:]}
        first = client.post(address, json=wish, headers=headers)
        run_jobs()
        assert (first.status_code, len(box.kept)) == (200, number), first.text
        again = client.post(address, json=wish, headers=headers)
        run_jobs()
        assert (again.status_code, again.data, len(box.kept)) == (200, first.data, number)


@pytest.mark.parametrize(
    ("which", "status"),
    [({"since": "0001-01-01T00:00:00+14:00"}, 422), ({"until": "9999-12-31T23:59:59-14:00"}, 422),
     ({"since": "2026-11-22T00:00:00"}, 422), ({"event": "a\0b"}, 422), ({"state": "pending"}, 422),
     ({"since": "0001-01-01T00:00:00Z", "until": "9999-12-31T23:59:59Z"}, 200)],
)  # fmt: skip
def test_a_filter_beyond_the_calendar_is_refused(
    admin: Actor, client: FlaskClient, bearer: Bearer, box: Receiver, which: dict[str, str], status: int
) -> None:
    address = f"/api/v1/webhooks/{hook(admin, box).id}/replays"
    assert client.post(address, json={"filter": which}, headers=bearer(admin)).status_code == status


def test_a_job_that_somebody_cancelled_leaves_no_delivery_waiting_for_ever(
    admin: Actor, member: Actor, box: Receiver, run_jobs: RunJobs
) -> None:
    made = hook(admin, box)
    folder(member, "Survey")
    with db.engine.begin() as line:
        line.execute(Job.__table__.update().where(Job.name == "webhooks.deliver").values(state="cancelled"))
    assert [one.state for one in log_of(admin, made)] == ["failed"]
    assert deliveries.replay_deliveries(admin, made.id, ReplayWish(filter=Which(state="failed"))).queued == 1
    run_jobs()
    assert [one.state for one in log_of(admin, made)] == ["delivered"]


def test_a_ping_is_sent_once_also_while_it_is_paused(
    admin: Actor, client: FlaskClient, bearer: Bearer, box: Receiver, run_jobs: RunJobs
) -> None:
    made, box.answers = hook(admin, box), [500]
    webhooks.change_webhook(admin, made.id, WebhookChange(enabled=False))
    answer = client.post(f"/api/v1/webhooks/{made.id}/tests", headers=bearer(admin))
    assert answer.status_code == 201
    days_pass(run_jobs, 3)
    (message,) = box.kept
    assert message.verified(made.secret)["type"] == "ping"
    card = client.get(answer.headers["Location"], headers=bearer(admin)).json
    assert (card["state"], card["attempt_log"][0]["status"], card["payload"]["type"]) == ("failed", 500, "ping")
    assert webhooks.show_health(admin, made.id).failures == 0


def test_old_deliveries_are_forgotten_with_their_attempts(
    admin: Actor, member: Actor, box: Receiver, run_jobs: RunJobs
) -> None:
    hook(admin, box)
    folder(member, "Survey")
    run_jobs()
    pass_time(29 * 24)
    assert deliveries.sweep_deliveries() == 0
    pass_time(2 * 24)
    assert deliveries.sweep_deliveries() == 1
    assert read_rows(any_state(WebhookAttempt, WebhookAttempt.id)) == []


# The API and the pages ------------------------------------------------------------------------------------------------


def test_a_change_based_on_an_old_version_is_refused(
    admin: Actor, client: FlaskClient, bearer: Bearer, box: Receiver
) -> None:
    made, headers = hook(admin, box), bearer(admin)
    address = f"/api/v1/webhooks/{made.id}"
    tag = client.get(address, headers=headers).headers["ETag"]
    first = client.patch(address, json={"name": "Quay"}, headers={**headers, "If-Match": tag})
    assert (first.status_code, first.json["name"]) == (200, "Quay")
    assert client.patch(address, json={"name": "Pier"}, headers={**headers, "If-Match": tag}).status_code == 412
    assert client.delete(address, headers={**headers, "If-Match": tag}).status_code == 412
    assert client.delete(address, headers={**headers, "If-Match": first.headers["ETag"]}).status_code == 204
    assert client.get(address, headers=headers).status_code == 404


@pytest.mark.parametrize(
    "wish",
    [{"events": []}, {"events": ["nonsense"]}, {"events": ["file.**"]}, {"name": ""}, {"name": "a\nb"},
     {"url": "ftp://example.org/"}, {"url": "hook"}, {"events": ["*"] * 51}],
)  # fmt: skip
def test_a_wish_that_makes_no_sense_is_refused_by_field(
    admin: Actor, client: FlaskClient, bearer: Bearer, box: Receiver, wish: dict[str, Any]
) -> None:
    whole = {"name": "Harbour", "url": box.url, "events": ["*"], **wish}
    answer = client.post("/api/v1/webhooks", json=whole, headers=bearer(admin))
    assert answer.status_code == 422
    assert answer.json["errors"][0]["field"].partition(".")[0] in wish


def addresses(made: Any) -> list[tuple[str, str]]:
    one = f"/webhooks/{made.id}"
    nothing = UUID(int=1)
    return [("GET", "/webhooks"), ("POST", "/webhooks"), ("GET", one), ("GET", f"{one}/health"), ("PATCH", one),
            ("DELETE", one), ("POST", f"{one}/secrets"), ("GET", f"{one}/deliveries"), ("POST", f"{one}/replays"),
            ("GET", f"{one}/deliveries/{nothing}"), ("POST", f"{one}/deliveries/{nothing}/replays"),
            ("POST", f"{one}/tests")]  # fmt: skip


def test_programs_of_others_get_403_and_of_nobody_401(
    admin: Actor, member: Actor, person: Callable[..., Actor], client: FlaskClient, bearer: Bearer, box: Receiver
) -> None:
    made = hook(admin, box)
    for actor, status in ((member, 403), (person("max", role="manager"), 403), (None, 401)):
        headers = bearer(actor) if actor else {}
        for method, path in addresses(made):
            answer = client.open(f"/api/v1{path}", method=method, headers=headers, json={} if method != "GET" else None)
            assert (method, path, answer.status_code) == (method, path, status)
    assert webhooks.show_webhook(admin, made.id).version == 1


def test_pages_of_administration_do_not_exist_for_others(
    admin: Actor, member: Actor, signed_in: Callable[[Actor], FlaskClient], client: FlaskClient, box: Receiver
) -> None:
    made, browser = hook(admin, box), signed_in(member)
    token = csrf_of(browser.get("/files").text)
    here = f"/admin/webhooks/{made.id}"
    for path in ("/admin/webhooks", "/admin/webhooks/new", here, f"{here}/settings"):
        assert browser.get(path).status_code == 404
        assert client.get(path).status_code == 302, "nobody is asked to sign in"
    for path in ("/admin/webhooks", f"{here}/pause", f"{here}/removal", f"{here}/secrets", f"{here}/tests"):
        assert browser.post(path, data={"csrf_token": token}).status_code == 404
    assert "Webhooks" not in browser.get("/files").text
    assert "Webhooks" in signed_in(admin).get("/files").text


def test_a_person_makes_tests_changes_pauses_and_removes_one_by_pages(
    admin: Actor, signed_in: Callable[[Actor], FlaskClient], box: Receiver, run_jobs: RunJobs
) -> None:
    browser = signed_in(admin)
    token = csrf_of(browser.get("/admin/webhooks").text)
    form = {
        "csrf_token": token,
        "name": "Harbour",
        "url": "http://10.0.0.1/",
        "events": ["file.*", "folder.created", ""],
    }
    refused = browser.post("/admin/webhooks", data=form)
    assert refused.status_code == 422
    assert "10.0.0.1 is not a public address" in refused.text
    assert 'value="folder.created" checked' in refused.text
    page = browser.post("/admin/webhooks", data={**form, "url": box.url})
    assert page.status_code == 201
    assert page.headers["Cache-Control"] == "no-store"
    assert "whsec_" in page.text
    made = webhooks.list_webhooks(admin, webhooks.WebhookFilter()).items[0]
    here = f"/admin/webhooks/{made.id}"
    assert made.events == ["file.*", "folder.created"]
    ping = browser.post(f"{here}/tests", data={"csrf_token": token})
    run_jobs()
    assert "thank you" in browser.get(ping.headers["Location"]).text
    assert "ping" in browser.get(f"{here}?state=delivered").text
    data = {
        "csrf_token": token,
        "version": "1",
        "name": "Quay",
        "url": box.url,
        "events": ["", "file.moved, file.renamed"],
    }
    assert browser.post(f"{here}/settings", data=data).status_code == 302
    assert webhooks.show_webhook(admin, made.id).events == ["file.moved", "file.renamed"]
    stale = browser.post(f"{here}/settings", data={**data, "name": "Pier"})
    assert stale.status_code == 409
    assert "Theirs" in stale.text
    assert browser.post(f"{here}/settings", data={**data, "version": "2", "events": ""}).status_code == 422
    assert browser.post(f"{here}/pause", data={"csrf_token": token}).status_code == 302
    assert "Resume" in browser.get(here).text
    assert browser.post(f"{here}/resumption", data={"csrf_token": token}).status_code == 302
    assert "whsec_" in browser.post(f"{here}/secrets", data={"csrf_token": token}).text
    version = webhooks.show_webhook(admin, made.id).version
    gone = browser.post(f"{here}/removal", data={"csrf_token": token, "version": str(version)})
    assert gone.status_code == 302
    assert browser.get(here).status_code == 404


@pytest.mark.parametrize(
    ("misspelt", "meant"),
    [("file.craeted", "file.created"), ("folder.rename", "folder.renamed"), ("fiel.*", "file.*"),
     ("Session.Started", "session.started"), ("zzz", "name one such as file.created")],
)  # fmt: skip
def test_a_misspelt_event_is_refused_with_the_nearest_one(
    admin: Actor, client: FlaskClient, bearer: Bearer, box: Receiver, misspelt: str, meant: str
) -> None:
    made, headers = hook(admin, box, "file.*", "*"), bearer(admin)
    answer = client.patch(
        f"/api/v1/webhooks/{made.id}", json={"events": ["folder.*", misspelt]}, headers={**headers, "If-Match": '"1"'}
    )
    assert answer.status_code == 422
    (fault,) = answer.json["errors"]
    assert (fault["field"], fault["code"]) == ("events.1", "event_filter")
    assert meant in fault["message"]
    assert webhooks.show_webhook(admin, made.id).events == ["*", "file.*"]


def test_every_event_has_a_box_to_tick_and_every_event_that_is_recorded_is_listed() -> None:
    """A new one is named in models/audit.py and has a box in http/hookrows.py, or this fails."""
    import ast
    from pathlib import Path

    from webapp.http.hookrows import LISTED
    from webapp.models.audit import EVENTS, HAPPENINGS

    assert {"*", *EVENTS, *(f"{kind}.*" for kind in HAPPENINGS)} == LISTED
    recorded = set()
    for path in (Path(__file__).parent.parent / "webapp/services").glob("*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            says = isinstance(node, ast.Call) and ast.unparse(node.func) in {"record", "_note", "_change_all"}
            if says or (isinstance(node, ast.FunctionDef) and node.name == "_event_of"):
                event = node.args[1] if isinstance(node, ast.Call) else node
                recorded |= {leaf.value for leaf in ast.walk(event)
                             if isinstance(leaf, ast.Constant) and "." in str(leaf.value)}  # fmt: skip
    assert len(recorded) > 20
    assert recorded <= EVENTS
    assert {"file.moved", "job.discarded", "file.described"} <= recorded


def test_the_rows_of_a_webhook_are_of_the_models(admin: Actor, box: Receiver) -> None:
    made = hook(admin, box)
    assert read_rows(any_state(Webhook, Webhook.secret).where(Webhook.uuid == made.id))[0].secret == made.secret
