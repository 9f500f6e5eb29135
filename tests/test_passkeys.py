"""Passkeys: whose signature counts for what, and that nothing else does."""

import json
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from flask import Flask
from flask.testing import FlaskClient
from sqlalchemy import delete

from tests.authenticators import Authenticator
from tests.factors import log_in, second_step, set_up_app
from tests.oidc import answer_offer, browser_of, come, counted, is_signed_in, link, offer
from tests.providers import Provider, lying_provider
from tests.vault import Vault, good, problem
from webapp.config import current_settings, use_settings
from webapp.db import transaction
from webapp.models.users import Credential
from webapp.policies import Actor
from webapp.services import passkeys

from .conftest import PASSWORD, csrf_of

Bearer = Callable[[Actor], dict[str, str]]
OPTIONS, ENTER = "/api/v1/auth/passkey-options", "/api/v1/auth/passkey"


def keep(program: Vault, name: str = "Blue key") -> tuple[Authenticator, Any]:
    """A passkey of the program's person, and what keeping it was answered."""
    device = Authenticator()
    made = device.make(good(program.call("POST", "/factors/passkeys")).json)
    wish = {"credential": made, "name": name}
    return device, good(program.call("POST", "/factors/passkeys/confirmation", json=wish)).json


def asked(client: FlaskClient, **wish: str) -> Any:
    return good(client.post(OPTIONS, json=wish)).json


def enter(client: FlaskClient, credential: str) -> Any:
    return client.post(ENTER, json={"credential": credential})


def test_a_passkey_signs_in_alone_and_says_whose_it_is(vault: Vault, client: FlaskClient, member: Actor) -> None:
    device, made = keep(vault)
    assert (made["factor"]["kind"], made["factor"]["name"], len(made["recovery_codes"])) == ("passkey", "Blue key", 10)
    options = asked(client)
    assert "allowCredentials" not in options["publicKey"] or options["publicKey"]["allowCredentials"] == []
    granted = good(enter(client, device.sign(options))).json
    assert granted["user"]["email"] == member.email
    assert vault.get("/factors")["items"][0]["used_at"] is not None
    _, second = keep(vault, "Other")
    assert second["recovery_codes"] is None


@pytest.mark.parametrize("wrong", [{"verified": False}, {"origin": "https://evil.example"}, {"host": "evil.example"},
                                   {"forged": True}, {"type": "webauthn.create"},
                                   {"challenge": "A" * 43}])  # fmt: skip
def test_what_is_signed_wrongly_opens_nothing(vault: Vault, client: FlaskClient, wrong: dict[str, Any]) -> None:
    device, _ = keep(vault)
    problem(enter(client, device.sign(asked(client), **wrong)), 401, "wrong_passkey")
    good(enter(client, device.sign(asked(client))))


def test_a_signature_is_good_once_and_a_challenge_for_one_answer(vault: Vault, client: FlaskClient) -> None:
    device, _ = keep(vault)
    options = asked(client)
    signed = device.sign(options)
    good(enter(client, signed))
    problem(enter(client, signed), 401, "wrong_passkey")
    options = asked(client)
    problem(enter(client, device.sign(options, forged=True)), 401, "wrong_passkey")
    problem(enter(client, device.sign(options)), 401, "wrong_passkey")


def test_of_twenty_that_send_one_signature_at_once_one_comes_in(app: Flask, vault: Vault, client: FlaskClient) -> None:
    device, _ = keep(vault)
    signed = device.sign(asked(client))

    def attempt(_: int) -> int:
        with app.app_context():
            return enter(app.test_client(), signed).status_code

    with ThreadPoolExecutor(20) as pool:
        statuses = sorted(pool.map(attempt, range(20)))
    assert (statuses[0], set(statuses[1:]) <= {401, 429}) == (200, True), statuses


def test_a_count_that_does_not_grow_tells_of_a_copy(vault: Vault, client: FlaskClient) -> None:
    device, _ = keep(vault)
    good(enter(client, device.sign(asked(client))))
    device.count = 0
    problem(enter(client, device.sign(asked(client))), 401, "copied_passkey")


def test_a_passkey_is_a_second_step_for_its_owner_alone(
    vault: Vault, other_vault: Vault, client: FlaskClient, member: Actor
) -> None:
    device, _ = keep(vault)
    foreign, _ = keep(other_vault)
    due = log_in(client, member)
    assert due["methods"] == ["passkey", "recovery_code"]
    token = due["mfa_token"]
    options = asked(client, mfa_token=token)
    assert len(options["publicKey"]["allowCredentials"]) == 1
    problem(second_step(client, token, "passkey", credential=foreign.sign(options)), 401, "wrong_passkey")
    anybodys = asked(client)
    problem(second_step(client, token, "passkey", credential=device.sign(anybodys)), 401, "wrong_passkey")
    options = asked(client, mfa_token=token)
    problem(enter(client, device.sign(options)), 401, "wrong_passkey")
    options = asked(client, mfa_token=token)  # its presence is enough after a password
    good(second_step(client, token, "passkey", credential=device.sign(options, verified=False)))
    problem(client.post(OPTIONS, json={"mfa_token": token}), 401, "mfa_over")


def test_a_suspended_person_s_passkey_opens_nothing(
    vault: Vault, client: FlaskClient, member: Actor, admin: Actor, bearer: Bearer
) -> None:
    device, _ = keep(vault)
    good(client.post(f"/api/v1/users/{member.uuid}/suspension", headers=bearer(admin)))
    problem(enter(client, device.sign(asked(client))), 401, "wrong_passkey")


def test_a_passkey_belongs_to_one_account_and_answers_what_it_was_asked(vault: Vault, other_vault: Vault) -> None:
    device, _ = keep(vault)
    for person, options in ((other_vault, other_vault), (other_vault, vault)):
        made = device.make(good(options.call("POST", "/factors/passkeys")).json)
        answer = person.call("POST", "/factors/passkeys/confirmation", json={"credential": made})
        problem(answer, {409, 422})
    assert other_vault.get("/factors")["items"] == []


def broken() -> list[str]:
    part = {"clientDataJSON": "e30", "authenticatorData": "AAAA", "signature": "AAAA", "attestationObject": "AAAA"}
    said = {"type": "public-key", "id": "AAAA", "rawId": "AAAA"}
    return ["x", "[]", "null", "1", '"x"', "{}", "[" * 9000, json.dumps({"response": None}),
            json.dumps({"response": {"clientDataJSON": 5}}), json.dumps({"response": {"clientDataJSON": "é"}}),
            json.dumps({**said, "response": part}), json.dumps({**said, "response": {**part, "clientDataJSON": "W10"}}),
            json.dumps({**said, "response": {**part, "clientDataJSON": "eyJjaGFsbGVuZ2UiOiAxfQ"}}),
            json.dumps({**said, "response": {**part, "clientDataJSON": "W1tbW1tb"}})]  # fmt: skip


@pytest.mark.parametrize("credential", broken())
def test_what_no_browser_sends_is_a_clear_answer(vault: Vault, client: FlaskClient, credential: str) -> None:
    problem(enter(client, credential), 401, "wrong_passkey")
    answer = vault.call("POST", "/factors/passkeys/confirmation", json={"credential": credential})
    assert problem(answer, 422)["errors"][0]["code"] == "wrong_passkey"


@pytest.mark.parametrize("change", [{"rawId": None}, {"rawId": "é"}, {"rawId": 5}, {"id": "AAAA"}, {"type": "x"},
                                    {"response": {"signature": "A"}}, {"response": {"authenticatorData": "AAAA"}},
                                    {"response": {"userHandle": 5}}, {"response": {"userHandle": "AAAA"}}])  # fmt: skip
def test_a_good_challenge_does_not_make_a_broken_answer_an_error(
    vault: Vault, client: FlaskClient, change: dict[str, Any]
) -> None:
    device, _ = keep(vault)
    document = json.loads(device.sign(asked(client)))
    more = change.get("response", {})
    document |= {**change, "response": {**document["response"], **more}}
    problem(enter(client, json.dumps(document)), 401, "wrong_passkey")


def test_the_last_way_in_stays(app: Flask, vault: Vault, member: Actor) -> None:
    from webapp.db import db

    _, made = keep(vault)
    linked = link(member)
    with transaction():
        db.session.execute(delete(Credential).where(Credential.user_id == member.id))
    # its provider is configured no longer, so the passkey alone is a way in
    problem(vault.call("DELETE", f"/factors/{made['factor']['id']}"), 409, "last_way_in")
    good(vault.call("DELETE", f"/identities/{linked}"), 204)
    _, other = keep(vault)
    good(vault.call("DELETE", f"/factors/{made['factor']['id']}"), 204)
    problem(vault.call("DELETE", f"/factors/{other['factor']['id']}"), 409, "last_way_in")


@pytest.mark.parametrize(("url", "works"), [("https://vault.example", True), ("http://localhost:8000", True),
                                            ("http://vault.example", False), ("https://192.0.2.7", False),
                                            ("https://[::1]:8000", False)])  # fmt: skip
def test_pages_offer_passkeys_where_browsers_make_them(app: Flask, client: FlaskClient, url: str, works: bool) -> None:
    use_settings(current_settings().model_copy(update={"public_url": url}))
    assert passkeys.possible() is works
    assert ("Sign in with a passkey" in client.get("/sign-in").text) is works


@pytest.fixture
def provider(app: Flask) -> Any:
    with lying_provider() as server:
        offer(server.url)
        yield server


def finish(browser: FlaskClient, code: str) -> Any:
    token = csrf_of(browser.get("/sign-in/second-step").text)
    return browser.post("/sign-in/second-step", data={"csrf_token": token, "method": "recovery_code", "code": code})


def test_a_provider_does_not_pass_by_the_second_step(
    app: Flask, provider: Provider, vault: Vault, member: Actor
) -> None:
    link(member, provider.url, "u-1")
    _, made = set_up_app(vault)
    browser = browser_of(app)
    assert come(browser, "?next=/trash").location == "/sign-in/second-step"
    assert is_signed_in(browser) is None
    assert finish(browser, made["recovery_codes"][0]).location == "/trash"
    assert is_signed_in(browser) == member.email


def test_a_password_alone_links_no_provider_to_an_account_with_a_factor(
    app: Flask, provider: Provider, person: Callable[..., Actor], bearer: Bearer
) -> None:
    nora = person("nora")
    _, made = set_up_app(Vault(app, bearer(nora), nora))
    browser = browser_of(app)
    page = come(browser).location
    answer = answer_offer(browser, page, password=PASSWORD)
    assert (answer.location, counted()["identities"]) == ("/sign-in/second-step", 0)
    back = finish(browser, made["recovery_codes"][0]).location
    assert back == page
    assert answer_offer(browser, back).location == "/account/security"
    assert counted()["identities"] == 1
