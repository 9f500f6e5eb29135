"""The headers that browsers enforce, the cookie's flags, proxies and other origins."""

import re
from pathlib import Path

import pytest
from flask import Flask, request, session
from flask.testing import FlaskClient

from webapp.config import use_settings

from .plumbing import make_app

HTTPS = {"PUBLIC_URL": "https://vault.harbour.example"}
SECRETS = ("SECRET_KEYS", "JWT_KEYS", "DATA_KEYS")
PRODUCTION = {"APP_ENV": "production", **{name: f"kT9x{name[:2]}vQ2mZr7LpWd4HsYb1NcJf6GaEu0Xo5Ri" for name in SECRETS}}


@pytest.fixture(scope="module")
def plumbing(tmp_path_factory: pytest.TempPathFactory) -> Flask:
    return make_app(
        tmp_path_factory.mktemp("headers"), CORS_ORIGINS="https://app.harbour.example, http://localhost:3000"
    )


@pytest.fixture
def client(plumbing: Flask) -> FlaskClient:
    use_settings(plumbing.config["HOLDFAST_SETTINGS"])
    return plumbing.test_client()


def directives(policy: str) -> dict[str, str]:
    return dict(part.strip().split(" ", 1) for part in policy.split(";"))


@pytest.mark.parametrize("path", ["/sign-in", "/nope", "/failures/bug", "/api/docs", "/failures/missing"])
def test_a_page_runs_only_our_own_scripts(client: FlaskClient, path: str) -> None:
    policy = client.get(path).headers["Content-Security-Policy"]
    parts = directives(policy)
    assert "unsafe" not in policy
    assert "*" not in policy
    assert parts["default-src"] == "'none'"
    assert re.fullmatch(r"'self' 'nonce-[\w-]{20,}'", parts["script-src"])
    assert (parts["object-src"], parts["base-uri"], parts["frame-ancestors"]) == ("'none'", "'none'", "'none'")
    assert parts["form-action"] == "'self'"


def test_the_nonce_is_new_in_every_answer_and_the_template_knows_it(client: FlaskClient) -> None:
    answers = [client.get("/nonce") for _ in range(2)]
    for answer in answers:
        assert f"'nonce-{answer.text}'" in answer.headers["Content-Security-Policy"]
    assert answers[0].text != answers[1].text


@pytest.mark.parametrize(
    "path", ["/sign-in", "/api/v1/things/1", "/api/v1/nope", "/health/live", "/static/favicon.svg", "/files"]
)
def test_every_answer_is_fenced_in(client: FlaskClient, path: str) -> None:
    headers = client.get(path, buffered=True).headers
    assert headers["X-Content-Type-Options"] == "nosniff"
    assert "default-src 'none'" in headers["Content-Security-Policy"]
    assert headers["Referrer-Policy"] in {"same-origin", "no-referrer"}
    assert headers["Cross-Origin-Resource-Policy"] == "same-origin"
    assert "Strict-Transport-Security" not in headers
    if not path.startswith("/static"):
        assert headers["X-Frame-Options"] == "DENY"
        assert headers["Cross-Origin-Opener-Policy"] == "same-origin"
        assert "camera=()" in headers["Permissions-Policy"]


def test_a_view_s_own_policy_stands(client: FlaskClient) -> None:
    assert client.get("/own-policy").headers["Content-Security-Policy"] == "sandbox"
    assert "nonce" in client.get("/sign-in").headers["Content-Security-Policy"]


def test_the_cookie_on_http_works_in_development(client: FlaskClient) -> None:
    cookie = client.get("/form").headers["Set-Cookie"]
    assert cookie.startswith("session=")
    assert {"HttpOnly", "SameSite=Lax", "Path=/"} <= set(cookie.split("; "))
    assert "Secure" not in cookie
    assert "Domain" not in cookie


@pytest.mark.parametrize("header", [{"X-Forwarded-Proto": "https"}, {"Forwarded": "proto=https"}], ids=str)
def test_a_client_cannot_claim_https(client: FlaskClient, header: dict[str, str]) -> None:
    answer = client.get("/form", headers=header)
    assert "Secure" not in answer.headers["Set-Cookie"]
    assert "Strict-Transport-Security" not in answer.headers


def test_on_https_the_cookie_is_bound_to_the_host_and_hsts_is_set(tmp_path: Path) -> None:
    client = make_app(tmp_path, TRUSTED_PROXIES="1", **HTTPS).test_client()
    answer = client.get("/form", headers={"X-Forwarded-Proto": "https"})
    cookie = answer.headers["Set-Cookie"]
    assert cookie.startswith("__Host-session=")
    assert {"Secure", "HttpOnly", "SameSite=Lax", "Path=/"} <= set(cookie.split("; "))
    assert "Domain" not in cookie
    assert re.match(r"max-age=\d{8}", answer.headers["Strict-Transport-Security"])


def test_production_on_https_leaves_no_plain_http_but_for_health_checks(tmp_path: Path) -> None:
    client = make_app(tmp_path, TRUSTED_PROXIES="1", **PRODUCTION, **HTTPS).test_client()
    moved = client.get("/files", headers={"Host": "vault.harbour.example"})
    assert (moved.status_code, moved.location) == (302, "https://vault.harbour.example/files")
    assert client.get("/health/live").status_code == 200
    assert client.get("/sign-in", headers={"X-Forwarded-Proto": "https"}).status_code == 200
    sent = {"X-Forwarded-Proto": "https, http"}  # the outer one is the client's word; ours is the last
    assert client.get("/sign-in", headers=sent).status_code == 302


@pytest.mark.parametrize(("hops", "address"), [("0", "127.0.0.1"), ("1", "203.0.113.9"), ("2", "198.51.100.7")])
def test_the_client_s_address_is_read_by_hop_count(tmp_path: Path, hops: str, address: str) -> None:
    app = make_app(tmp_path, TRUSTED_PROXIES=hops)
    seen: list[str] = []
    app.before_request(lambda: seen.append(str(request.remote_addr)))
    app.test_client().get("/form", headers={"X-Forwarded-For": "192.0.2.1, 198.51.100.7, 203.0.113.9"})
    assert seen == [address]


def test_a_named_origin_may_ask(client: FlaskClient) -> None:
    origin = {"Origin": "https://app.harbour.example"}
    answer = client.get("/api/v1/things/1", headers=origin)
    assert answer.headers["Access-Control-Allow-Origin"] == origin["Origin"]
    assert "Access-Control-Allow-Credentials" not in answer.headers
    assert "ETag" in answer.headers["Access-Control-Expose-Headers"]
    assert "Origin" in answer.headers["Vary"]
    before = client.options("/api/v1/things/1", headers={**origin, "Access-Control-Request-Method": "PATCH"})
    assert before.status_code == 204
    assert "PATCH" in before.headers["Access-Control-Allow-Methods"]
    assert "If-Match" in before.headers["Access-Control-Allow-Headers"]
    assert before.headers["Access-Control-Allow-Origin"] == origin["Origin"]


@pytest.mark.parametrize(
    "origin",
    ["https://evil.example", "null", "https://app.harbour.example.evil.example", "http://app.harbour.example", ""],
)
def test_another_origin_may_not(client: FlaskClient, origin: str) -> None:
    answer = client.get("/api/v1/things/1", headers={"Origin": origin})
    assert "Access-Control-Allow-Origin" not in answer.headers
    assert "Origin" in answer.headers["Vary"]
    before = client.options("/api/v1/things/1", headers={"Origin": origin, "Access-Control-Request-Method": "PATCH"})
    assert "Access-Control-Allow-Origin" not in before.headers
    assert "Access-Control-Allow-Methods" not in before.headers


def test_pages_are_for_no_other_origin(client: FlaskClient) -> None:
    assert (
        "Access-Control-Allow-Origin" not in client.get("/sign-in", headers={"Origin": "http://localhost:3000"}).headers
    )


def test_an_older_secret_is_still_believed(tmp_path: Path) -> None:
    old = make_app(tmp_path, SECRET_KEYS="a" * 40).test_client()
    old.get("/form")
    cookie = old.get_cookie("session")
    assert cookie is not None
    for keys, known in (("b" * 40 + "," + "a" * 40, True), ("b" * 40, False)):
        new = make_app(tmp_path, SECRET_KEYS=keys)
        with new.test_client() as client:
            client.set_cookie("session", cookie.value)
            client.get("/nonce")
            assert ("csrf_token" in session) is known
