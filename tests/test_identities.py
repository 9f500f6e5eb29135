"""Linked accounts: who may link and unlink what, and roles that follow a provider's groups."""

from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor

import pytest
from flask import Flask
from flask.testing import FlaskClient
from pydantic import SecretStr
from sqlalchemy import delete, text

from tests.letters import ordered, token_of
from tests.oidc import (
    agree,
    answer_offer,
    audited,
    browser_of,
    come,
    counted,
    depart,
    failed,
    is_signed_in,
    link,
    offer,
)
from tests.providers import Person, Provider, lying_provider
from tests.vault import problem
from webapp.config import current_settings, use_settings
from webapp.db import db, transaction
from webapp.errors import Conflict, Missing
from webapp.models.users import Credential
from webapp.policies import Actor
from webapp.services.identities import list_identities, unlink_identity

from .conftest import PASSWORD, csrf_of

Browser = Callable[[Actor], FlaskClient]
Bearer = Callable[[Actor], dict[str, str]]
IDENTITIES = "/api/v1/identities"


@pytest.fixture
def provider(app: Flask) -> Iterator[Provider]:
    with lying_provider() as server:
        offer(server.url)
        yield server


def roles(browser: FlaskClient) -> list[str]:
    found: list[str] = browser.get("/api/v1/users/me").json["roles"]
    return found


def forget_password(actor: Actor) -> None:
    with transaction():
        db.session.execute(delete(Credential).where(Credential.user_id == actor.id))


def test_a_signed_in_person_links_an_account_after_saying_yes(
    app: Flask, provider: Provider, member: Actor, signed_in: Browser
) -> None:
    browser = signed_in(member)
    assert "Link Harbour ID" in browser.get("/account/security").text
    page = come(browser, "?link=1").headers["Location"]
    assert counted()["identities"] == 0, "nothing is linked before she agrees"
    assert "nora@harbour.example" in browser.get(page).text
    answer = answer_offer(browser, page)
    assert answer.headers["Location"] == "/account/security"
    shown = browser.get("/account/security").text
    assert "Linked." in shown
    assert "nora@harbour.example" in shown
    other = browser_of(app)
    assert come(other).status_code == 302
    assert is_signed_in(other) == member.email
    assert ("identity.linked", {"issuer": [None, provider.url]}) in audited()


def test_a_link_without_the_form_s_token_is_refused(
    app: Flask, provider: Provider, member: Actor, signed_in: Browser
) -> None:
    browser = signed_in(member)
    page = come(browser, "?link=1").headers["Location"]
    address, _, proof = page.partition("?proof=")
    assert browser.post(address, data={"proof": proof}).status_code == 403
    assert counted()["identities"] == 0


def test_an_offer_is_for_who_asked_for_it(
    app: Flask, provider: Provider, member: Actor, stranger: Actor, signed_in: Browser
) -> None:
    browser, other = signed_in(member), signed_in(stranger)
    page = come(browser, "?link=1").headers["Location"]
    failed(other.get(page), 404, "start again")
    failed(browser_of(app).get(page), 404, "start again")
    back = agree(depart(browser, "?link=1"))
    browser.post("/sign-out", data={"csrf_token": csrf_of(browser.get("/account").text)})
    failed(browser.get(back), 403, "start again")
    assert counted()["identities"] == 0


def test_nobody_links_without_being_signed_in(app: Flask, provider: Provider) -> None:
    assert browser_of(app).get("/auth/oidc/work?link=1").headers["Location"].startswith("/sign-in")


def test_an_account_elsewhere_belongs_to_one_account_here(
    app: Flask, provider: Provider, member: Actor, stranger: Actor, signed_in: Browser
) -> None:
    link(stranger, provider.url, "u-1")
    failed(come(signed_in(member), "?link=1"), 409, "linked to another account")
    failed(come(signed_in(stranger), "?link=1"), 409, "linked to your account")
    provider.person = Person("u-5", {"email": "x@harbour.example", "email_verified": False})
    failed(come(signed_in(member), "?link=1"), 403, "has not verified")


def test_of_two_offers_for_one_identity_one_is_taken(
    app: Flask, provider: Provider, member: Actor, stranger: Actor, signed_in: Browser
) -> None:
    mine, theirs = signed_in(member), signed_in(stranger)
    first, second = (come(browser, "?link=1").headers["Location"] for browser in (mine, theirs))
    assert answer_offer(mine, first).status_code == 302
    failed(answer_offer(theirs, second), 409, "another account")
    assert counted()["identities"] == 1


def test_programs_see_and_unlink_their_own_alone(
    client: FlaskClient, provider: Provider, member: Actor, stranger: Actor, bearer: Bearer
) -> None:
    mine, theirs = link(member, provider.url), link(stranger, provider.url, "u-8")
    headers = bearer(member)
    (item,) = client.get(IDENTITIES, headers=headers).json["items"]
    assert (item["id"], item["provider"], item["title"], item["email"]) == (
        str(mine), "work", "Harbour ID", member.email,
    )  # fmt: skip
    assert not {"subject", "subject_key", "user_id"} & set(item)
    problem(client.delete(f"{IDENTITIES}/{theirs}", headers=headers), 404)
    assert client.delete(f"{IDENTITIES}/{mine}", headers=headers).status_code == 204
    assert client.get(IDENTITIES, headers=headers).json["items"] == []
    assert [event for event, _ in audited()][-1] == "identity.unlinked"
    assert len(list_identities(stranger).items) == 1


def test_the_page_unlinks_and_what_is_unlinked_signs_nobody_in(
    app: Flask, provider: Provider, member: Actor, signed_in: Browser
) -> None:
    number = link(member, provider.url, "u-1")
    browser = signed_in(member)
    token = csrf_of(browser.get("/account/security").text)
    removal = f"/account/identities/{number}/removal"
    assert browser.post(removal).status_code == 403
    answer = browser.post(removal, data={"csrf_token": token}, follow_redirects=True)
    assert "Unlinked." in answer.text
    assert "no such linked account" in browser.post(removal, data={"csrf_token": token}, follow_redirects=True).text
    failed(come(browser_of(app)), 403, "There is no account here")
    link(member, provider.url, "u-1")  # and can be linked again


def test_the_last_way_to_sign_in_stays(app: Flask, provider: Provider, member: Actor) -> None:
    first = link(member, provider.url)
    second = link(member, "https://gone.example", "u-3")  # of a provider that is configured no longer
    forget_password(member)
    with pytest.raises(Conflict, match="only way"):
        unlink_identity(member, first)
    unlink_identity(member, second)
    offer("https://other.example", "other")
    third = link(member, "https://other.example", "u-4")
    unlink_identity(member, first)
    with pytest.raises(Conflict, match="only way"):
        unlink_identity(member, third)


def test_who_has_no_password_chooses_one_by_mail_and_may_unlink_then(
    app: Flask, provider: Provider, member: Actor, client: FlaskClient, signed_in: Browser
) -> None:
    first, browser = link(member, provider.url), signed_in(member)
    forget_password(member)
    page = browser.get("/account/security").text
    assert ("no password here yet" in page, 'name="current_password"' in page) == (True, False)
    refused = client.post("/api/v1/auth/login", json={"email": member.email, "password": PASSWORD})
    problem(refused, 401, "wrong_credentials")
    assert client.post("/api/v1/auth/forgot-password", json={"email": member.email}).status_code == 204
    chosen = {"token": token_of(ordered()[-1]), "password": "Another-Horse-8-Battery"}
    assert client.post("/api/v1/auth/reset-password", json=chosen).status_code == 204
    problem(client.post("/api/v1/auth/reset-password", json=chosen), 410)
    login = {"email": member.email, "password": chosen["password"]}
    assert client.post("/api/v1/auth/login", json=login).status_code == 200
    unlink_identity(member, first)


def test_of_two_that_unlink_the_last_two_at_once_one_is_refused(app: Flask, provider: Provider, member: Actor) -> None:
    offer("https://other.example", "other")
    numbers = [link(member, provider.url), link(member, "https://other.example", "u-4")]
    forget_password(member)

    def unlink(number: object) -> str:
        with app.app_context():
            try:
                unlink_identity(member, number)  # type: ignore[arg-type]
            except Conflict as error:
                return error.code
            return "done"

    with ThreadPoolExecutor(2) as pool:
        assert sorted(pool.map(unlink, numbers)) == ["done", "last_way_in"]
    with pytest.raises(Missing):
        unlink_identity(member, next(n for n in numbers if n not in {i.id for i in list_identities(member).items}))


def test_subject_and_address_are_encrypted_and_found_after_an_exchange_of_keys(
    app: Flask, provider: Provider, member: Actor
) -> None:
    link(member, provider.url, "u-1")
    with db.engine.connect() as connection:
        stored = b"".join(bytes(str(v), "utf-8") for v in connection.execute(text("SELECT * FROM identities")).one())
    assert b"u-1" not in stored
    assert member.email.encode() not in stored
    settings = current_settings()
    newer, older = SecretStr("n" * 40), settings.data_keys[0]
    for keys in ((newer, older), (newer, older)):
        use_settings(settings.model_copy(update={"data_keys": keys, "oidc_issuers": current_settings().oidc_issuers}))
        browser = browser_of(app)
        assert come(browser).status_code == 302
        assert is_signed_in(browser) == member.email
    assert counted()["identities"] == 1


def test_roles_follow_the_groups_at_each_sign_in_and_others_stay(app: Flask, provider: Provider) -> None:
    offer(provider.url, auto_create=True, roles={"staff": "manager", "board": "admin"})
    manages = ["manager", "member"]
    for groups, expected in (
        (["staff", "x"], manages),
        ("staff", manages),
        ([], ["member"]),
        (None, ["member"]),
        ([7, {"a": 1}, "staff"], manages),
    ):
        provider.person.claims["groups"] = groups
        browser = browser_of(app)
        assert come(browser).status_code == 302
        assert roles(browser) == expected, groups
    changes = [changes for event, changes in audited() if event == "user.roles_changed"]
    assert changes[1] == {"roles": [["manager", "member"], ["member"]], "issuer": [None, "work"]}


def test_a_claim_may_lie_deeper(app: Flask, provider: Provider) -> None:
    offer(provider.url, auto_create=True, roles={"staff": "manager"}, roles_claim="realm_access.roles")
    provider.person.claims["realm_access"] = {"roles": ["staff"]}
    browser = browser_of(app)
    come(browser)
    assert roles(browser) == ["manager", "member"]


def test_the_last_administrator_stays_one(app: Flask, provider: Provider, admin: Actor) -> None:
    offer(provider.url, roles={"board": "admin"})
    link(admin, provider.url, "u-1")
    browser = browser_of(app)
    come(browser)
    assert roles(browser) == ["admin"]


def test_of_two_administrators_who_lose_the_role_at_once_one_keeps_it(
    app: Flask, provider: Provider, person: Callable[..., Actor]
) -> None:
    offer(provider.url, roles={"board": "admin", "staff": "member"})
    browsers, backs = [browser_of(app), browser_of(app)], []
    provider.token = lambda claims: provider.signed(claims | {"sub": subjects.pop(), "groups": ["staff"]})
    subjects = ["ana", "ben"]
    for name, browser in zip(("ana", "ben"), browsers, strict=True):
        link(person(name, role="admin"), provider.url, name)
        backs.append(agree(depart(browser)))

    def come_back(browser: FlaskClient, back: str) -> int:
        with app.app_context():
            return browser.get(back).status_code

    with ThreadPoolExecutor(2) as pool:
        assert list(pool.map(come_back, browsers, backs)) == [302, 302]
    assert sorted(roles(browser) for browser in browsers) == [["admin", "member"], ["member"]]


def test_who_is_left_without_a_role_is_refused_and_what_was_taken_is_gone(
    app: Flask, provider: Provider, member: Actor, signed_in: Browser
) -> None:
    offer(provider.url, roles={"staff": "member"})
    link(member, provider.url, "u-1")
    browser = signed_in(member)
    failed(come(browser_of(app)), 403, "gives you no role")
    assert browser.get("/api/v1/files").status_code == 403, "the session that was open has lost it, too"
    offer(provider.url, auto_create=True, roles={"staff": "member"})
    provider.person = Person("u-2", {"email": "new@harbour.example", "email_verified": True})
    before = counted()
    failed(come(browser_of(app)), 403, "gives you no role")
    assert counted() == before, "a new person without a role gets no account"
