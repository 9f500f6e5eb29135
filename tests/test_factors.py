"""Second factors: codes of an app, recovery codes, the second step, an administrator's reset."""

import re
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta

import pytest
from flask import Flask
from flask.testing import FlaskClient

from tests.conftest import PASSWORD, csrf_of
from tests.factors import LOGIN, MFA, app_code, codes_in, log_in, second_step, set_up_app, sign_in
from tests.letters import ordered, token_of, told
from tests.test_mail import Mailbox, mail_server
from tests.vault import Vault, good, problem
from webapp.db import db, read_rows
from webapp.infra import clock
from webapp.models.audit import AuditEntry
from webapp.models.record import any_state
from webapp.policies import Actor
from webapp.services import totp

Bearer = Callable[[Actor], dict[str, str]]
Browser = Callable[[Actor], FlaskClient]
RFC_SECRET = "GEZDGNBVGY3TQOJQGEZDGNBVGY3TQOJQ"


def events(prefix: str) -> list[str]:
    rows = read_rows(any_state(AuditEntry, AuditEntry.event).order_by(AuditEntry.id))
    return [row.event for row in rows if row.event.startswith(prefix)]


@pytest.mark.parametrize(("moment", "code"), [(1111111109, "081804"), (1234567890, "005924"),
                                               (2000000000, "279037"), (20000000000, "353130")])  # fmt: skip
def test_codes_are_those_of_the_standard(moment: int, code: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """RFC 6238, appendix B, the last six digits of the SHA-1 column; spaces and one step of drift are forgiven."""
    from datetime import UTC, datetime

    for drift, good_step in ((-60, None), (-30, 0), (0, 0), (30, 0), (60, None)):
        at = datetime.fromtimestamp(moment + drift, UTC)
        monkeypatch.setattr(totp, "now", lambda at=at: at)
        step = totp.matching_step(RFC_SECRET, f" {code[:3]} {code[3:]} ")
        assert step == (None if good_step is None else moment // 30), drift


@pytest.mark.parametrize("code", ["", "12345", "1234567", "abcdef", "１２３４５６", "-12345", "12345\x00", "0x1234"])
def test_what_is_no_code_is_no_error(code: str) -> None:
    assert totp.matching_step(RFC_SECRET, code) is None


def test_an_app_counts_from_its_first_code_on(vault: Vault, client: FlaskClient, member: Actor) -> None:
    setup = good(vault.call("POST", "/factors/totp")).json
    assert setup["uri"].startswith("otpauth://totp/")
    assert f"secret={setup['secret']}" in setup["uri"]
    assert vault.get("/factors")["items"] == []
    assert "access_token" in log_in(client, member)
    wrong = vault.call("POST", "/factors/totp/confirmation", json={"code": app_code(setup["secret"], 9)})
    assert problem(wrong, 422)["errors"][0]["code"] == "wrong_code"
    made = good(vault.call("POST", "/factors/totp/confirmation", json={"code": app_code(setup["secret"])})).json
    assert len(set(made["recovery_codes"])) == 10
    assert vault.get("/factors")["recovery_codes"] == 10
    assert told(member.email)[-1] == "factor_added"
    assert "mfa_token" in log_in(client, member)
    problem(vault.call("POST", "/factors/totp"), 409, "totp_exists")


def test_the_password_alone_opens_nothing_and_the_second_step_once(
    vault: Vault, client: FlaskClient, member: Actor
) -> None:
    secret, _ = set_up_app(vault)
    due = log_in(client, member)
    assert set(due) == {"mfa_required", "mfa_token", "methods", "expires_in"}
    assert due["methods"] == ["totp", "recovery_code"]
    problem(second_step(client, due["mfa_token"], code="000000"), 401, "wrong_code")
    granted = good(second_step(client, due["mfa_token"], code=app_code(secret))).json
    me = client.get("/api/v1/users/me", headers={"Authorization": f"Bearer {granted['access_token']}"})
    assert good(me).json["email"] == member.email
    problem(second_step(client, due["mfa_token"], code=app_code(secret, 1)), 401, "mfa_over")
    again = log_in(client, member)
    problem(second_step(client, again["mfa_token"], code=app_code(secret)), 401, "used_code")
    problem(second_step(client, again["mfa_token"], code=app_code(secret, -1)), 401, "used_code")
    assert events("factor.refused") == ["factor.refused"] * 3


def test_a_recovery_code_works_once_and_its_owner_is_mailed(vault: Vault, client: FlaskClient, member: Actor) -> None:
    _, made = set_up_app(vault)
    code = made["recovery_codes"][3]
    token = log_in(client, member)["mfa_token"]
    good(second_step(client, token, "recovery_code", code=code.upper().replace("-", " ")))
    assert "recovery_code_used" in told(member.email)
    assert vault.get("/factors")["recovery_codes"] == 9
    token = log_in(client, member)["mfa_token"]
    problem(second_step(client, token, "recovery_code", code=code), 401, "used_code")
    fresh = good(vault.call("POST", "/factors/recovery-codes")).json["codes"]
    problem(second_step(client, token, "recovery_code", code=made["recovery_codes"][0]), 401, "wrong_code")
    good(second_step(client, token, "recovery_code", code=fresh[0]))


def test_recovery_codes_stand_in_for_something(vault: Vault) -> None:
    problem(vault.call("POST", "/factors/recovery-codes"), 409, "no_factor")


def test_no_secret_of_a_factor_is_stored_in_the_clear(vault: Vault, client: FlaskClient, member: Actor) -> None:
    secret, made = set_up_app(vault)
    token = log_in(client, member)["mfa_token"]
    with db.engine.connect() as connection:
        rows = [
            str([bytes(v) if isinstance(v, memoryview) else v for v in row])
            for table in ("factors", "recovery_codes", "challenges", "audit_entries", "jobs")
            for row in connection.exec_driver_sql(f"select * from {table}")
        ]
    everything = "\n".join(rows)
    for hidden in (secret, token, *made["recovery_codes"], *(c.replace("-", "") for c in made["recovery_codes"])):
        assert hidden not in everything


def test_its_owner_reads_what_became_of_a_factor(
    app: Flask,
    vault: Vault,
    client: FlaskClient,
    member: Actor,
    admin: Actor,
    bearer: Bearer,
    run_jobs: Callable[[], int],
) -> None:
    secret, made = set_up_app(vault)
    token = log_in(client, member)["mfa_token"]
    good(second_step(client, token, "recovery_code", code=made["recovery_codes"][0]))
    good(vault.call("DELETE", f"/factors/{made['factor']['id']}"), 204)
    set_up_app(vault)
    good(Vault(app, bearer(admin), admin).call("DELETE", f"/users/{member.uuid}/factors"), 204)
    box = Mailbox()
    with mail_server(box):
        run_jobs()
    texts = {str(letter["Subject"]): str(letter.get_body(("plain",)).get_content()) for letter in box.kept}  # type: ignore[attr-defined]
    assert "An authenticator app was added on" in texts["A second factor was added"]
    assert "An authenticator app was removed on" in texts["A second factor was removed"]
    assert "Unused ones: 9." in texts["A recovery code was used"]
    assert "An administrator took all second factors" in texts["Your second factors were reset"]
    assert all(secret not in text for text in texts.values())


@pytest.mark.parametrize("proof", [{"method": "totp"}, {"method": "passkey"}, {"method": "recovery_code"},
                                   {"method": "totp", "code": ""}, {"method": "sms", "code": "123456"},
                                   {"method": "passkey", "credential": ""}])  # fmt: skip
def test_a_proof_that_is_none_is_a_clear_answer(
    vault: Vault, client: FlaskClient, member: Actor, proof: dict[str, str]
) -> None:
    set_up_app(vault)
    token = log_in(client, member)["mfa_token"]
    assert problem(client.post(MFA, json={"mfa_token": token, **proof}), 422)["errors"]


def test_a_step_is_over_after_ten_minutes_and_with_the_password_it_began_with(
    vault: Vault, client: FlaskClient, member: Actor, monkeypatch: pytest.MonkeyPatch
) -> None:
    secret, _ = set_up_app(vault)
    first, second = log_in(client, member)["mfa_token"], log_in(client, member)["mfa_token"]
    from webapp.services import challenges

    monkeypatch.setattr(challenges, "now", lambda: clock.now() + timedelta(minutes=10, seconds=1))
    problem(second_step(client, first, code=app_code(secret)), 401, "mfa_over")
    monkeypatch.undo()
    wish = {"current_password": PASSWORD, "password": "Another-Horse-8-Battery"}
    good(vault.call("POST", "/auth/change-password", json=wish), 204)
    problem(second_step(client, second, code=app_code(secret)), 401, "mfa_over")


def test_a_suspended_person_does_not_finish(
    vault: Vault, client: FlaskClient, member: Actor, admin: Actor, bearer: Bearer
) -> None:
    secret, _ = set_up_app(vault)
    token = log_in(client, member)["mfa_token"]
    good(client.post(f"/api/v1/users/{member.uuid}/suspension", headers=bearer(admin)))
    problem(second_step(client, token, code=app_code(secret)), 401, "mfa_over")


@pytest.mark.parametrize("shared", [True, False])
def test_of_twenty_that_send_one_code_at_once_one_comes_in(
    app: Flask, vault: Vault, client: FlaskClient, member: Actor, shared: bool
) -> None:
    secret, _ = set_up_app(vault)
    tokens = [log_in(client, member)["mfa_token"] for _ in range(1 if shared else 20)]
    code = app_code(secret)

    def attempt(number: int) -> int:
        with app.app_context():
            return second_step(app.test_client(), tokens[number % len(tokens)], code=code).status_code

    with ThreadPoolExecutor(20) as pool:
        statuses = sorted(pool.map(attempt, range(20)))
    assert statuses[0] == 200, statuses
    assert set(statuses[1:]) <= {401, 429}, statuses


def test_twenty_sign_ins_at_once_all_get_their_step(app: Flask, vault: Vault, member: Actor) -> None:
    _, made = set_up_app(vault)

    def attempt(code: str) -> int:
        with app.app_context():
            client = app.test_client()
            return second_step(client, log_in(client, member)["mfa_token"], "recovery_code", code=code).status_code

    with ThreadPoolExecutor(20) as pool:
        assert set(pool.map(attempt, made["recovery_codes"])) == {200}


def test_who_guesses_waits_wherever_they_sit_and_passwords_do_not_pay_it_off(
    vault: Vault, client: FlaskClient, member: Actor
) -> None:
    secret, _ = set_up_app(vault)
    for number in range(10):
        token = log_in(client, member)["mfa_token"]
        near = {"REMOTE_ADDR": f"198.51.100.{number}"}
        answer = client.post(MFA, json={"mfa_token": token, "method": "totp", "code": "000000"}, environ_base=near)
        problem(answer, 401, "wrong_code")
    token = log_in(client, member)["mfa_token"]
    refused = second_step(client, token, code=app_code(secret))
    problem(refused, 429)
    assert int(refused.headers["Retry-After"]) > 20


def test_a_person_takes_the_second_step_on_a_page_and_goes_where_she_wanted(
    app: Flask, vault: Vault, client: FlaskClient, member: Actor
) -> None:
    secret, _ = set_up_app(vault)
    answer = sign_in(client, member, next="/trash", keep="1")
    assert (answer.status_code, answer.location) == (302, "/sign-in/second-step")
    assert client.get("/files").location.startswith("/sign-in")
    page = client.get("/sign-in/second-step").text
    assert member.email in page
    form = {"csrf_token": csrf_of(page), "method": "totp", "code": "000 000"}
    wrong = client.post("/sign-in/second-step", data=form)
    assert wrong.status_code == 401
    assert "This code is wrong." in wrong.text
    assert "000 000" not in wrong.text
    done = client.post("/sign-in/second-step", data={**form, "code": app_code(secret)})
    assert (done.status_code, done.location) == (302, "/trash")
    assert client.get("/files").status_code == 200
    over = client.get("/sign-in/second-step")
    assert (over.status_code, over.location) == (302, "/sign-in")


def test_the_second_step_belongs_to_the_browser_that_began_it(
    app: Flask, vault: Vault, client: FlaskClient, member: Actor
) -> None:
    secret, _ = set_up_app(vault)
    sign_in(client, member)
    other = app.test_client()
    assert other.get("/sign-in/second-step").location == "/sign-in"
    form = {"csrf_token": csrf_of(other.get("/sign-in").text), "method": "totp", "code": app_code(secret)}
    assert other.post("/sign-in/second-step", data=form).location == "/sign-in"
    assert other.get("/files").status_code == 302


def test_a_reset_password_does_not_pass_by_the_factor(vault: Vault, client: FlaskClient, member: Actor) -> None:
    set_up_app(vault)
    good(client.post("/api/v1/auth/forgot-password", json={"email": member.email}), 204)
    wish = {"token": token_of(ordered()[-1]), "password": PASSWORD}
    good(client.post("/api/v1/auth/reset-password", json=wish), 204)
    assert "mfa_token" in log_in(client, member)
    assert client.get("/files").status_code == 302


def test_an_app_is_set_up_on_pages_and_its_codes_are_shown_once(signed_in: Browser, member: Actor) -> None:
    browser = signed_in(member)
    token = csrf_of(browser.get("/account/security").text)
    assert browser.get("/account/security/app").location == "/account/security"
    assert browser.post("/account/security/app", data={"csrf_token": token}).location == "/account/security/app"
    page = browser.get("/account/security/app").text
    secret = "".join(re.findall("<span>([A-Z2-7]{4})</span>", page))
    assert '<svg viewBox="' in page
    assert "style=" not in page.split('class="app-picture"')[1].split("</svg>")[0]
    wrong = browser.post("/account/security/app/confirmation", data={"csrf_token": token, "code": "1"})
    assert (wrong.status_code, "This code is wrong." in wrong.text) == (422, True)
    done = browser.post("/account/security/app/confirmation", data={"csrf_token": token, "code": app_code(secret)})
    assert done.status_code == 201
    assert len(codes_in(done.text)) == 10
    assert done.headers["Cache-Control"] == "no-store"
    shown = browser.get("/account/security").text
    assert codes_in(shown) == []
    assert "10 left" in shown


def test_the_last_factor_takes_its_recovery_codes_with_it(vault: Vault, client: FlaskClient, member: Actor) -> None:
    _, made = set_up_app(vault)
    good(vault.call("DELETE", f"/factors/{made['factor']['id']}"), 204)
    assert vault.get("/factors") == {"items": [], "recovery_codes": 0, "next_cursor": None}
    assert told(member.email)[-1] == "factor_removed"
    assert "access_token" in log_in(client, member)
    problem(vault.call("DELETE", f"/factors/{made['factor']['id']}"), 404)


def test_factors_of_others_are_nobodys_business(vault: Vault, other_vault: Vault) -> None:
    _, made = set_up_app(vault)
    problem(other_vault.call("DELETE", f"/factors/{made['factor']['id']}"), 404)
    problem(other_vault.change(f"/factors/{made['factor']['id']}", name="Mine"), 404)
    problem(other_vault.call("DELETE", f"/users/{vault.actor.uuid}/factors"), 403)


def test_an_administrator_resets_what_was_lost(
    app: Flask, vault: Vault, client: FlaskClient, member: Actor, admin: Actor, bearer: Bearer
) -> None:
    program = Vault(app, bearer(admin), admin)
    problem(program.call("DELETE", f"/users/{member.uuid}/factors"), 409, "no_factor")
    secret, _ = set_up_app(vault)
    pending = log_in(client, member)["mfa_token"]
    assert program.get(f"/users/{member.uuid}")["second_factor"] is True
    good(program.call("DELETE", f"/users/{member.uuid}/factors"), 204)
    assert program.get(f"/users/{member.uuid}")["second_factor"] is False
    assert told(member.email)[-1] == "factors_reset"
    assert events("factor.reset") == ["factor.reset"]
    assert "access_token" in log_in(client, member)
    problem(second_step(client, pending, code=app_code(secret)), 401, "mfa_over")
    problem(program.call("DELETE", f"/users/{admin.uuid}/factors"), 409, "own_account")


def test_the_command_resets_by_address(app: Flask, vault: Vault, client: FlaskClient, member: Actor) -> None:
    set_up_app(vault)
    done = app.test_cli_runner().invoke(args=["users", "reset-mfa", member.email])
    assert (done.exit_code, "Reset the second factors" in done.output) == (0, True), done.output
    assert "access_token" in log_in(client, member)
    again = app.test_cli_runner().invoke(args=["users", "reset-mfa", member.email])
    assert (again.exit_code, "has no second factor" in again.output) == (1, True)
    nobody = app.test_cli_runner().invoke(args=["users", "reset-mfa", "nobody@harbour.example"])
    assert nobody.exit_code == 1


def test_the_answer_to_a_wrong_password_never_tells_of_a_factor(
    vault: Vault, client: FlaskClient, member: Actor, stranger: Actor
) -> None:
    set_up_app(vault)
    bodies = []
    for email in (member.email, stranger.email, "nobody@harbour.example"):
        answer = client.post(LOGIN, json={"email": email, "password": "a-wrong-password"})
        bodies.append({k: v for k, v in problem(answer, 401).items() if k != "request_id"})
    assert bodies[0] == bodies[1] == bodies[2]
