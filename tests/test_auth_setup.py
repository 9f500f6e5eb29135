"""The first administrator: by the one-time link, by the environment, by the command line."""

import threading
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from flask import Flask
from flask.testing import FlaskClient
from pydantic import SecretStr

from webapp.config import ConfigurationError, current_settings, use_settings
from webapp.db import db
from webapp.models.record import any_state, live
from webapp.models.users import Quota, User, UserRole
from webapp.policies import Actor
from webapp.services import setup

from .conftest import PASSWORD, csrf_of

ME = "/api/v1/users/me"


def token() -> str:
    link = setup.setup_link()
    assert link is not None
    assert link.startswith(f"{current_settings().origin}/setup?token=")
    return link.partition("token=")[2]


def post_set_up(client: FlaskClient, link_token: str, **changes: str) -> Any:
    csrf = csrf_of(client.get("/sign-in").text)
    fields = {
        "token": link_token,
        "name": "Ana",
        "email": "ana@harbour.example",
        "password": PASSWORD,
        "csrf_token": csrf,
    }
    return client.post("/setup", data={**fields, **changes})


def test_the_link_makes_the_first_administrator_and_signs_her_in(client: FlaskClient) -> None:
    link_token = token()
    page = client.get(f"/setup?token={link_token}")
    assert page.status_code == 200
    answer = post_set_up(client, link_token)
    assert (answer.status_code, answer.location) == (302, "/files")
    assert client.get(ME).json["roles"] == ["admin"]
    assert db.session.scalars(any_state(Quota, Quota.byte_limit)).all() == [current_settings().default_quota]


def test_the_link_is_dead_after_its_use(client: FlaskClient) -> None:
    link_token = token()
    post_set_up(client, link_token)
    assert setup.setup_link() is None
    other = client.application.test_client()
    assert other.get(f"/setup?token={link_token}").status_code == 404
    assert post_set_up(other, link_token, email="eve@harbour.example").status_code == 404


def test_every_process_names_the_same_link_until_it_is_used(app: Flask) -> None:
    with ThreadPoolExecutor(8) as pool:
        links = set(pool.map(lambda _: _in_context(app, setup.setup_link), range(8)))
    assert len(links) == 1
    assert None not in links


def test_another_database_has_another_link(app: Flask) -> None:
    from .conftest import empty

    first = setup.setup_link()
    empty(app)
    assert setup.setup_link() not in {first, None}


@pytest.mark.parametrize("wrong", ["", "guess", "é" * 40, "x" * 5000, "nul\0"])
def test_a_guessed_link_is_a_404(client: FlaskClient, wrong: str) -> None:
    token()
    assert client.get("/setup", query_string={"token": wrong}).status_code == 404
    assert post_set_up(client, wrong).status_code == 404
    assert db.session.scalars(live(User)).all() == []


def test_an_existing_account_closes_the_set_up(client: FlaskClient, member: Actor) -> None:
    assert setup.setup_link() is None
    assert client.get("/setup?token=anything").status_code == 404


@pytest.mark.parametrize(
    ("changes", "field"),
    [({"password": "short"}, "password"), ({"password": "password1234"}, "password"),
     ({"email": "no-address"}, "email"), ({"name": ""}, "name"), ({"email": ""}, "email"), ({"name": "a\0b"}, "name")],
)  # fmt: skip
def test_a_faulty_form_comes_back_and_the_link_lives_on(
    client: FlaskClient, changes: dict[str, str], field: str
) -> None:
    link_token = token()
    answer = post_set_up(client, link_token, **changes)
    assert answer.status_code == 422
    assert f'id="error-{field}"' in answer.text
    assert PASSWORD not in answer.text
    assert post_set_up(client, link_token).status_code == 302


def test_of_two_who_open_the_link_at_once_one_wins(app: Flask) -> None:
    link_token, barrier = token(), threading.Barrier(2)

    def race(name: str) -> int:
        client = app.test_client()
        csrf = csrf_of(client.get("/sign-in").text)
        barrier.wait()
        fields = {"token": link_token, "name": name, "email": f"{name}@harbour.example", "password": PASSWORD}
        return int(client.post("/setup", data={**fields, "csrf_token": csrf}).status_code)

    with ThreadPoolExecutor(2) as pool:
        assert sorted(pool.map(race, ["ana", "eve"])) == [302, 404]
    assert len(db.session.scalars(live(User)).all()) == 1


def test_set_up_without_a_csrf_token_makes_nobody(client: FlaskClient) -> None:
    fields = {"token": token(), "name": "Ana", "email": "ana@harbour.example", "password": PASSWORD}
    assert client.post("/setup", data=fields).status_code in {400, 403}
    assert db.session.scalars(live(User)).all() == []


def _first_admin(email: str, password: str) -> bool:
    before = current_settings()
    use_settings(before.model_copy(update={"admin_email": email, "admin_password": SecretStr(password)}))
    try:
        return setup.create_first_admin()
    finally:
        use_settings(before)


def test_the_environment_names_the_first_administrator_on_an_empty_database_only(client: FlaskClient) -> None:
    assert _first_admin("ana@harbour.example", PASSWORD) is True
    assert _first_admin("eve@harbour.example", PASSWORD) is False
    answer = client.post("/api/v1/auth/login", json={"email": "ana@harbour.example", "password": PASSWORD})
    assert answer.json["user"]["roles"] == ["admin"]
    assert setup.setup_link() is None


def test_processes_that_start_together_make_one_administrator(app: Flask) -> None:
    before = current_settings()
    use_settings(
        before.model_copy(update={"admin_email": "ana@harbour.example", "admin_password": SecretStr(PASSWORD)})
    )
    try:
        with ThreadPoolExecutor(4) as pool:
            made = list(pool.map(lambda _: _in_context(app, setup.create_first_admin), range(4)))
    finally:
        use_settings(before)
    assert sorted(made) == [False, False, False, True]


@pytest.mark.parametrize(("email", "password"), [("no-address", PASSWORD), ("ana@harbour.example", "password1234")])
def test_an_unusable_administrator_of_the_environment_stops_the_start(app: Flask, email: str, password: str) -> None:
    with pytest.raises(ConfigurationError) as refusal:
        _first_admin(email, password)
    assert "ADMIN_" in str(refusal.value)
    assert password not in str(refusal.value)


def _in_context(app: Flask, call: Any) -> Any:
    with app.app_context():
        return call()


def test_the_command_line_makes_accounts(app: Flask) -> None:
    runner = app.test_cli_runner()
    command = ["users", "create", "--email", "ana@harbour.example", "--name", "Ana", "--role", "admin"]
    made = runner.invoke(args=command, input=f"{PASSWORD}\n")
    assert made.exit_code == 0, made.output
    assert "ana@harbour.example" in made.output
    assert PASSWORD not in made.output
    assert db.session.scalars(any_state(UserRole, UserRole.role)).all() == ["admin"]
    again = runner.invoke(args=command, input=f"{PASSWORD}\n")
    assert again.exit_code == 1
    assert "already" in again.output
    weak = runner.invoke(
        args=["users", "create", "--email", "b@harbour.example", "--name", "B"], input="password1234\n"
    )
    assert weak.exit_code == 1
    assert "Traceback" not in weak.output
