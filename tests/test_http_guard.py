"""Who may call what: identity, permission, CSRF, body limits."""

from collections.abc import Callable
from pathlib import Path

import pytest
from flask import Flask
from flask.testing import FlaskClient

from webapp.config import use_settings
from webapp.http.guard import guard, safe_path
from webapp.policies import Actor

from .conftest import PASSWORD, csrf_of
from .plumbing import make_app, make_person


@pytest.fixture(scope="module")
def plumbing(tmp_path_factory: pytest.TempPathFactory) -> Flask:
    return make_app(tmp_path_factory.mktemp("guard"))


@pytest.fixture(scope="module")
def people(plumbing: Flask) -> dict[str, Actor]:
    return {role: make_person(plumbing, role, role) for role in ("member", "guest")}


@pytest.fixture
def client(plumbing: Flask, people: dict[str, Actor]) -> FlaskClient:
    use_settings(plumbing.config["HOLDFAST_SETTINGS"])
    return plumbing.test_client()


@pytest.fixture
def browser(client: FlaskClient) -> Callable[[str], tuple[FlaskClient, str]]:
    """A signed-in browser and its CSRF token."""

    def make(role: str = "member") -> tuple[FlaskClient, str]:
        token = csrf_of(client.get("/form").text)
        wish = {"email": f"{role}@harbour.example", "password": PASSWORD, "csrf_token": token}
        assert client.post("/sign-in", data=wish).status_code == 302
        return client, csrf_of(client.get("/form").text)

    return make


def token_of(client: FlaskClient, role: str = "member") -> dict[str, str]:
    answer = client.post("/api/v1/auth/login", json={"email": f"{role}@harbour.example", "password": PASSWORD})
    return {"Authorization": f"Bearer {answer.json['access_token']}"}


def test_nobody_is_sent_to_sign_in_and_back(client: FlaskClient) -> None:
    answer = client.get("/private?a=1&b=//evil.example")
    assert answer.status_code == 302
    assert answer.location == "/sign-in?next=/private%3Fa%3D1%26b%3D//evil.example"
    assert answer.headers["Cache-Control"] == "no-store"


def test_a_lost_form_leads_to_sign_in_without_a_way_back(client: FlaskClient) -> None:
    answer = client.post("/deeds")
    assert (answer.status_code, answer.location) == (302, "/sign-in")


def test_a_fragment_does_not_become_the_sign_in_page(client: FlaskClient) -> None:
    answer = client.get("/private", headers={"HX-Request": "true"})
    assert (answer.status_code, answer.headers["HX-Redirect"]) == (401, "/sign-in")


def test_a_program_without_a_token_gets_401_and_the_scheme(client: FlaskClient) -> None:
    answer = client.post("/api/v1/deeds")
    assert answer.status_code == 401
    assert answer.headers["WWW-Authenticate"].startswith("Bearer")
    assert answer.json["code"] == "unauthenticated"


@pytest.mark.parametrize("header", ["Bearer x", "bearer ", "Bearer a.b.c", "Bearer \xff\xfe", "Bearer " + "x" * 9000])
def test_a_bad_token_is_401_even_beside_a_good_cookie(
    browser: Callable[..., tuple[FlaskClient, str]], header: str
) -> None:
    client, _ = browser()
    assert client.post("/api/v1/deeds", headers={"Authorization": header}).status_code == 401


def test_another_scheme_is_for_the_proxy_in_front_and_the_cookie_counts(
    browser: Callable[..., tuple[FlaskClient, str]],
) -> None:
    client, _ = browser()
    assert client.get("/private", headers={"Authorization": "Basic Zm9vOmJhcg=="}).text == "member"


def test_a_cookie_alone_does_not_write(browser: Callable[..., tuple[FlaskClient, str]]) -> None:
    client, token = browser()
    for path in ("/api/v1/deeds", "/deeds"):
        refused = client.post(path, headers={"Accept": "application/json"})
        assert (refused.status_code, refused.json["code"]) == (403, "csrf")
    assert client.post("/api/v1/deeds", headers={"X-CSRF-Token": token}).status_code == 204
    assert client.post("/deeds", data={"csrf_token": token}).text == "done"


@pytest.mark.parametrize("token", ["", "x", "a.b.c", "é" * 50, "1" * 5000])
def test_a_made_up_form_token_is_refused(browser: Callable[..., tuple[FlaskClient, str]], token: str) -> None:
    client, _ = browser()
    assert client.post("/deeds", data={"csrf_token": token}).status_code == 403


def test_the_form_token_of_another_browser_is_refused(
    plumbing: Flask, browser: Callable[..., tuple[FlaskClient, str]]
) -> None:
    client, _ = browser()
    other = csrf_of(plumbing.test_client().get("/form").text)
    assert client.post("/deeds", data={"csrf_token": other}).status_code == 403


def test_a_stranger_s_page_cannot_sign_anybody_in(client: FlaskClient) -> None:
    assert client.post("/sign-in", data={"email": "member@harbour.example", "password": PASSWORD}).status_code == 403


def test_a_token_needs_no_form_token(client: FlaskClient) -> None:
    assert client.post("/api/v1/deeds", headers=token_of(client)).status_code == 204


def test_lacking_the_permission_is_403_with_its_name(client: FlaskClient) -> None:
    answer = client.post("/api/v1/deeds", headers=token_of(client, "guest"))
    assert answer.status_code == 403
    assert "files.write" in answer.json["detail"]


def test_an_ordinary_body_ends_at_a_mebibyte(client: FlaskClient) -> None:
    big = b'{"name": "' + b"x" * 1024**2 + b'"}'
    assert client.post("/api/v1/wishes", data=big, content_type="application/json").status_code == 413
    token = csrf_of(client.get("/form").text)
    assert client.post("/form", data={"name": "x" * 1024**2, "csrf_token": token}).status_code == 413


def test_an_upload_may_be_larger_and_is_left_unread_until_the_view_reads(
    browser: Callable[..., tuple[FlaskClient, str]],
) -> None:
    client, token = browser()
    answer = client.post("/uploads", data=b"x" * 3_000_000, headers={"X-CSRF-Token": token})
    assert answer.text == "3000000"


def test_an_upload_beyond_the_limit_is_413(tmp_path: Path, plumbing: Flask) -> None:
    small = make_app(tmp_path, MAX_UPLOAD_SIZE="1000")
    make_person(small, "member")
    client = small.test_client()
    answer = client.post("/uploads", data=b"x" * 1_100_000, headers=token_of(client))
    use_settings(plumbing.config["HOLDFAST_SETTINGS"])
    assert answer.status_code == 413


def test_a_view_that_forgets_to_prove_a_streamed_form_fails_loudly(
    browser: Callable[..., tuple[FlaskClient, str]],
) -> None:
    client, token = browser()
    assert client.post("/uploads", data=b"x").status_code == 500
    assert client.post("/uploads", data=b"x", headers={"X-Field": token}).text == "1"
    assert client.post("/uploads", data=b"x", headers={"X-Field": "made up"}).status_code == 403


def test_an_unknown_permission_fails_at_import() -> None:
    with pytest.raises(KeyError):
        guard("files.fly")


@pytest.mark.parametrize("path", ["/", "/files?a=b#c", "/folders/1/2", "/a//b"])
def test_a_local_path_is_followed(path: str) -> None:
    assert safe_path(path) == path


@pytest.mark.parametrize(
    "path",
    [None, "", "files", "//evil.example", "///evil.example", "/\\evil.example", "\\\\evil", "https://evil.example",
     "javascript:1",
     "/\tevil", "/a\r\nX: y", "/a b", "/" + "x" * 2001, "\x00/a", " /a"],
)  # fmt: skip
def test_what_could_lead_elsewhere_is_not_followed(path: str | None) -> None:
    assert safe_path(path) == "/"
