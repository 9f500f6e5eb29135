"""Mail: written with the deed, sent at least once under one Message-ID, its refusals kept."""

import asyncio
import datetime
import email
import ipaddress
import ssl
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from email.message import Message
from email.policy import default
from pathlib import Path
from typing import Any, cast

import pytest
import time_machine
from aiosmtpd.controller import Controller
from aiosmtpd.smtp import SMTP, AuthResult, Envelope, LoginPassword, Session
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID
from flask import Flask
from pydantic import SecretStr

from tests.conftest import make_settings
from tests.servers import free_port
from webapp.config import ConfigurationError, current_settings, use_settings
from webapp.db import read_rows, transaction
from webapp.infra import mail
from webapp.infra.clock import now
from webapp.infra.crypto import sealed_column
from webapp.models.jobs import Job
from webapp.models.record import any_state
from webapp.services.mails import Recipient, send_mail

RunJobs = Callable[[], int]
VARIABLES = {"name": "Harbour & Sons", "url": "https://hooks.example/<in>", "reason": "failing", "error": "500",
             "since": "2026-11-22T10:00:00+00:00", "page": "https://vault.example/admin/webhooks/1"}  # fmt: skip
MIRA = Recipient("mira@harbour.example", "Mira Ødegård")


class Mailbox:
    """A mail server's mind: what it keeps, and what it answers at each step, one answer per mail until the last."""

    def __init__(self, *answers: str, refused: str = "") -> None:
        self.kept: list[Message] = []
        self.answers, self.refused = list(answers) or ["250 2.0.0 Taken as 42"], refused

    async def handle_RCPT(  # noqa: N802
        self, server: SMTP, session: Session, envelope: Envelope, address: str, options: list[str]
    ) -> str:
        if address == self.refused:
            return "550 5.1.1 No such person here"
        envelope.rcpt_tos.append(address)
        return "250 OK"

    async def handle_DATA(self, server: SMTP, session: Session, envelope: Envelope) -> str:  # noqa: N802
        answer = self.answers.pop(0) if len(self.answers) > 1 else self.answers[0]
        if answer != "forgets":
            self.kept.append(email.message_from_bytes(cast(bytes, envelope.content), policy=default))
        if answer == "hangs":
            await asyncio.sleep(3)
        if answer in {"closes", "hangs"}:
            cast(asyncio.Transport, server.transport).abort()
        return answer if answer[0].isdigit() else "250 OK"


@contextmanager
def mail_server(box: Mailbox, url: str = "smtp://127.0.0.1:{port}", **options: Any) -> Iterator[None]:
    """Runs it on a free port and makes it the vault's."""
    controller = Controller(box, hostname="127.0.0.1", port=free_port(), **options)
    controller.start()
    before, address = current_settings(), SecretStr(url.format(port=controller.port))
    use_settings(before.model_copy(update={"mail_url": address, "mail_from": "Vault <v@h.example>"}))
    try:
        yield
    finally:
        use_settings(before)
        controller.stop()


def order(to: Recipient = MIRA) -> Any:
    with transaction():
        return send_mail(None, "webhook_paused", to, VARIABLES)


def job_of(job: Any) -> Any:
    return read_rows(any_state(Job, Job.state, Job.error, Job.result, Job.attempts, Job.args).where(Job.uuid == job))[0]


def later(run_jobs: RunJobs, minutes: float = 5) -> None:
    with time_machine.travel(now() + datetime.timedelta(minutes=minutes)):
        run_jobs()


def test_a_mail_has_text_and_html_and_the_servers_words_are_kept(app: Flask, run_jobs: RunJobs) -> None:
    box = Mailbox()
    with mail_server(box):
        job = order()
        run_jobs()
    (letter,) = box.kept
    assert letter["To"] == "Mira Ødegård <mira@harbour.example>"
    assert letter["From"] == "Vault <v@h.example>"
    assert letter["Subject"] == "The webhook “Harbour & Sons” is paused"
    assert letter["Message-ID"] == f"<{job}@h.example>"
    assert letter["Auto-Submitted"] == "auto-generated"
    text, html = (part.get_content() for part in letter.iter_parts())  # type: ignore[attr-defined]
    assert "https://hooks.example/<in>" in text
    assert "https://hooks.example/&lt;in&gt;" in html
    assert "Nov 22, 2026" in text
    done = job_of(job)
    assert (done.state, done.result["answer"]) == ("done", "250 2.0.0 Taken as 42")


def test_a_deed_that_rolls_back_sends_nothing(app: Flask, run_jobs: RunJobs) -> None:
    box = Mailbox()
    with mail_server(box):
        with suppress(RuntimeError), transaction():
            send_mail(None, "webhook_paused", MIRA, VARIABLES)
            raise RuntimeError
        assert run_jobs() == 0
    assert box.kept == []


def test_what_a_mail_says_does_not_stand_in_the_jobs_table(app: Flask) -> None:
    row = job_of(order())
    assert row.args == {}
    stored = read_rows(any_state(Job, sealed_column(Job.sealed)))[0][0]
    assert b"mira" not in bytes(stored)


def test_a_refused_recipient_ends_as_failed_with_the_words_and_the_other_gets_the_mail(
    app: Flask, run_jobs: RunJobs
) -> None:
    box = Mailbox(refused="gone@harbour.example")
    with mail_server(box):
        lost, good = order(Recipient("gone@harbour.example")), order()
        run_jobs()
        later(run_jobs)
    failed = job_of(lost)
    assert (failed.state, failed.attempts) == ("failed", 1)
    assert failed.error == "The mail server refused the recipient: 550 5.1.1 No such person here"
    assert failed.result["refused"] == "the recipient"
    assert failed.result["answer"] == "550 5.1.1 No such person here"
    assert job_of(good).state == "done"
    assert [letter["To"] for letter in box.kept] == ["Mira Ødegård <mira@harbour.example>"]


def test_a_content_refused_for_good_is_a_bounce_too(app: Flask, run_jobs: RunJobs) -> None:
    with mail_server(Mailbox("554 5.7.1 Looks like spam")):
        job = order()
        run_jobs()
    assert (job_of(job).state, job_of(job).result["refused"]) == ("failed", "the content")


@pytest.mark.parametrize("trouble", ["451 4.3.0 Try later", "closes", "hangs"])
def test_after_trouble_the_same_mail_goes_out_again_under_the_same_id(
    app: Flask, run_jobs: RunJobs, monkeypatch: pytest.MonkeyPatch, trouble: str
) -> None:
    monkeypatch.setattr(mail, "PATIENCE", 1.0)
    box = Mailbox(trouble, "250 2.0.0 Taken")
    with mail_server(box):
        job = order()
        run_jobs()
        waiting = job_of(job)
        assert (waiting.state, waiting.attempts) == ("queued", 1)
        assert "mail server" in waiting.error
        later(run_jobs)
    assert job_of(job).state == "done"
    assert len(box.kept) == 2, "the server saw it twice: at least once is the promise"
    assert {letter["Message-ID"] for letter in box.kept} == {f"<{job}@h.example>"}


def test_a_server_that_is_not_there_is_waited_for(app: Flask, run_jobs: RunJobs) -> None:
    before = current_settings()
    use_settings(before.model_copy(update={"mail_url": SecretStr("smtp://127.0.0.1:1")}))
    job = order()
    run_jobs()
    use_settings(before)
    assert job_of(job).state == "queued"


def test_without_a_server_the_job_says_what_is_missing(app: Flask, run_jobs: RunJobs) -> None:
    before = current_settings()
    use_settings(before.model_copy(update={"mail_url": None}))
    job = order()
    run_jobs()
    use_settings(before)
    assert (job_of(job).state, job_of(job).error) == ("failed", "No mail server is configured (MAIL_URL).")


def test_in_development_the_mail_is_printed(app: Flask, run_jobs: RunJobs, capsys: pytest.CaptureFixture[str]) -> None:
    order()
    run_jobs()
    assert "Subject: The webhook" in capsys.readouterr().out


def test_a_name_with_a_line_break_cannot_add_a_header() -> None:
    letter = mail.Letter("a@b.example", "Mira\r\nBcc: all@b.example", "Hello", "text", "<p>text", "<1@b.example>")
    with pytest.raises(ValueError):
        mail.message_of(letter)


@pytest.fixture
def certificate(tmp_path: Path) -> Path:
    return self_signed(tmp_path)


def self_signed(folder: Path) -> Path:
    """A certificate for 127.0.0.1 that vouches for itself, with its key."""
    key, name = ec.generate_private_key(ec.SECP256R1()), x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "mail")])
    moment = datetime.datetime.now(datetime.UTC)
    made = (
        x509.CertificateBuilder().subject_name(name).issuer_name(name).public_key(key.public_key()).serial_number(1)
        .not_valid_before(moment - datetime.timedelta(days=1)).not_valid_after(moment + datetime.timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([x509.IPAddress(ipaddress.ip_address("127.0.0.1"))]), False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .sign(key, hashes.SHA256())
    )  # fmt: skip
    secret = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    path = folder / "own.pem"
    path.write_bytes(secret + made.public_bytes(serialization.Encoding.PEM))
    return path


def signs_in(server: SMTP, session: Session, envelope: Envelope, mechanism: str, data: LoginPassword) -> AuthResult:
    return AuthResult(success=data.password == b"pass word", handled=False)


def test_a_password_goes_only_through_tls_of_a_server_that_is_vouched_for(
    app: Flask, run_jobs: RunJobs, certificate: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate)
    box, url = Mailbox(), "smtp://vault:pass%20word@127.0.0.1:{port}"
    with mail_server(box, url, tls_context=context, authenticator=signs_in, auth_required=True):
        job = order()
        run_jobs()
        assert "certificate verify failed" in job_of(job).error
        assert box.kept == []
        monkeypatch.setenv("SSL_CERT_FILE", str(certificate))
        later(run_jobs)
    assert job_of(job).state == "done"
    with mail_server(box, url):  # offers no STARTTLS
        plain = order()
        run_jobs()
    assert "STARTTLS" in job_of(plain).error


def test_a_wrong_password_is_the_operators_to_mend_and_bounces_no_mail(app: Flask, run_jobs: RunJobs) -> None:
    url = "smtp://vault:wrong@127.0.0.1:{port}?tls=off"
    with mail_server(Mailbox(), url, authenticator=signs_in, auth_require_tls=False):
        job = order()
        run_jobs()
    assert job_of(job).state == "queued"
    assert "535" in job_of(job).error


@pytest.mark.parametrize(
    ("name", "value"),
    [("MAIL_URL", "mail.example.org"), ("MAIL_URL", "smtp://"), ("MAIL_URL", "smtp://a?tls=maybe"),
     ("MAIL_FROM", "nobody"), ("MAIL_FROM", "a@b.example\nBcc: c@d.example")],
)  # fmt: skip
def test_a_wrong_setting_is_named_and_its_secret_is_not_shown(tmp_path: Path, name: str, value: str) -> None:
    with pytest.raises(ConfigurationError) as refusal:
        make_settings(tmp_path, **{name: value})
    assert [fault.partition(":")[0] for fault in refusal.value.faults] == [name]
