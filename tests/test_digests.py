"""Digest mails: to administrators, only when there is something to tell, and never twice of the same."""

from collections.abc import Callable
from datetime import timedelta
from email.message import Message
from typing import Any

import pytest
from flask import Flask
from sqlalchemy import update

from tests.test_mail import Mailbox, mail_server
from tests.vault import Vault
from webapp.db import db, read_rows, transaction
from webapp.infra.clock import now
from webapp.models.files import Blob
from webapp.models.jobs import Job
from webapp.models.record import any_state
from webapp.models.users import User
from webapp.models.webhooks import Webhook
from webapp.policies import Actor, system_actor
from webapp.services import digests, events, webhooks
from webapp.services.events import Target, queue_jobs
from webapp.services.webhooks import NewWebhook

RunJobs = Callable[[], int]


def change(model: Any, *criteria: Any, **values: Any) -> None:
    with db.engine.connect().execution_options(write=True) as line, line.begin():
        line.execute(update(model).where(*criteria).values(**values))


def given_up(name: str = "files.thumbnail", hours: float = 1) -> None:
    with transaction():
        (job,) = queue_jobs(system_actor(), [name], Target("test", None, "secret-plans.pdf"))
    change(Job, Job.uuid == job, state="dead", finished_at=now() - timedelta(hours=hours))


def digest(run_jobs: RunJobs) -> list[Message]:
    """Run the job and all that follows; the mails that arrive."""
    box = Mailbox()
    with transaction():
        queue_jobs(system_actor(), ["mails.digest"], Target("schedule", None))
    with mail_server(box):
        while run_jobs():
            pass
    return box.kept


def parts(letter: Message) -> list[str]:
    return [part.get_content() for part in letter.iter_parts()]  # type: ignore[attr-defined]


def test_nothing_to_tell_is_no_mail(admin: Actor, run_jobs: RunJobs) -> None:
    given_up(hours=24 * 8)  # before what the first digest looks back to
    assert digest(run_jobs) == []


def test_administrators_hear_what_was_given_up_damaged_and_paused_as_text_and_html(
    admin: Actor, vault: Vault, run_jobs: RunJobs
) -> None:
    file = vault.upload("secret-plans.pdf", b"x")
    while run_jobs():
        pass
    for _ in range(3):
        given_up()
    given_up("mails.send")
    change(Blob, Blob.sha256 == file["sha256"], damaged_at=now() - timedelta(hours=1))
    for name, reason in (("Quay & Sons", "gone"), ("Pier", "failing"), ("Mine", "manual")):
        hook = webhooks.create_webhook(admin, NewWebhook(name=name, url="https://8.8.8.8/", events=["file.*"]))
        change(Webhook, Webhook.uuid == hook.id, paused_at=now() - timedelta(hours=1), pause_reason=reason)
    (letter,) = digest(run_jobs)
    assert (letter["To"].addresses[0].addr_spec, letter["Subject"]) == (admin.email, "Your vault: things to look at")
    text, html = parts(letter)
    for part in (text, html):
        for words in ("4 jobs were given up", "Preview: 3", "Mail: 1", "1 file has damaged bytes",
                      "2 webhooks were paused", "its receiver is gone", "nothing could be delivered"):  # fmt: skip
            assert words in part
        assert "secret-plans" not in part, "files are private"
        assert "Mine" not in part, "whoever paused it knows"
    assert "Quay & Sons" in text
    assert "Quay &amp; Sons" in html
    assert "vault" not in [to.addr_spec for to in letter["To"].addresses]


def test_the_next_digest_tells_only_what_came_since(admin: Actor, run_jobs: RunJobs) -> None:
    given_up()
    assert len(digest(run_jobs)) == 1
    assert digest(run_jobs) == []
    given_up("files.sniff", hours=0)
    (letter,) = digest(run_jobs)
    assert "1 job was given up" in parts(letter)[0]
    assert "Type detection: 1" in parts(letter)[0]


def test_everybody_who_administers_and_may_sign_in_gets_one_in_their_own_time_zone(
    admin: Actor, person: Callable[..., Actor], run_jobs: RunJobs, member: Actor
) -> None:
    tokyo, gone = person("kei", role="admin"), person("gone", role="admin")
    change(User, User.id == tokyo.id, time_zone="Asia/Tokyo")
    change(User, User.id == gone.id, suspended_at=now())
    given_up()
    letters = {letter["To"].addresses[0].addr_spec: parts(letter)[0] for letter in digest(run_jobs)}
    assert letters.keys() == {admin.email, tokyo.email}
    first = [text.splitlines()[2] for text in (letters[admin.email], letters[tokyo.email])]
    assert first[0] != first[1], "the same instant on two clocks"


def test_a_job_that_dies_half_way_and_runs_again_writes_to_nobody_twice(
    app: Flask, admin: Actor, person: Callable[..., Actor], run_jobs: RunJobs, monkeypatch: pytest.MonkeyPatch
) -> None:
    person("kei", role="admin")
    given_up()
    send, calls = digests.send_mail, []

    def dies_at_the_second(*args: Any) -> Any:
        calls.append(args)
        if len(calls) == 2:
            raise RuntimeError
        return send(*args)

    monkeypatch.setattr(digests, "send_mail", dies_at_the_second)
    with transaction():
        (job,) = queue_jobs(system_actor(), ["mails.digest"], Target("schedule", None))
    run_jobs()
    given_up(hours=0)  # meanwhile something else happens
    change(Job, Job.uuid == job, state="queued", run_at=now(), sent_at=None)
    run_jobs()
    ordered = read_rows(any_state(Job, Job.uuid).where(Job.name == "mails.send"))
    assert len(ordered) == 2, "one each"


def test_the_schedule_is_built_in(app: Flask) -> None:
    from webapp.services.firings import BUILT_IN

    assert [(one.job, one.cron) for one in BUILT_IN if one.name == "mail-digest"] == [("mails.digest", "0 7 * * 1")]
    assert events.KINDS["mails.digest"].queue == "mail"
