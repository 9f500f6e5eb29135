"""Signing in by a provider: whom it lets in, whom it makes an account, what it refuses without changing anything."""

import re
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from urllib.parse import parse_qs, urlsplit

import pytest
from flask import Flask
from flask.testing import FlaskClient

from tests.letters import told
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
    offer,
    path_of,
    refusals,
)
from tests.providers import Person, Provider, agree_at, independent_provider, introduce, lying_provider
from webapp.db import db, transaction
from webapp.infra.clock import now
from webapp.models.record import change_rows
from webapp.models.users import User, any_role_of
from webapp.policies import Actor
from webapp.services import visits

from .conftest import PASSWORD

NORA = "nora@harbour.example"


@pytest.fixture(scope="module")
def elsewhere() -> Iterator[str]:
    with independent_provider() as url:
        yield url


@pytest.fixture
def provider() -> Iterator[Provider]:
    with lying_provider() as server:
        yield server


@pytest.fixture
def open_door(app: Flask, provider: Provider) -> Provider:
    """A provider whose people get accounts."""
    offer(provider.url, auto_create=True)
    return provider


def roles_of(email: str) -> set[str]:
    db.session.rollback()
    user = db.session.execute(db.select(User).where(User.email == email, User.deleted_at.is_(None))).scalar_one()
    return set(db.session.scalars(any_role_of(user.id)))


def test_a_provider_of_somebody_else_s_making_lets_a_new_person_in_and_knows_her_again(
    app: Flask, elsewhere: str
) -> None:
    offer(elsewhere, auto_create=True)
    introduce(elsewhere, "nora", email=NORA, email_verified=True, name="Nora Quay")
    for _ in range(2):
        browser = browser_of(app)
        page = browser.get("/sign-in?next=/trash").text
        link = re.search(r'href="(/auth/oidc/work[^"]*)"', page)
        assert link
        assert "Continue with Harbour ID" in page
        address = browser.get(link[1]).headers["Location"]
        answer = browser.get(path_of(agree_at(address, "nora")))
        assert (answer.status_code, answer.headers["Location"]) == (302, "/trash")
        assert is_signed_in(browser) == NORA
    assert counted() == {"users": 1, "identities": 1, "sessions": 2, "user_roles": 1, "credentials": 0}
    assert [event for event, _ in audited()] == ["user.created", "identity.linked", *["session.started"] * 2]


def test_a_sign_in_from_a_new_device_is_told_and_one_from_a_known_one_is_not(app: Flask, open_door: Provider) -> None:
    browser, other = browser_of(app), browser_of(app)
    other.environ_base["HTTP_USER_AGENT"] = "Mozilla/5.0 (X11; Linux x86_64; rv:140.0) Gecko/20100101 Firefox/140.0"
    for one, letters in ((browser, []), (other, ["new_device"]), (other, ["new_device"])):
        come(one)
        assert is_signed_in(one) == NORA
        assert told(NORA) == letters
    browser.environ_base["HTTP_USER_AGENT"] = "Mozilla/5.0 (Macintosh; rv:141.0) Gecko/20100101 Firefox/141.0"
    come(browser)  # another version, another network perhaps: its cookie says who it is
    assert told(NORA) == ["new_device"]


def test_consent_denied_there_is_said_here(app: Flask, elsewhere: str) -> None:
    offer(elsewhere, auto_create=True)
    browser = browser_of(app)
    failed(browser.get(path_of(agree_at(depart(browser), None))), 403, "did not agree at Harbour ID")
    assert (is_signed_in(browser), refusals()) == (None, ["oidc_denied"])


def test_the_way_out_carries_pkce_state_and_nonce_and_a_fixed_return(app: Flask, open_door: Provider) -> None:
    browser = browser_of(app)
    first, second = (parse_qs(urlsplit(depart(browser)).query) for _ in range(2))
    assert first["redirect_uri"] == ["http://127.0.0.1:8000/auth/oidc/work/callback"]
    assert (first["response_type"], first["code_challenge_method"], first["scope"]) == (
        ["code"], ["S256"], ["openid email profile"],
    )  # fmt: skip
    for name in ("state", "nonce", "code_challenge"):
        assert first[name] != second[name]
        assert len(first[name][0]) >= 43
    cookie = browser.get("/auth/oidc/work").headers.get("Set-Cookie") or ""
    assert cookie == "" or {"HttpOnly", "SameSite=Lax"} <= set(cookie.split("; "))


def test_a_return_works_once(app: Flask, open_door: Provider) -> None:
    browser = browser_of(app)
    back = agree(depart(browser))
    assert browser.get(back).status_code == 302
    twin = browser_of(app)
    for again in (browser, twin):
        failed(again.get(back), 403, "finished before")
    assert counted()["sessions"] == 1


def test_a_saved_cookie_and_address_do_not_work_twice(app: Flask, open_door: Provider) -> None:
    browser = browser_of(app)
    back = agree(depart(browser))
    saved = browser.get_cookie("session")
    assert saved
    assert browser.get(back).status_code == 302
    thief = browser_of(app)
    thief.set_cookie("session", saved.value)
    failed(thief.get(back), 403, "finished before")


def test_a_return_in_another_browser_or_with_another_state_is_refused(app: Flask, open_door: Provider) -> None:
    browser, victim = browser_of(app), browser_of(app)
    depart(victim)
    back = agree(depart(browser))
    failed(victim.get(back), 403, "another browser")
    failed(browser.get(re.sub(r"state=[^&]+", "state=guess", back)), 403, "another browser")
    failed(browser.get("/auth/oidc/work/callback"), 403, "start again")
    failed(browser.get(f"/auth/oidc/work/callback?state={'x' * 5000}&code=y"), 400, "cannot be read")
    assert is_signed_in(victim) is None
    assert counted()["sessions"] == 0


def test_of_two_tabs_on_their_way_the_first_may_come_back_and_ends_the_other(app: Flask, open_door: Provider) -> None:
    browser = browser_of(app)
    first, second = agree(depart(browser, "?next=/trash")), agree(depart(browser, "?next=/jobs"))
    assert browser.get(first).headers["Location"] == "/trash"
    failed(browser.get(second), 403, "another browser")  # signing in has made the cookie anew


def test_a_visit_ends_after_ten_minutes(app: Flask, open_door: Provider, monkeypatch: pytest.MonkeyPatch) -> None:
    browser = browser_of(app)
    back = agree(depart(browser))
    monkeypatch.setattr(visits, "now", lambda: now() + visits.LIFE)
    failed(browser.get(back), 403, "ten minutes")


@pytest.mark.parametrize(
    "target", ["//evil.example", "https://evil.example/", "/\\evil.example", "javascript:x", "/ x"]
)
def test_one_never_goes_on_to_another_site(app: Flask, open_door: Provider, target: str) -> None:
    browser = browser_of(app)
    back = agree(depart(browser, f"?next={target}"))
    assert browser.get(back).headers["Location"] == "/files"


def test_an_answer_for_one_provider_is_no_answer_for_another(app: Flask, open_door: Provider) -> None:
    offer("http://127.0.0.1:9/", "other", auto_create=True)
    browser = browser_of(app)
    back = agree(depart(browser))
    failed(browser.get(back.replace("/work/", "/other/")), 403, "start again")


@pytest.mark.parametrize("said", ["https://evil.example", ""])
def test_an_answer_that_names_another_issuer_is_refused(app: Flask, open_door: Provider, said: str) -> None:
    browser = browser_of(app)
    failed(browser.get(f"{agree(depart(browser))}&iss={said}"), 403, "could not be trusted")
    assert browser.get(f"{agree(depart(browser))}&iss={open_door.url}").status_code == 302


def test_a_person_without_account_is_let_in_only_where_that_is_configured(app: Flask, provider: Provider) -> None:
    for extra in ({}, {"auto_create": True, "email_domains": ("quay.example",)}):
        offer(provider.url, **extra)
        failed(come(browser_of(app)), 403, f"There is no account here for {NORA}")
    offer(provider.url, auto_create=True, email_domains=("harbour.example",), role="guest")
    browser = browser_of(app)
    assert come(browser).status_code == 302
    assert is_signed_in(browser) == NORA
    assert roles_of(NORA) == {"guest"}
    assert refusals() == ["oidc_unknown"] * 2


@pytest.mark.parametrize(
    "claims",
    [{"email_verified": False}, {"email_verified": None}, {"email": None}, {"email": "no address"}, {"email": ["a"]},
     {"email": "a\0@harbour.example"}, {"email_verified": 1}, {"email_verified": "false"}],
)  # fmt: skip
def test_an_address_that_is_not_verified_opens_nothing(
    app: Flask, open_door: Provider, person: Callable[..., Actor], claims: dict[str, object]
) -> None:
    person("nora")
    before = counted()
    open_door.person.claims |= claims
    failed(come(browser_of(app)), 403, "has not verified an e-mail address")
    assert counted() == before


def test_people_are_told_apart_by_subject_not_by_address(app: Flask, open_door: Provider) -> None:
    come(browser_of(app))
    open_door.person.claims["email"] = "renamed@harbour.example"
    browser = browser_of(app)
    assert come(browser).status_code == 302
    assert is_signed_in(browser) == NORA
    open_door.person = Person("u-2", {"email": NORA, "email_verified": True})
    other = browser_of(app)
    answer = come(other)
    assert "/link?proof=" in answer.headers["Location"], "somebody else with her old address gets no session"
    assert is_signed_in(other) is None


def test_a_suspended_or_deleted_person_stays_out(app: Flask, open_door: Provider) -> None:
    come(browser_of(app))
    for values in ({"suspended_at": now()}, {"suspended_at": None, "deleted_at": now()}):
        with transaction():
            db.session.execute(change_rows(User, **values), execution_options={"synchronize_session": False})
        before = counted()
        failed(come(browser_of(app)), 403, "suspended")
        assert counted() == before


def test_twenty_returns_of_one_new_person_make_one_account(app: Flask, open_door: Provider) -> None:
    browsers = [browser_of(app) for _ in range(20)]
    backs = [agree(depart(browser)) for browser in browsers]

    def come_back(browser: FlaskClient, back: str) -> int:
        with app.app_context():
            return browser.get(back).status_code

    with ThreadPoolExecutor(20) as pool:
        statuses = list(pool.map(come_back, browsers, backs))
    assert set(statuses) <= {302, 503}, statuses  # a database that is busy says so
    assert 302 in statuses
    numbers = counted()
    assert (numbers["users"], numbers["identities"], numbers["sessions"]) == (1, 1, statuses.count(302))


def test_a_session_that_the_browser_had_before_is_over(
    app: Flask, open_door: Provider, member: Actor, signed_in: Callable[[Actor], FlaskClient]
) -> None:
    browser = signed_in(member)
    cookie = browser.get_cookie("session")
    assert cookie
    assert come(browser).status_code == 302
    assert is_signed_in(browser) == NORA
    thief = browser_of(app)
    thief.set_cookie("session", cookie.value)
    assert is_signed_in(thief) is None


def test_an_unknown_provider_is_a_404_and_the_limit_of_signing_in_holds(app: Flask, open_door: Provider) -> None:
    browser = browser_of(app)
    for path in ("/auth/oidc/none", "/auth/oidc/none/callback?state=a&code=b", "/auth/oidc/none/link?proof=x"):
        assert browser.get(path).status_code == 404
    failed(browser.get("/auth/oidc/work/link?proof=x"), 404, "start again")


def test_without_providers_the_sign_in_page_shows_none(client: FlaskClient) -> None:
    assert "/auth/oidc/" not in client.get("/sign-in").text


def test_names_are_made_fit_to_be_shown(app: Flask, open_door: Provider) -> None:
    open_door.person.claims["name"] = "No\0ra\n\u202e" + "x" * 300
    browser = browser_of(app)
    assert come(browser).status_code == 302
    name = browser.get("/api/v1/users/me").json["name"]
    assert name.startswith("Norax")
    assert len(name) <= 120


def test_a_person_whose_address_has_an_account_gives_its_password_once(
    app: Flask, open_door: Provider, person: Callable[..., Actor]
) -> None:
    person("nora")
    browser = browser_of(app)
    page = come(browser, "?next=/trash").headers["Location"]
    assert is_signed_in(browser) is None
    wrong = answer_offer(browser, page, password="not the password")
    assert wrong.status_code == 401
    assert "E-mail or password is wrong" in wrong.text
    assert answer_offer(browser, page).status_code in {404, 422}
    assert counted()["identities"] == 0
    right = answer_offer(browser, page, password=PASSWORD)
    assert (right.status_code, right.headers["Location"]) == (302, "/trash")
    assert is_signed_in(browser) == NORA
    assert browser.get(page).status_code == 404, "an offer is taken once"
    again = browser_of(app)
    assert come(again).headers["Location"] == "/files"
    assert is_signed_in(again) == NORA
