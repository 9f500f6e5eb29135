"""Fixtures: one application per database and session, emptied between tests; people to act as."""

import os
import re
import secrets
import socket
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import psycopg2
import pytest
from argon2 import PasswordHasher
from flask import Flask
from flask.testing import FlaskClient
from hypothesis import HealthCheck
from hypothesis import settings as trials
from sqlalchemy import Connection, delete, insert, select, update

from tests.servers import absent
from tests.vault import Vault, empty_store
from webapp.app import create_app
from webapp.config import Settings, current_settings, load_settings, use_settings
from webapp.db import Base, db
from webapp.extensions import connect_migrations
from webapp.infra import clock, ids
from webapp.models.roles import Role, RolePermission
from webapp.models.users import Quota
from webapp.policies import ADMIN, BUILT_IN, Actor, default_permissions
from webapp.services import fanout, passwords, sessions, totp, users
from webapp.services.caches import layers

# A busy machine is no fault of what is tested.
trials.register_profile("suite", deadline=None, suppress_health_check=[HealthCheck.too_slow])
trials.load_profile("suite")

PASSWORD = "Correct-Horse-7-Battery"
passwords.hasher = PasswordHasher(time_cost=1, memory_cost=8, parallelism=1)  # the suite hashes thousands of times
SERVER = os.environ.get("TEST_POSTGRES", "postgresql://postgres@127.0.0.1:5432/postgres")
PORTS = {"postgresql": 5432, "redis": 6379, "rabbitmq": 5672}


def answers(port: int, host: str = "127.0.0.1") -> bool:
    """Whether something accepts connections there."""
    with socket.socket() as probe:
        probe.settimeout(0.5)
        return probe.connect_ex((host, port)) == 0


def need(service: str) -> None:
    """Skip the test by name where the service is absent; fail instead under REQUIRE_SERVICES=1."""
    if not answers(PORTS[service]):
        absent(f"{service} does not answer on port {PORTS[service]}")


@pytest.fixture(scope="session")
def postgres_url() -> Iterator[str]:
    """A fresh database for this test process, dropped at the end."""
    need("postgresql")
    name = f"holdfast_test_{os.getpid()}_{secrets.token_hex(3)}"
    admin = psycopg2.connect(SERVER)
    admin.autocommit = True
    with admin.cursor() as cursor:
        cursor.execute(f'CREATE DATABASE "{name}"')
    yield SERVER.rsplit("/", 1)[0] + f"/{name}"
    with admin.cursor() as cursor:
        cursor.execute(f'DROP DATABASE "{name}" WITH (FORCE)')
    admin.close()


def make_settings(var_dir: Path, **extra: str) -> Settings:
    """Settings of a test: nothing from the surroundings, cheap time-outs, everything under var_dir."""
    return load_settings({"APP_ENV": "test", "VAR_DIR": str(var_dir), "LOG_LEVEL": "error",
                          "RATE_LIMIT": "1000000 per minute", "SIGN_IN_RATE_LIMIT": "1000000 per minute",
                          **extra})  # fmt: skip


@pytest.fixture(scope="session", params=["sqlite", "postgresql"])
def session_app(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Flask]:
    """The application on each database, its tables made by the migrations."""
    extra = {} if request.param == "sqlite" else {"DATABASE_URL": request.getfixturevalue("postgres_url")}
    settings = make_settings(tmp_path_factory.mktemp(request.param), **extra)
    application = create_app(settings)
    application.config["HOLDFAST_SETTINGS"] = settings
    with application.app_context():
        migrate(application)
    yield application
    with application.app_context():
        ids._forget()
        db.session.remove()
        db.engine.dispose()


def migrate(application: Flask) -> None:
    """Bring the application's database to the newest revision."""
    from flask_migrate import upgrade

    connect_migrations(application)
    upgrade()


@pytest.fixture(params=["plain", "sealed"])
def stored_as(request: pytest.FixtureRequest, app: Flask) -> Iterator[str]:
    """New content as it is, and encrypted."""
    before = current_settings()
    use_settings(before.model_copy(update={"encrypt_files": request.param == "sealed"}))
    yield request.param
    use_settings(before)


def make_tables() -> None:
    """The tables of the present application as the models say, and what migrations plant."""
    Base.metadata.create_all(db.engine)
    with db.engine.connect().execution_options(write=True) as connection, connection.begin():
        if connection.scalar(select(Role.id).limit(1)) is None:
            plant_roles(connection)


def empty(application: Flask) -> None:
    """Delete every row, children first, but for what migrations plant: the built-in roles as they are at first."""
    with db.engine.connect().execution_options(write=True) as connection, connection.begin():
        with disarmed(connection):
            for table in reversed(Base.metadata.sorted_tables):
                if table.name not in {"node_leases", "alembic_version", "encryption_keys"}:
                    connection.execute(delete(table))
            if connection.dialect.name == "sqlite":  # the index follows by triggers, which are off
                connection.exec_driver_sql("INSERT INTO search_words (search_words) VALUES ('delete-all')")
        plant_roles(connection)


@contextmanager
def disarmed(connection: Connection) -> Iterator[None]:
    """Without the triggers of the tables, as their owner may; until the block ends, of SQLite or of the transaction."""
    if connection.dialect.name == "postgresql":
        connection.exec_driver_sql("SET LOCAL session_replication_role = replica")
        yield
        connection.exec_driver_sql("SET LOCAL session_replication_role = origin")
        return
    triggers = connection.exec_driver_sql("SELECT name, sql FROM sqlite_master WHERE type = 'trigger'").all()
    for name, _ in triggers:
        connection.exec_driver_sql(f"DROP TRIGGER {name}")
    yield
    for _, sql in triggers:
        connection.exec_driver_sql(sql)


def plant_roles(connection: Connection) -> None:
    """The built-in roles; tests/test_roles.py proves that the migrations plant the same."""
    for number, (slug, (name, about)) in enumerate(BUILT_IN.items(), 1):
        row = {"id": number, "slug": slug, "name": name, "about": about, "built_in": True}
        connection.execute(insert(Role).values(row))
        held = default_permissions(slug) if slug != ADMIN else ()
        for permission in sorted(held):
            connection.execute(insert(RolePermission).values(role=slug, permission=permission))


@pytest.fixture(autouse=True)
def back_from_the_future() -> None:
    """A test that travelled in time made ids of then; the next one leases a node of now."""
    if ids._Process.flakes is not None and ids._Process.flakes.last_ms > ids.wall_ms():
        ids._forget()


@pytest.fixture(autouse=True)
def stopped_codes(monkeypatch: pytest.MonkeyPatch) -> None:
    """The clock that codes of an app go by stands still: a slow machine is no fault of what is tested."""
    moment = clock.now()
    monkeypatch.setattr(totp, "now", lambda: moment)


_leased_from: list[Flask] = []


def _lease_from(application: Flask) -> None:
    """A process has one id node; when the tests change to another database it is leased there anew."""
    if _leased_from != [application]:
        ids._forget()
        _leased_from[:] = [application]


@pytest.fixture
def app(session_app: Flask) -> Iterator[Flask]:
    """The application with an empty database, inside an application context."""
    use_settings(session_app.config["HOLDFAST_SETTINGS"])
    _lease_from(session_app)
    with session_app.app_context():
        empty(session_app)
        sessions.forget_identities()
        fanout.forget_filters()
        layers().near.clear()
        yield session_app
        db.session.rollback()


@pytest.fixture
def client(app: Flask) -> FlaskClient:
    """A browser or program that has not signed in."""
    return app.test_client()


@pytest.fixture
def person(app: Flask) -> Callable[..., Actor]:
    """Makes an account and returns it as an actor: person("mira", role="admin")."""

    def make(name: str, role: str = "member") -> Actor:
        wish = users.NewUser(email=f"{name}@harbour.example", name=name.title(), password=PASSWORD)
        return users.create_user(None, wish, role=role)

    return make


@pytest.fixture
def member(person: Callable[..., Actor]) -> Actor:
    """An ordinary account."""
    return person("mira")


@pytest.fixture
def stranger(person: Callable[..., Actor]) -> Actor:
    """Another ordinary account, with no part in the first one's files."""
    return person("stranger")


@pytest.fixture
def admin(person: Callable[..., Actor]) -> Actor:
    """An administrator."""
    return person("ana", role="admin")


@pytest.fixture
def bearer(client: FlaskClient) -> Callable[[Actor], dict[str, str]]:
    """Headers of a program signed in as the actor."""

    def headers(actor: Actor) -> dict[str, str]:
        answer = client.post("/api/v1/auth/login", json={"email": actor.email, "password": PASSWORD})
        assert answer.status_code == 200, answer.text
        return {"Authorization": f"Bearer {answer.json['access_token']}"}

    return headers


@pytest.fixture
def signed_in(app: Flask) -> Callable[[Actor], FlaskClient]:
    """A browser signed in as the actor by the form of the sign-in page."""

    def browser(actor: Actor) -> FlaskClient:
        client = app.test_client()
        token = csrf_of(client.get("/sign-in").text)
        answer = client.post("/sign-in", data={"email": actor.email, "password": PASSWORD, "csrf_token": token})
        assert answer.status_code == 302, answer.text
        return client

    return browser


def csrf_of(page: str) -> str:
    """The CSRF token that a page carries, for its scripts or in its forms."""
    found = re.search(r'name="csrf[-_]token" (?:content|value)="([^"]+)"', page)
    assert found, page[:2000]
    return found[1]


@pytest.fixture
def vault(app: Flask, member: Actor, bearer: Callable[[Actor], dict[str, str]]) -> Vault:
    """The API as a program of the member sees it, on an empty store."""
    empty_store()
    return Vault(app, bearer(member), member)


@pytest.fixture
def other_vault(app: Flask, stranger: Actor, bearer: Callable[[Actor], dict[str, str]]) -> Vault:
    """The same as a program of the stranger sees it."""
    return Vault(app, bearer(stranger), stranger)


@pytest.fixture
def quota(app: Flask) -> Callable[[Actor, int], None]:
    """Sets how many bytes an account may hold: quota(actor, 1000)."""

    def allow(actor: Actor, size: int) -> None:
        with db.engine.connect().execution_options(write=True) as connection, connection.begin():
            connection.execute(update(Quota).where(Quota.user_id == actor.id).values(byte_limit=size))

    return allow


@pytest.fixture
def run_jobs(app: Flask) -> Callable[[], int]:
    """Runs all due jobs in this thread, as a worker would; returns how many ran."""
    from tasks.embedded import run_due_jobs

    return lambda: run_due_jobs(app)
