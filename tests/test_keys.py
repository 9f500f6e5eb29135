"""Encrypted values are bound to table, column and row, move under the first key, and a lost key is named at start."""

import hashlib
import os
import signal
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF
from flask import Flask
from flask_migrate import stamp
from pydantic import SecretStr
from sqlalchemy import Integer, LargeBinary, String, delete, literal, select, update

from tests.conftest import make_settings, make_tables
from tests.databases import KINDS, empty_database
from tests.faults.processes import Program
from tests.letters import ordered
from tests.servers import wait_until
from webapp.app import create_app
from webapp.config import ConfigurationError, current_settings, use_settings
from webapp.db import Base, db, read_row, read_rows, tally, transactional
from webapp.errors import Conflict, Locked
from webapp.extensions import connect_migrations
from webapp.infra import crypto
from webapp.infra.ciphers import Damaged, UnknownKey, data_keys
from webapp.infra.clock import now
from webapp.infra.crypto import in_row, sealed_column
from webapp.infra.locks import locked, locks
from webapp.models.idempotency_keys import IdempotencyKey
from webapp.models.identities import ExternalIdentity, OidcVisit
from webapp.models.jobs import Job
from webapp.models.keys import EncryptionKey, all_encrypted
from webapp.models.record import any_state
from webapp.models.sessions import Session
from webapp.models.webhooks import Webhook
from webapp.policies import Actor
from webapp.services import keys
from webapp.services.mails import Recipient, send_mail

OLD, NEW = SecretStr("o" * 40), SecretStr("n" * 40)
ROOT = Path(__file__).parent.parent


class Work:
    """A running job."""

    def __init__(self, after: Callable[[], None] = lambda: None) -> None:
        self.told: list[float] = []
        self.after = after

    def progress(self, percent: float) -> None:
        self.told.append(percent)
        self.after()


@pytest.fixture(autouse=True)
def own_keys(request: pytest.FixtureRequest) -> Iterator[None]:
    """Two keys of ours, the newer first; afterwards those of the suite."""
    if "app" not in request.fixturenames:
        yield
        return
    request.getfixturevalue("app")
    before = current_settings()
    under(OLD)
    yield
    use_settings(before)


def under(*data_keys: SecretStr) -> None:
    use_settings(current_settings().model_copy(update={"data_keys": data_keys}))


def write(statement: Any) -> None:
    with db.engine.connect().execution_options(write=True) as line, line.begin():
        line.execute(statement)


def stored(column: Any) -> list[bytes]:
    return [bytes(row[0]) for row in read_rows(select(sealed_column(column)).order_by(*column.table.primary_key))]


@transactional
def hook(owner: Actor, secret: str = "whsec_quay") -> int:
    webhook = Webhook(name="Quay", url="https://quay.example", events=["*"], secret=secret, owner_id=owner.id)
    db.session.add(webhook)
    db.session.flush()
    return webhook.id


@transactional
def identity(owner: Actor, subject: str) -> None:
    digest = crypto.lookup_keys(subject, "identity subject")[0]
    db.session.add(ExternalIdentity(user_id=owner.id, issuer="https://login.example", subject=subject,
                                    subject_key=digest, email=owner.email, used_at=now()))  # fmt: skip


@transactional
def mail() -> None:
    send_mail(None, "welcome", Recipient("mira@harbour.example"), {})


def formerly(plain: bytes, place: str, secret: SecretStr) -> bytes:
    """A value as it was stored before rows were part of it."""
    key = HKDF(SHA256(), 32, salt=None, info=b"holdfast field encryption").derive(secret.get_secret_value().encode())
    nonce = os.urandom(12)
    return hashlib.sha256(b"key id" + key).digest()[:4] + nonce + AESGCM(key).encrypt(nonce, plain, place.encode())


# Rows -----------------------------------------------------------------------------------------------------------------


def test_a_value_reads_in_its_row_and_nowhere_else(app: Flask, admin: Actor) -> None:
    first, second = hook(admin, "whsec_one"), hook(admin, "whsec_two")
    assert {row.secret for row in read_rows(any_state(Webhook, Webhook.secret))} == {"whsec_one", "whsec_two"}
    assert db.session.get(Webhook, first).secret == "whsec_one"  # type: ignore[union-attr]
    db.session.rollback()
    here, there = stored(Webhook.secret)
    assert b"whsec" not in here + there
    write(update(Webhook).where(Webhook.id == second).values(secret=literal(here, LargeBinary)))
    with pytest.raises(Damaged):
        read_rows(any_state(Webhook, Webhook.secret).where(Webhook.id == second))
    write(update(Webhook).where(Webhook.id == first).values(former_secret=literal(here, LargeBinary)))
    with pytest.raises(Damaged):
        read_rows(any_state(Webhook, Webhook.former_secret).where(Webhook.id == first))
    assert read_row(any_state(Webhook, Webhook.secret).where(Webhook.id == first)).secret == "whsec_one"  # type: ignore[union-attr]


def test_a_value_that_moves_between_attributes_is_sealed_for_its_new_place(app: Flask, admin: Actor) -> None:
    number = hook(admin)

    @transactional
    def rotate() -> None:
        webhook = db.session.scalars(any_state(Webhook)).one()
        webhook.former_secret, webhook.secret = webhook.secret, "whsec_next"

    rotate()
    row = read_row(any_state(Webhook, Webhook.secret, Webhook.former_secret).where(Webhook.id == number))
    assert row is not None
    assert tuple(row) == ("whsec_next", "whsec_quay")


def test_a_statement_has_to_say_the_row(app: Flask, admin: Actor) -> None:
    number = hook(admin)
    plain = update(Webhook).where(Webhook.id == number).values(secret="whsec_bare")
    with pytest.raises(Exception, match=r"in_row\(\)"):
        write(plain)
    write(plain.values(secret=in_row("whsec_said", number)))
    assert read_rows(any_state(Webhook, Webhook.secret))[0].secret == "whsec_said"
    write(plain.values(secret=in_row("whsec_wrong", number + 1)))
    with pytest.raises(Damaged):
        read_rows(any_state(Webhook, Webhook.secret))


def test_rows_of_a_composite_or_a_text_key_are_told_apart(app: Flask, admin: Actor) -> None:
    row = {"user_id": admin.id, "fingerprint": "", "created_at": now()}
    for key in ("a", "b\u00e9:\n"):
        body = in_row(key.encode() + b"\0\xff", admin.id, key)
        write(IdempotencyKey.__table__.insert().values(**row, key=key, body=body))  # type: ignore[attr-defined]
    read = read_rows(any_state(IdempotencyKey, IdempotencyKey.key, IdempotencyKey.body))
    assert {row.key: row.body for row in read} == {key: key.encode() + b"\0\xff" for key, _ in read}
    moved = stored(IdempotencyKey.body)[0]
    write(update(IdempotencyKey).values(body=literal(moved, LargeBinary)))
    with pytest.raises(Damaged):
        read_rows(any_state(IdempotencyKey, IdempotencyKey.body))
    visit = {"key": "k1", "browser": "b", "issuer": "i", "stage": "away", "expires_at": now()}
    write(OidcVisit.__table__.insert().values(**visit, sealed=in_row("sealed", "k1")))  # type: ignore[attr-defined]
    with db.engine.connect().execution_options(write=True) as line, line.begin():
        assert line.execute(delete(OidcVisit).returning(OidcVisit.sealed)).scalar_one() == "sealed"


def test_every_encrypted_column_names_its_place_and_has_a_key_that_sql_spells_alike() -> None:
    for column in all_encrypted():
        assert column.type.place == f"{column.table.name}.{column.name}"  # type: ignore[attr-defined]
        for key in column.table.primary_key:  # type: ignore[attr-defined]
            assert isinstance(key.type, Integer | String), f"{column}: a {key.type} is spelt differently in SQL"
        found_by = column.type.found_by  # type: ignore[attr-defined]
        assert found_by is None or found_by[0] in column.table.c
    personal = {column.type.place for column in all_encrypted() if column.type.personal}  # type: ignore[attr-defined]
    assert {"sessions.address", "sessions.agent", "identities.email"} < personal
    assert not {"webhooks.secret"} & personal


# Values of before -----------------------------------------------------------------------------------------------------


def test_what_was_bound_to_its_column_only_stays_readable_and_is_bound_by_rotation(app: Flask, admin: Actor) -> None:
    first, second = hook(admin), hook(admin)
    mail()
    write(update(Webhook).values(secret=literal(formerly(b"whsec_former", "webhooks.secret", OLD), LargeBinary)))
    order = db.session.scalars(any_state(Job)).one()
    plain = Job.sealed.type.unseal(stored(Job.sealed)[0], str(order.id))  # type: ignore[attr-defined]
    write(update(Job).values(sealed=literal(formerly(plain, "jobs.args mail", OLD), LargeBinary)))
    assert {row.secret for row in read_rows(any_state(Webhook, Webhook.secret))} == {"whsec_former"}
    assert ordered()[0].to.email == "mira@harbour.example"
    before = stored(Webhook.secret)
    done = keys.rotate_keys(Work())
    assert done == {"values": 3, "unreadable": 0, "continues": 0}
    assert {row.secret for row in read_rows(any_state(Webhook, Webhook.secret))} == {"whsec_former"}
    assert ordered()[0].to.email == "mira@harbour.example"
    swapped = stored(Webhook.secret)
    assert not set(before) & set(swapped)
    write(update(Webhook).where(Webhook.id == first).values(secret=literal(swapped[1], LargeBinary)))
    with pytest.raises(Damaged):
        read_rows(any_state(Webhook, Webhook.secret).where(Webhook.id == first))
    assert read_rows(any_state(Webhook, Webhook.secret).where(Webhook.id == second))


# Rotation -------------------------------------------------------------------------------------------------------------


def test_rotation_moves_every_value_and_digest_under_the_first_key_and_raises_no_version(
    app: Flask, admin: Actor, run_jobs: Callable[[], int]
) -> None:
    hook(admin)
    identity(admin, "u-1")
    before = read_row(any_state(Webhook, Webhook.version, Webhook.updated_at))
    under(NEW, OLD)
    keys.order_rotation()
    assert run_jobs() == 1
    job = db.session.scalars(any_state(Job)).one()
    assert (job.state, job.result["values"], job.result["unreadable"]) == ("done", 3, 0)  # type: ignore[index]
    assert {use.number for use in keys.count_values()} == {1}
    assert read_row(any_state(Webhook, Webhook.version, Webhook.updated_at)) == before
    under(NEW)
    assert read_rows(any_state(Webhook, Webhook.secret))[0].secret == "whsec_quay"
    row = read_row(any_state(ExternalIdentity, ExternalIdentity.subject, ExternalIdentity.subject_key))
    assert row is not None
    assert (row.subject, row.subject_key) == ("u-1", crypto.lookup_keys("u-1", "identity subject")[0])
    assert keys.rotate_keys(Work())["values"] == 0, "a second run finds nothing"


def test_a_run_that_is_stopped_is_taken_up_by_the_next(
    app: Flask, admin: Actor, monkeypatch: pytest.MonkeyPatch
) -> None:
    for _ in range(5):
        hook(admin)
    under(NEW, OLD)
    monkeypatch.setattr(keys, "BATCH", 2)

    def stop() -> None:
        raise SystemExit

    with pytest.raises(SystemExit):
        keys.rotate_keys(Work(after=stop))
    assert sorted(use.values for use in keys.count_values()) == [2, 3]
    work = Work()
    assert keys.rotate_keys(work)["values"] == 3
    assert work.told == sorted(work.told)
    assert work.told[-1] == 99
    monkeypatch.setattr(keys, "LONGEST", -1.0)
    under(OLD, NEW)
    assert keys.rotate_keys(Work()) == {"values": 0, "unreadable": 0, "continues": 1}
    assert db.session.scalars(any_state(Job, Job.name)).all() == ["keys.rotate"], "a long one goes on in another job"


def test_who_changes_a_value_meanwhile_wins(app: Flask, admin: Actor, monkeypatch: pytest.MonkeyPatch) -> None:
    number = hook(admin)
    under(NEW, OLD)
    reseal = crypto.EncryptedBytes.reseal

    def slowly(kind: crypto.EncryptedBytes, sealed: bytes, row: str) -> Any:
        answer = reseal(kind, sealed, row)
        if db.engine.dialect.name == "postgresql":
            other = threading.Thread(target=change)
            other.start()
            other.join()
        else:  # one writer at a time: the change came just before
            db.session.execute(update(Webhook).values(secret=in_row("whsec_mine", number)))
        return answer

    def change() -> None:
        with app.app_context():
            write(update(Webhook).values(secret=in_row("whsec_mine", number)))

    monkeypatch.setattr(crypto.EncryptedBytes, "reseal", slowly)
    assert keys.rotate_keys(Work())["values"] == 0
    assert read_rows(any_state(Webhook, Webhook.secret))[0].secret == "whsec_mine"


def test_one_rotation_at_a_time_and_one_that_lost_its_lock_writes_nothing(
    app: Flask, admin: Actor, monkeypatch: pytest.MonkeyPatch
) -> None:
    hook(admin)
    under(NEW, OLD)
    with locked("keys", wait=0), pytest.raises(Locked):
        keys.rotate_keys(Work())
    keys.order_rotation()
    with pytest.raises(Conflict):
        keys.order_rotation()
    monkeypatch.setattr("webapp.infra.locks.Held.guard", lambda _: (_ for _ in ()).throw(Conflict("lost")))
    with pytest.raises(Conflict):
        keys.rotate_keys(Work())
    assert {use.number for use in keys.count_values()} == {2}


def test_what_nobody_can_read_is_counted_and_holds_nothing_up(app: Flask, admin: Actor) -> None:
    hook(admin)
    broken = hook(admin)
    write(update(Webhook).where(Webhook.id == broken).values(secret=literal(b"\0" * 40, LargeBinary)))
    under(NEW, OLD)
    assert keys.rotate_keys(Work()) == {"values": 1, "unreadable": 1, "continues": 0}
    lost = [use for use in keys.count_values() if use.number is None]
    assert [(use.place, use.key_id, use.values) for use in lost] == [("webhooks.secret", "00000000", 1)]


# Start ----------------------------------------------------------------------------------------------------------------


def test_a_lost_key_is_named_with_its_columns_and_a_forgotten_one_is_no_matter(app: Flask, admin: Actor) -> None:
    hook(admin)
    old = data_keys()[0].id.hex()
    keys.refuse_lost_keys()
    under(NEW)
    with pytest.raises(ConfigurationError) as caught:
        keys.refuse_lost_keys()
    assert f"DATA_KEYS: the key {old} is missing" in str(caught.value)
    assert "webhooks.secret" in str(caught.value)
    assert "sessions" not in str(caught.value)
    with pytest.raises(UnknownKey):
        read_rows(any_state(Webhook, Webhook.secret))
    under(NEW, OLD)
    keys.refuse_lost_keys()
    keys.rotate_keys(Work())
    under(NEW)
    keys.refuse_lost_keys()
    assert old not in db.session.scalars(any_state(EncryptionKey, EncryptionKey.id)).all()


def test_the_check_costs_two_statements_however_much_there_is(app: Flask, admin: Actor) -> None:
    hook(admin)
    keys.refuse_lost_keys()
    tally.reset()
    keys.refuse_lost_keys()
    assert tally.count <= 3


def many_sessions(count: int) -> None:
    moment = now()
    record = {"created_at": moment, "updated_at": moment, "version": 1}
    user = {"id": 1, "uuid": uuid4(), "name": "A", "email": "a@b.example", "email_key": "a@b.example"}
    write(Base.metadata.tables["users"].insert().values(**record, **user))
    # fmt: off
    rows = [{**record, "id": number, "uuid": uuid4(), "user_id": 1, "kind": "browser", "expires_at": moment,
             "seen_at": moment, "address": in_row(f"10.0.0.{number}", number)} for number in range(1, count + 1)]
    # fmt: on
    with db.engine.connect().execution_options(write=True) as line, line.begin():
        line.execute(Base.metadata.tables["sessions"].insert(), rows)


ROTATING = """
import sys
from tasks.application import make_app
from webapp.services import keys
keys.BATCH = 1
class Work:
    def progress(self, percent):
        print("at", int(percent), flush=True)
with make_app().app_context():
    keys.rotate_keys(Work())
"""


@pytest.mark.parametrize("kind", KINDS)
def test_a_process_killed_in_the_middle_leaves_every_value_whole(kind: str, tmp_path: Path) -> None:
    with empty_database(kind, tmp_path) as url:
        old, new = (key.get_secret_value() for key in (OLD, NEW))
        application = create_app(make_settings(tmp_path / "var", DATABASE_URL=url, DATA_KEYS=old))
        with application.app_context():
            make_tables()
            many_sessions(400)
            surroundings = {"DATABASE_URL": url, "DATA_KEYS": f"{new},{old}", "VAR_DIR": str(tmp_path / "var")}
            with Program(["-c", ROTATING], tmp_path / "rotating.log", **surroundings) as process:
                process.wait_for("at 5")
                process.stop(signal.SIGKILL)
            under(NEW, OLD)
            left = {use.number: use.values for use in keys.count_values()}
            assert left.keys() == {1, 2}
            write(update(locks).values(expires_at_ms=0))  # a minute later
            wait_until(lambda: _rotated(left[2]), 10)
            under(NEW)
            addresses = read_rows(any_state(Session, Session.id, Session.address))
            assert {row.address for row in addresses} == {f"10.0.0.{row.id}" for row in addresses}
            assert len(addresses) == 400
            db.session.remove()
            db.engine.dispose()


def _rotated(values: int) -> bool:
    """Once the server has noticed that the killed one is gone."""
    try:
        return keys.rotate_keys(Work())["values"] == values
    except Locked:
        return False


@pytest.mark.parametrize(
    "command",
    [
        ["-m", "tasks.serve"],
        ["-c", "import wsgi"],
        ["-m", "tasks.relay"],
        ["-m", "dramatiq", "tasks", "--processes", "1", "--threads", "1"],
    ],
    ids=["serve", "web", "relay", "worker"],
)
def test_no_process_starts_without_a_key_that_is_in_use(tmp_path: Path, command: list[str]) -> None:
    application = create_app(make_settings(tmp_path / "var"))
    connect_migrations(application)
    with application.app_context():
        make_tables()
        many_sessions(1)
        write(EncryptionKey.__table__.insert().values(id="0badf00d", created_at=now()))  # type: ignore[attr-defined]
        lost = bytes.fromhex("0badf00d") + bytes(40)
        write(update(Session).values(agent=literal(lost, LargeBinary)))
        stamp(directory=str(ROOT / "migrations"))
        db.engine.dispose()
    surroundings = {"VAR_DIR": str(tmp_path / "var"), "RABBITMQ_URL": "amqp://u:p@127.0.0.1:1/"}
    with Program(command, tmp_path / "said.log", **surroundings) as process:
        wait_until(lambda: process.ended, 60)
        assert process.process.returncode == 2, process.text
        assert "the key 0badf00d is missing" in process.text
        assert "sessions.agent" in process.text
        assert "sessions.address" not in process.text
        assert "Traceback" not in process.text


@pytest.mark.parametrize("words", [["rotate"], ["status"]], ids=" ".join)
def test_the_commands_say_what_is_under_which_key(app: Flask, admin: Actor, words: list[str]) -> None:
    hook(admin)
    under(NEW, OLD)
    run = app.test_cli_runner().invoke
    told = run(args=["keys", *words])
    assert told.exit_code == 0, told.output
    if words == ["status"]:
        assert "webhooks.secret" in told.output
        assert "key 2" in told.output
        assert "1 values are to be re-encrypted" in told.output
        keys.rotate_keys(Work())
        assert "Every value is under the first key" in run(args=["keys", "status"]).output
    else:
        assert "Queued as job" in told.output
        again = run(args=["keys", "rotate"])
        assert (again.exit_code, "under way already" in again.output) == (1, True)
