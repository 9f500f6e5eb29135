"""The breaker of a webhook: a receiver that fails is asked seldom, by one delivery; others wait, nothing is lost."""

import re
import runpy
import socket
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from flask.testing import FlaskClient

from tests.conftest import csrf_of
from tests.receiver import Receiver, receiver
from tests.test_webhooks import Bearer, RunJobs, box, folder, hook, local, log_of, pass_time
from webapp.config import current_settings, use_settings
from webapp.db import db, read_row, read_rows
from webapp.infra.clock import now
from webapp.models.jobs import Job
from webapp.models.record import any_state
from webapp.models.webhooks import WebhookDelivery
from webapp.policies import Actor
from webapp.services import breakers, deliveries, dispatches, jobs, queues, turns, webhooks, worklists
from webapp.services.breakers import STRIKES, pause_after
from webapp.services.webhooks import WebhookChange
from webapp.services.worklists import JobFilter

__all__ = ["box", "local"]
pytestmark = pytest.mark.usefixtures("local")
ROOT = Path(__file__).resolve().parent.parent
LANE = 4  # deliveries of one webhook that are under way at once


@pytest.fixture(autouse=True)
def threads(local: None) -> None:
    """Of five threads receivers get four."""
    use_settings(current_settings().model_copy(update={"job_threads": LANE + 1}))


def folders_named(actor: Actor, name: str, count: int) -> None:
    for number in range(count):
        folder(actor, f"{name} {number}")


def states_of(admin: Actor, made: Any) -> set[str]:
    return {one.state for one in log_of(admin, made)}


def shut(admin: Actor, member: Actor, made: Any, run_jobs: RunJobs) -> None:
    """Let it fail until its lane is shut."""
    folders_named(member, "Before", STRIKES)
    run_jobs()
    assert webhooks.show_health(admin, made.id).next_try_at is not None


@pytest.mark.parametrize("fault", [500, 503, 429, "reset"])
def test_a_receiver_that_is_down_for_hours_is_asked_seldom_and_gets_everything_when_it_is_back(
    admin: Actor, member: Actor, box: Receiver, run_jobs: RunJobs, fault: Any
) -> None:
    made, box.answers = hook(admin, box), [fault]
    folders_named(member, "Survey", 40)
    run_jobs()
    assert STRIKES <= len(box.kept) <= STRIKES + LANE
    health = webhooks.show_health(admin, made.id)
    assert health.failing_since is not None
    assert timedelta(0) < health.next_try_at - now() <= timedelta(seconds=40)
    version = webhooks.show_webhook(admin, made.id).version
    for number in range(36):
        pass_time(1 / 6)
        folder(member, f"Charts {number}")
        run_jobs()
    assert len(box.kept) <= STRIKES + LANE + 16, "six hours: a try after 30 s, 1, 2, 4, 8, 16, 32 min, then each hour"
    assert webhooks.show_webhook(admin, made.id).version == version
    log = log_of(admin, made)
    assert {one.state for one in log} == {"pending"}
    assert sum(one.attempts for one in log) == len(box.kept), "waiting is no attempt"
    assert max(one.attempts for one in log) < 5
    box.answers, down = [200], len(box.kept)
    pass_time(1.3)
    run_jobs()
    pass_time(2)  # those that were tried keep their own pace
    run_jobs()
    arrived = [message.id for message in box.kept[down:]]
    assert sorted(arrived) == sorted(one.webhook_id for one in log), "each once, none lost"
    assert states_of(admin, made) == {"delivered"}
    health = webhooks.show_health(admin, made.id)
    assert (health.failing_since, health.next_try_at, health.failed_tries) == (None, None, 0)


def test_where_nothing_listens_it_is_the_same(
    admin: Actor, member: Actor, run_jobs: RunJobs, monkeypatch: pytest.MonkeyPatch
) -> None:
    with receiver() as server:
        hook(admin, server)
    asked: list[Any] = []
    connect = socket.create_connection

    def count(address: Any, *args: Any, **named: Any) -> Any:
        asked.extend([address] * (address[1] == server.server_address[1]))
        return connect(address, *args, **named)

    monkeypatch.setattr(socket, "create_connection", count)
    folders_named(member, "Survey", 30)
    run_jobs()
    run_jobs()
    assert STRIKES <= len(asked) <= STRIKES + LANE
    pass_time(1)
    run_jobs()
    assert len(asked) <= STRIKES + LANE + 1, "one finds out"


def test_a_receiver_that_fails_delays_no_other(admin: Actor, member: Actor, box: Receiver, run_jobs: RunJobs) -> None:
    with receiver() as well:
        failing, healthy = hook(admin, box), hook(admin, well)
        box.answers = ["reset"]
        shut(admin, member, failing, run_jobs)
        before = len(box.kept)
        folders_named(member, "Charts", 20)
        run_jobs()
        assert states_of(admin, healthy) == {"delivered"}
        assert len(well.kept) == STRIKES + 20
        assert len(box.kept) == before
        assert webhooks.show_health(admin, healthy.id).next_try_at is None


def test_of_two_workers_one_tries_and_the_other_waits_without_an_attempt(
    admin: Actor, member: Actor, box: Receiver, run_jobs: RunJobs
) -> None:
    made, box.answers = hook(admin, box), [500]
    shut(admin, member, made, run_jobs)
    folders_named(member, "Charts", 2)
    before = len(box.kept)
    pass_time(1)
    rows = read_rows(any_state(Job, Job.id).where(Job.name == "webhooks.deliver", Job.attempts == 0))
    with turns.due_jobs({"webhooks": 9}) as turn:
        assert len(turn.jobs) == 1, "though a whole lane is due"
    first, second = (jobs.start_job(row.id) for row in rows)
    assert first
    assert second
    with pytest.raises(jobs.Postponed):
        dispatches.deliver(first)
    with pytest.raises(jobs.NotNow):
        dispatches.deliver(second)
    jobs.put_back(second)
    assert len(box.kept) == before + 1
    (again,) = read_rows(any_state(Job, Job.state, Job.attempts, Job.sent_at).where(Job.id == second.id))
    assert tuple(again) == ("queued", 0, None)


def test_a_worker_that_dies_in_a_try_delays_the_next_by_minutes(
    admin: Actor, member: Actor, box: Receiver, run_jobs: RunJobs
) -> None:
    made, box.answers = hook(admin, box), [500]
    shut(admin, member, made, run_jobs)
    folder(member, "Charts")
    pass_time(1)
    with turns.due_jobs({"webhooks": 9}) as turn:
        pass
    started = jobs.start_job(turn.jobs[0].id)
    assert started
    assert breakers.begin_try(read_row(dispatches._WHAT, {"delivery": started.args["delivery"]}))
    jobs.rescue_orphans(-1)
    box.answers, before = [200], len(box.kept)
    assert (run_jobs(), len(box.kept)) == (0, before)
    pass_time(0.05)
    run_jobs()
    assert "delivered" in states_of(admin, made)


def test_refusals_of_a_receiver_that_works_shut_nothing(
    admin: Actor, member: Actor, box: Receiver, run_jobs: RunJobs
) -> None:
    made, box.answers = hook(admin, box), [404]
    folders_named(member, "Survey", 12)
    run_jobs()
    assert len(box.kept) == 12
    assert webhooks.show_health(admin, made.id).next_try_at is None


def test_pauses_grow_from_half_a_minute_to_an_hour() -> None:
    assert 24 <= pause_after(STRIKES) <= 36
    assert 48 <= pause_after(STRIKES + 1) <= 72
    assert 2880 <= pause_after(STRIKES + 100) <= 4320
    assert pause_after(STRIKES, 1800) == 1800
    assert pause_after(STRIKES, 1e9) == 3600


def test_a_test_is_sent_at_once_and_when_it_arrives_a_delivery_follows(
    admin: Actor, member: Actor, box: Receiver, run_jobs: RunJobs
) -> None:
    made, box.answers = hook(admin, box), [500]
    shut(admin, member, made, run_jobs)
    folders_named(member, "Charts", 3)
    before = len(box.kept)
    deliveries.ping_webhook(admin, made.id)
    run_jobs()
    assert len(box.kept) == before + 1
    box.answers = [200]
    deliveries.ping_webhook(admin, made.id)
    run_jobs()
    assert len(box.kept) == before + 5
    assert webhooks.show_health(admin, made.id).failing_since is None


@pytest.mark.parametrize("mended", ["resumed", "moved"])
def test_who_mends_it_need_not_wait(admin: Actor, member: Actor, box: Receiver, run_jobs: RunJobs, mended: str) -> None:
    made, box.answers = hook(admin, box), [500]
    shut(admin, member, made, run_jobs)
    folders_named(member, "Charts", 3)
    box.answers = [200]
    if mended == "moved":
        webhooks.change_webhook(admin, made.id, WebhookChange(url=f"{box.url}?moved"))
    else:
        webhooks.change_webhook(admin, made.id, WebhookChange(enabled=False))
        webhooks.change_webhook(admin, made.id, WebhookChange(enabled=True))
    assert webhooks.show_health(admin, made.id).next_try_at is None
    run_jobs()
    assert states_of(admin, made) == {"delivered"}


def test_api_and_pages_show_since_when_it_fails_and_try_now(
    admin: Actor,
    member: Actor,
    client: FlaskClient,
    bearer: Bearer,
    signed_in: Callable[[Actor], FlaskClient],
    box: Receiver,
    run_jobs: RunJobs,
) -> None:
    made, box.answers, headers, browser = hook(admin, box), [500], bearer(admin), signed_in(admin)
    here = f"/admin/webhooks/{made.id}"
    address = f"/api/v1/webhooks/{made.id}/tries"
    nothing = client.post(address, headers=headers)
    assert (nothing.status_code, nothing.json["code"]) == (409, "nothing_waits")
    shut(admin, member, made, run_jobs)
    folders_named(member, "Charts", 2)
    health = client.get(f"/api/v1/webhooks/{made.id}/health", headers=headers).json
    assert health["failed_tries"] == STRIKES
    assert health["failing_since"] < health["next_try_at"]
    (line,) = client.get("/api/v1/webhooks", headers=headers).json["items"]
    assert line["health"] == health
    assert log_of(admin, made)[0].next_at.isoformat().startswith(health["next_try_at"][:19])
    assert "Failing since" in browser.get(here).text
    assert "next try" in browser.get("/admin/webhooks").text
    box.answers, before = [500, 200], len(box.kept)
    answer = client.post(address, headers=headers)
    assert (answer.status_code, run_jobs(), len(box.kept)) == (200, 1, before + 1), "one, which failed again"
    token = csrf_of(browser.get(here).text)
    assert "Try now" in browser.get(here).text
    assert browser.post(f"{here}/tries", data={"csrf_token": token}).status_code == 302
    run_jobs()
    page = browser.get(here).text
    assert "is tried now" in page
    assert "Failing since" not in page
    assert client.post(address, headers=bearer(member)).status_code == 403
    webhooks.change_webhook(admin, made.id, WebhookChange(enabled=False))
    assert client.post(address, headers=headers).json["code"] == "paused"


def test_what_a_pause_holds_is_held_on_every_page(
    admin: Actor,
    member: Actor,
    client: FlaskClient,
    bearer: Bearer,
    signed_in: Callable[[Actor], FlaskClient],
    box: Receiver,
    run_jobs: RunJobs,
) -> None:
    made, browser, headers = hook(admin, box), signed_in(admin), bearer(admin)
    folder(member, "Survey")
    webhooks.change_webhook(admin, made.id, WebhookChange(enabled=False))
    assert (run_jobs(), box.kept) == (0, [])
    (held,) = log_of(admin, made)
    assert (held.state, held.attempts, held.next_at) == ("held", 0, None)
    answer = client.get(f"/api/v1/webhooks/{made.id}/deliveries?state=held", headers=headers).json
    assert [one["id"] for one in answer["items"]] == [str(held.id)]
    assert client.get(f"/api/v1/webhooks/{made.id}/deliveries?state=pending", headers=headers).json["items"] == []
    job = client.get(f"/api/v1/jobs/{held.job_id}", headers=headers).json
    assert (job["state"], job["held"], job["attempts"]) == ("queued", "paused", 0)
    page = browser.get(f"/jobs/{held.job_id}").text
    assert "Its webhook is paused" in page
    assert re.findall(r"<h1>.*?>([^<]+)</span>", page) == ["Held"]
    told = {queue.name: queue for queue in queues.list_queues(admin).items}["webhooks"]
    assert (told.waiting, told.delayed, told.oldest_at) == (0, 1, None)
    page = browser.get(f"/admin/webhooks/{made.id}").text
    assert re.search(f"Paused .* by .?{admin.name}", page)
    assert "After a day" not in page
    webhooks.change_webhook(admin, made.id, WebhookChange(enabled=True))
    run_jobs()
    assert states_of(admin, made) == {"delivered"}
    assert [j.held for j in worklists.list_jobs(admin, JobFilter(whose="all", name="webhooks.deliver")).items] == [None]


def test_a_message_under_way_when_somebody_pauses_waits_again(
    admin: Actor, member: Actor, box: Receiver, run_jobs: RunJobs
) -> None:
    made = hook(admin, box)
    folder(member, "Survey")
    with turns.due_jobs({"webhooks": 9}) as turn:
        pass
    webhooks.change_webhook(admin, made.id, WebhookChange(enabled=False))
    started = jobs.start_job(turn.jobs[0].id)
    assert started
    with pytest.raises(jobs.NotNow):
        dispatches.deliver(started)
    jobs.put_back(started)
    assert (run_jobs(), box.kept, states_of(admin, made)) == (0, [], {"held"})


def test_what_a_removed_webhook_was_owed_is_cancelled(
    admin: Actor, member: Actor, box: Receiver, run_jobs: RunJobs
) -> None:
    made = hook(admin, box)
    folder(member, "Survey")
    webhooks.delete_webhook(admin, made.id)
    run_jobs()
    (job,) = worklists.list_jobs(admin, JobFilter(whose="all", name="webhooks.deliver")).items
    assert (job.state, job.error, box.kept) == ("cancelled", "The webhook was removed.", [])


def test_what_was_held_before_the_migration_waits_for_its_webhook(
    admin: Actor, member: Actor, box: Receiver, run_jobs: RunJobs
) -> None:
    """Revision 0008 ended the job of a held delivery as done."""
    revision = runpy.run_path(str(ROOT / "migrations/versions/20261126_0009_breakers.py"))
    made = hook(admin, box)
    folders_named(member, "Survey", 3)
    run_jobs()
    webhooks.change_webhook(admin, made.id, WebhookChange(enabled=False))
    first, second, third = log_of(admin, made)
    with db.engine.connect().execution_options(write=True) as line, line.begin():
        table = WebhookDelivery.__table__
        line.execute(table.update().where(table.c.uuid.in_([first.id, second.id])).values(state="held"))
        line.execute(Job.__table__.delete().where(Job.target_uuid == second.id))  # it was forgotten meanwhile
        line.exec_driver_sql(revision["REOPEN"])
        line.exec_driver_sql(revision["WAIT"])
    assert [one.state for one in log_of(admin, made)] == ["held", "failed", "delivered"]
    webhooks.change_webhook(admin, made.id, WebhookChange(enabled=True))
    run_jobs()
    assert [one.state for one in log_of(admin, made)] == ["delivered", "failed", "delivered"]
    assert [message.id for message in box.kept].count(first.webhook_id) == 2
    assert third.state == "delivered"
