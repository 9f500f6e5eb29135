"""A provider that lies, hangs or breaks: nobody is let in, nothing is changed, the page says so, the trail has it."""

import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from flask import Flask
from joserfc.jwk import OctKey

from tests.oidc import agree, audited, browser_of, come, counted, depart, failed, is_signed_in, offer, refusals
from tests.providers import (
    SHARED,
    Provider,
    curve_key,
    half_hash,
    lying_provider,
    other_key,
    signed_by_public_key,
    unsigned,
)
from webapp.infra import fetches, providers

Claims = dict[str, Any]


@pytest.fixture
def provider(app: Flask) -> Iterator[Provider]:
    with lying_provider() as server:
        offer(server.url, auto_create=True)
        yield server


def changed(**changes: Any) -> Callable[[Provider], Callable[[Claims], str]]:
    """A token with these claims instead; None leaves one out."""

    def bend(server: Provider) -> Callable[[Claims], str]:
        def make(claims: Claims) -> str:
            return server.signed({name: v for name, v in {**claims, **changes}.items() if v is not None})

        return make

    return bend


def later(seconds: int, *names: str) -> Callable[[Provider], Callable[[Claims], str]]:
    def bend(server: Provider) -> Callable[[Claims], str]:
        return lambda claims: server.signed(claims | dict.fromkeys(names, int(time.time()) + seconds))

    return bend


UNTRUE: dict[str, Callable[[Provider], Callable[[Claims], str]]] = {
    "alg none": lambda server: unsigned,
    "a stranger's key": lambda server: lambda claims: server.signed(claims, other_key()),
    "the public key as a secret": lambda server: lambda claims: signed_by_public_key(server, claims),
    "a key that is not published": lambda server: lambda claims: server.signed(claims, curve_key(), alg="ES256"),
    "a changed payload": lambda server: lambda claims: tampered(server.signed(claims)),
    "no token at all": lambda server: lambda claims: "",
    "rubbish": lambda server: lambda claims: "a.b.c",
    "another issuer": changed(iss="https://evil.example"),
    "no issuer": changed(iss=None),
    "another audience": changed(aud="somebody"),
    "no audience": changed(aud=None),
    "several audiences without azp": changed(aud=["holdfast", "somebody"]),
    "another authorized party": changed(aud=["holdfast", "somebody"], azp="somebody"),
    "another nonce": changed(nonce="x" * 43),
    "no nonce": changed(nonce=None),
    "no subject": changed(sub=None),
    "an empty subject": changed(sub=""),
    "a long subject": changed(sub="x" * 256),
    "a subject that is a number": changed(sub=7),
    "no expiry": changed(exp=None),
    "an expiry in words": changed(exp="tomorrow"),
    "not before the future": later(120, "nbf"),
    "made in the future": later(120, "iat"),
    "a hash of another access token": changed(at_hash=half_hash("another")),
}


def tampered(token: str) -> str:
    head, body, signature = token.split(".")
    return ".".join([head, body[:-4] + "AAAA", signature])


@pytest.mark.parametrize("lie", UNTRUE)
def test_an_untrue_token_lets_nobody_in(app: Flask, provider: Provider, lie: str) -> None:
    provider.token = UNTRUE[lie](provider)
    browser, before = browser_of(app), counted()
    failed(come(browser), 403, "could not be trusted")
    assert (is_signed_in(browser), counted(), refusals()) == (None, before, ["oidc_untrusted"])


def test_an_expired_token_is_said_to_be_late(app: Flask, provider: Provider) -> None:
    provider.token = later(-70, "exp")(provider)
    failed(come(browser_of(app)), 403, "came too late")
    assert refusals() == ["oidc_late"]


@pytest.mark.parametrize(
    "bend",
    [later(-40, "exp"), later(40, "nbf", "iat"), changed(at_hash=half_hash("opaque")),
     changed(aud=["holdfast", "somebody"], azp="holdfast")],
)  # fmt: skip
def test_clocks_may_differ_by_a_minute_and_true_extras_are_fine(
    app: Flask, provider: Provider, bend: Callable[[Provider], Callable[[Claims], str]]
) -> None:
    provider.token = bend(provider)
    assert come(browser_of(app)).headers["Location"] == "/files"


def test_keys_may_be_exchanged_at_any_time(app: Flask, provider: Provider) -> None:
    assert come(browser_of(app)).status_code == 302
    provider.rotate()
    assert come(browser_of(app)).headers["Location"] == "/files"
    assert provider.asked.count("/keys") == 2
    assert provider.asked.count("/.well-known/openid-configuration") == 1
    provider.rotate()
    failed(come(browser_of(app)), 403, "could not be trusted")  # new keys are looked for once in ten seconds
    assert provider.asked.count("/keys") == 2


def test_keys_that_are_none_are_left_out(app: Flask, provider: Provider) -> None:
    provider.published = [SHARED, {"kty": "RSA", "n": "!", "e": "AQAB"}, {"kty": "new"}, curve_key(), provider.key]
    assert come(browser_of(app)).status_code == 302
    provider.token = lambda claims: provider.signed(claims, OctKey.import_key(SHARED), alg="HS256")
    failed(come(browser_of(app)), 403, "could not be trusted")


@pytest.mark.parametrize(
    "metadata",
    [{"issuer": "https://evil.example"}, {"token_endpoint": None}, {"jwks_uri": 7}, {"authorization_endpoint": "x"},
     {"authorization_endpoint": "javascript:alert(1)"}],
)  # fmt: skip
def test_a_document_that_cannot_be_used_is_said_before_anybody_leaves(
    app: Flask, provider: Provider, metadata: Claims
) -> None:
    provider.metadata = metadata
    failed(browser_of(app).get("/auth/oidc/work"), 503, "does not answer as it should")
    assert refusals() == ["oidc_provider"]


def test_a_provider_that_is_away_is_said_and_not_asked_by_everybody(app: Flask, provider: Provider) -> None:
    provider.statuses["/.well-known/openid-configuration"] = 500
    for _ in range(5):
        answer = browser_of(app).get("/auth/oidc/work")
        failed(answer, 503, "does not answer as it should")
    assert provider.asked.count("/.well-known/openid-configuration") == 1
    assert is_signed_in(browser_of(app)) is None


@pytest.mark.parametrize("path", ["/.well-known/openid-configuration", "/keys", "/token"])
def test_a_provider_that_hangs_holds_a_browser_for_seconds_only(
    app: Flask, provider: Provider, monkeypatch: pytest.MonkeyPatch, path: str
) -> None:
    monkeypatch.setattr(fetches, "TOTAL", 0.5)
    provider.hanging.add(path)
    begun = time.monotonic()
    browser = browser_of(app)
    answer = browser.get("/auth/oidc/work")
    if answer.status_code == 302:
        answer = browser.get(agree(answer.headers["Location"]))
    failed(answer, 503, "does not answer as it should")
    assert time.monotonic() - begun < 30  # a hang limit
    assert counted()["sessions"] == 0


def test_what_was_known_serves_on_while_the_document_cannot_be_had(
    app: Flask, provider: Provider, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert come(browser_of(app)).status_code == 302
    provider.statuses["/.well-known/openid-configuration"] = 500
    monkeypatch.setattr(providers, "FRESH", -1.0)
    assert come(browser_of(app)).status_code == 302


@pytest.mark.parametrize(
    ("body", "words"), [(b"x" * 600_000, "does not answer"), (b"[" * 100_000, "could not be trusted")]
)
def test_a_flood_and_a_deep_answer_are_refused(app: Flask, provider: Provider, body: bytes, words: str) -> None:
    provider.redeem = lambda *_: (200, body)  # type: ignore[assignment, method-assign]
    answer = come(browser_of(app))
    failed(answer, 503 if "answer" in words else 403, words)


def test_a_document_does_not_send_us_round_the_house(
    app: Flask, provider: Provider, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The issuer's own host is the operator's word; others must be public (promise 28)."""
    for address in ("http://127.0.0.2:6400/keys", "http://169.254.169.254/keys", "http://[::1]:8080/keys"):
        provider.metadata = {"jwks_uri": address}
        providers.forget_providers()
        failed(come(browser_of(app)), 503, "does not answer as it should")
    assert counted()["sessions"] == 0


def test_a_code_is_refused_where_the_provider_has_redeemed_it(app: Flask, provider: Provider) -> None:
    browser = browser_of(app)
    back = agree(depart(browser))
    provider.codes.clear()
    failed(browser.get(back), 403, "could not be trusted")


@pytest.mark.parametrize("error", ["server_error", "login_required", "<script>alert(1)</script>"])
def test_an_error_of_the_provider_is_told_in_our_words(app: Flask, provider: Provider, error: str) -> None:
    browser = browser_of(app)
    state = depart(browser).partition("state=")[2].partition("&")[0]
    answer = browser.get("/auth/oidc/work/callback", query_string={"state": state, "error": error})
    failed(answer, 403, "could not sign you in")
    assert error not in answer.text


@pytest.mark.parametrize(("method", "offered"), [("basic", None), ("post", ["client_secret_post"]), ("none", ["none"])])
def test_the_vault_shows_who_it_is_in_the_way_the_provider_takes(
    app: Flask, provider: Provider, method: str, offered: list[str] | None
) -> None:
    provider.method, provider.metadata["token_endpoint_auth_methods_supported"] = method, offered
    offer(provider.url, auto_create=True, **({"client_secret": None} if method == "none" else {}))
    assert come(browser_of(app)).headers["Location"] == "/files"


def test_small_tokens_are_completed_by_userinfo_about_the_same_person(app: Flask, provider: Provider) -> None:
    claims, provider.person.claims = provider.person.claims, {"email_verified": True}
    provider.info = {"sub": "u-2", **claims}
    failed(come(browser_of(app)), 403, "could not be trusted")
    provider.info = {"sub": "u-1", "email": "nora@harbour.example"}
    failed(come(browser_of(app)), 403, "has not verified")  # the token's word is about the token's address
    provider.info = {"sub": "u-1", **claims}
    browser = browser_of(app)
    assert come(browser).status_code == 302
    assert is_signed_in(browser) == "nora@harbour.example"
    assert [event for event, _ in audited()].count("user.created") == 1
