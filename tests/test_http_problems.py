"""What goes wrong is answered in the client's language: problem+json for programs, a page for people, never a trace."""

import json
from typing import Any

import pytest
from flask import Flask
from flask.testing import FlaskClient
from jinja2 import DictLoader
from werkzeug.test import create_environ

from webapp.config import use_settings
from webapp.http.requestlog import RequestLog

from .plumbing import make_app

STATUS = {
    "missing": 404, "refused": 403, "unauthenticated": 401, "conflict": 409, "stale": 409, "large": 413,
    "unsupported": 415, "range": 416, "invalid": 422, "locked": 423, "limited": 429, "unavailable": 503, "full": 507,
    "bug": 500, "pool": 503, "unique": 409, "gone": 503, "foreign": 500,
}  # fmt: skip


@pytest.fixture(scope="module")
def plumbing(tmp_path_factory: pytest.TempPathFactory) -> Flask:
    return make_app(tmp_path_factory.mktemp("problems"))


@pytest.fixture(scope="module")
def client(plumbing: Flask) -> FlaskClient:
    use_settings(plumbing.config["HOLDFAST_SETTINGS"])
    return plumbing.test_client()


@pytest.mark.parametrize(("name", "status"), STATUS.items())
def test_every_failure_is_a_problem_document(client: FlaskClient, name: str, status: int) -> None:
    answer = client.get(f"/api/v1/failures/{name}")
    assert answer.status_code == status
    assert answer.content_type == "application/problem+json"
    assert answer.headers["Cache-Control"] == "no-store"
    problem = answer.json
    assert problem["status"] == status
    assert problem["instance"] == f"/api/v1/failures/{name}"
    assert problem["request_id"] == answer.headers["X-Request-ID"]
    assert problem["type"] == f"urn:holdfast:problem:{problem['code']}"
    assert problem["title"]
    assert problem["detail"]


@pytest.mark.parametrize(("name", "status"), [(n, s) for n, s in STATUS.items() if s != 401])
def test_a_person_gets_a_page_with_the_request_id(client: FlaskClient, name: str, status: int) -> None:
    answer = client.get(f"/failures/{name}", headers={"Accept": "text/html,*/*"})
    assert answer.status_code == status
    assert answer.mimetype == "text/html"
    assert answer.headers["X-Request-ID"] in answer.text
    assert "Content-Security-Policy" in answer.headers


def test_a_program_may_ask_a_page_for_json(client: FlaskClient) -> None:
    assert (
        client.get("/failures/missing", headers={"Accept": "application/json"}).content_type
        == "application/problem+json"
    )
    assert client.get("/failures/missing", headers={"Accept": "*/*"}).mimetype == "text/html"


@pytest.mark.parametrize("name", ["bug", "foreign"])
def test_a_bug_tells_nothing_of_itself(client: FlaskClient, name: str) -> None:
    for path in (f"/failures/{name}", f"/api/v1/failures/{name}"):
        text = client.get(path).text
        assert "Tr0ub4dor" not in text
        assert "Traceback" not in text
        assert "constraint" not in text


def test_a_stale_version_is_412_only_where_the_request_named_one(client: FlaskClient) -> None:
    assert client.get("/api/v1/failures/stale").json["status"] == 409
    answer = client.get("/api/v1/failures/stale", headers={"If-Match": '"1"'})
    assert (answer.status_code, answer.json["status"]) == (412, 412)
    assert client.get("/api/v1/failures/conflict", headers={"If-Match": '"1"'}).status_code == 409


@pytest.mark.parametrize(("name", "seconds"), [("limited", "7"), ("unavailable", "1"), ("pool", "1"), ("gone", "2")])
def test_what_may_be_tried_again_says_when(client: FlaskClient, name: str, seconds: str) -> None:
    assert client.get(f"/api/v1/failures/{name}").headers["Retry-After"] == seconds
    assert client.get(f"/failures/{name}").headers["Retry-After"] == seconds


def test_invalid_input_names_its_fields(client: FlaskClient) -> None:
    errors = client.get("/api/v1/failures/invalid").json["errors"]
    assert errors == [{"field": "name", "code": "too_short", "message": "Longer, please."}]


@pytest.mark.parametrize(
    "path",
    ["/nope", "/api/v1/nope", "/%00", "/files/%ff", "/api/v1/files/" + "x" * 5000, "/static/nope.css", "/.env",
     "/static/../webapp/app.py", "/api/v1/files/..%2f..%2fetc"],
)  # fmt: skip
def test_an_unknown_address_is_404(client: FlaskClient, path: str) -> None:
    answer = client.get(path)
    assert answer.status_code == 404
    assert answer.headers["X-Request-ID"]
    assert answer.headers["X-Content-Type-Options"] == "nosniff"


def test_a_wrong_method_is_405_and_says_which_are_right(client: FlaskClient) -> None:
    answer = client.put("/api/v1/things/1")
    assert (answer.status_code, answer.json["code"]) == (405, "method_not_allowed")
    assert answer.headers["Allow"] == "DELETE, GET, HEAD, OPTIONS, PATCH"
    assert client.post("/private").headers["Allow"] == "GET, HEAD, OPTIONS"
    options = client.options("/api/v1/things/1")
    assert (options.status_code, set(options.headers["Allow"].split(", "))) == (
        200,
        {"DELETE", "GET", "HEAD", "OPTIONS", "PATCH"},
    )
    head = client.head("/api/v1/failures/missing")
    assert (head.status_code, head.data) == (404, b"")


@pytest.mark.parametrize(
    "headers",
    [{"Accept": "\xff;q=x,,"}, {"Accept-Language": "xx-\xff;q=9"}, {"Cookie": "session=\xff; ;;=; session"},
     {"Cookie": "session=" + "x" * 8000}, {"If-None-Match": '"' * 999}, {"Content-Type": "a/b; charset=\xff"},
     {"Host": "ev il"}, {"Host": "a" * 300}, {"Host": "[::1"}, {"Range": "bytes=-"}, {"Authorization": "\xff"},
     {"X-Forwarded-For": "', --"}, {"User-Agent": "\xff" * 3000}, {"X-CSRF-Token": "\xff"},
     {"Accept-Encoding": "gzip;q=x"},
     {"If-Modified-Since": "yesterday"}, {"Content-Length": "x"}, {"Transfer-Encoding": "x"}],
    ids=str,
)  # fmt: skip
def test_hostile_headers_are_no_500(client: FlaskClient, headers: dict[str, str]) -> None:
    for method, path in (
        ("GET", "/sign-in"),
        ("GET", "/files"),
        ("GET", "/api/v1/things/1"),
        ("POST", "/api/v1/wishes"),
        ("GET", "/x"),
    ):
        answer = client.open(path, method=method, headers=headers)
        assert answer.status_code < 500, (path, answer.text)


def test_an_error_page_that_fails_is_replaced_by_a_plain_one(
    plumbing: Flask, client: FlaskClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(plumbing.jinja_env, "loader", DictLoader({"error.html": "{{ 1 / 0 }}"}))
    plumbing.jinja_env.cache.clear()
    answer = client.get("/failures/missing")
    plumbing.jinja_env.cache.clear()
    assert answer.status_code == 404
    assert "<h1>Not found</h1>" in answer.text
    assert answer.headers["X-Request-ID"] in answer.text


def test_a_failure_outside_of_flask_is_answered_too() -> None:
    def broken(_environ: Any, _start: Any) -> Any:
        raise MemoryError("the password is Tr0ub4dor")

    seen: list[Any] = []
    body = b"".join(RequestLog(broken)(create_environ("/x"), lambda *args: seen.extend(args)))
    assert seen[0].startswith("500")
    assert json.loads(body)["request_id"] == dict(seen[1])["X-Request-ID"]
    assert b"Tr0ub4dor" not in body
