"""One line a request: whose, what, how long; never a secret."""

import io
import json
import logging
from collections.abc import Iterator
from typing import Any

import pytest
import structlog
from flask import Flask
from flask.testing import FlaskClient

from webapp.config import Settings, use_settings
from webapp.infra.logs import configure_logging

from .conftest import PASSWORD, make_settings
from .plumbing import make_app, make_person


@pytest.fixture(scope="module")
def plumbing(tmp_path_factory: pytest.TempPathFactory) -> Flask:
    app = make_app(tmp_path_factory.mktemp("log"))
    make_person(app)
    return app


@pytest.fixture
def client(plumbing: Flask) -> FlaskClient:
    use_settings(plumbing.config["HOLDFAST_SETTINGS"])
    return plumbing.test_client()


@pytest.fixture
def written(plumbing: Flask) -> Iterator[io.StringIO]:
    """What is logged meanwhile."""
    settings: Settings = plumbing.config["HOLDFAST_SETTINGS"]
    stream = io.StringIO()
    configure_logging(settings.model_copy(update={"log_level": "info"}), stream)
    yield stream
    configure_logging(settings)


def lines(written: io.StringIO) -> list[dict[str, Any]]:
    return [json.loads(line) for line in written.getvalue().splitlines()]


@pytest.mark.parametrize("given", ["a1b2c3d4", "A.b_c-d.0123456789", "x" * 64])
def test_a_well_formed_request_id_is_kept(client: FlaskClient, given: str) -> None:
    assert client.get("/health/live", headers={"X-Request-ID": given}).headers["X-Request-ID"] == given


@pytest.mark.parametrize("given", ["short", "x" * 65, "a b c d e f", "abcdefgh\u00e9", "<script>x", "", "${jndi:x}"])
def test_another_request_id_is_replaced(client: FlaskClient, given: str) -> None:
    made = client.get("/health/live", headers={"X-Request-ID": given}).headers["X-Request-ID"]
    assert made != given
    assert len(made) == 32


@pytest.mark.parametrize("path", ["/health/live", "/nope", "/api/v1/failures/bug", "/static/favicon.svg", "/files"])
def test_every_answer_has_an_id_and_its_timing(client: FlaskClient, path: str) -> None:
    headers = client.get(path, buffered=True).headers
    assert len(headers.get_all("X-Request-ID")) == 1
    assert headers["Server-Timing"].startswith("app;dur=")


def test_a_request_is_one_line(client: FlaskClient, written: io.StringIO) -> None:
    login = client.post("/api/v1/auth/login", json={"email": "pia@harbour.example", "password": PASSWORD}).json
    written.truncate(0)
    written.seek(0)
    answer = client.get("/api/v1/users/me", headers={"Authorization": f"Bearer {login['access_token']}"})
    (line,) = lines(written)
    assert line["event"] == "request"
    assert line["request_id"] == answer.headers["X-Request-ID"]
    assert (line["user"], line["method"], line["route"]) == (answer.json["id"], "GET", "/api/v1/users/me")
    assert (line["path"], line["status"], line["address"], line["level"]) == (
        "/api/v1/users/me",
        200,
        "127.0.0.1",
        "info",
    )
    assert line["queries"] >= 0
    assert line["duration_ms"] > 0
    assert line["time"].endswith("Z")


def test_queries_are_counted_for_each_request_by_itself(client: FlaskClient, written: io.StringIO) -> None:
    for _ in range(2):
        client.post("/api/v1/auth/login", json={"email": "nobody@harbour.example", "password": PASSWORD})
        client.get("/health/live")
    client.get("/nope")
    counts = [(line["path"], line["queries"]) for line in lines(written)]
    assert [count > 0 for path, count in counts if path == "/api/v1/auth/login"] == [True, True]
    assert counts[-1] == ("/nope", 0)


def test_no_secret_reaches_the_log(client: FlaskClient, written: io.StringIO) -> None:
    client.get("/setup?token=s3cr3t-one&next=/files")
    client.get("/invited/s3cr3t-two")
    client.post("/api/v1/auth/login", json={"email": "pia@harbour.example", "password": "s3cr3t-three"})
    client.get("/files", headers={"Cookie": "session=s3cr3t-four", "Authorization": "Bearer s3cr3t-five"})
    log = structlog.get_logger()
    log.warning("x", password="s3cr3t-six", api_key="s3cr3t-seven", url="postgresql://me:s3cr3t-eight@db/x")
    log.warning("Authorization: Bearer s3cr3t-nine", note="token=s3cr3t-ten&a=b")
    logging.getLogger("library").error("cannot connect to amqp://guest:s3cr3t-eleven@host/")
    assert "s3cr3t" not in written.getvalue()
    paths = [line["path"] for line in lines(written) if "path" in line]
    assert paths[:2] == ["/setup?token=[redacted]&next=/files", "/invited/<token>"]


def test_libraries_log_the_same_way(client: FlaskClient, written: io.StringIO) -> None:
    logging.getLogger("granian").warning("stopping %s", "now")
    try:
        raise ValueError("why")
    except ValueError:
        logging.getLogger("dramatiq").exception("failed")
    first, second = lines(written)
    assert (first["event"], first["level"], first["logger"]) == ("stopping now", "warning", "granian")
    assert "ValueError: why" in second["exception"]


def test_a_bug_is_logged_with_its_trace_and_request(client: FlaskClient, written: io.StringIO) -> None:
    answer = client.get("/api/v1/failures/bug")
    bug, request = lines(written)
    assert "RuntimeError" in bug["exception"]
    assert bug["request_id"] == request["request_id"] == answer.headers["X-Request-ID"]
    assert (bug["level"], request["status"]) == ("error", 500)


def test_strange_paths_stay_one_line(client: FlaskClient, written: io.StringIO) -> None:
    client.get("/a%0ab%0d%00?x=%0a&token")
    (line,) = lines(written)
    assert line["path"] == "/a\nb\r\x00?x=%0A&token=[redacted]"


def test_health_checks_and_assets_are_quiet(client: FlaskClient, written: io.StringIO) -> None:
    client.get("/health/live")
    client.get("/static/favicon.svg", buffered=True)
    assert lines(written) == []


def test_development_may_read_a_plain_console(plumbing: Flask, capsys: pytest.CaptureFixture[str]) -> None:
    stream = io.StringIO()
    settings: Settings = plumbing.config["HOLDFAST_SETTINGS"]
    configure_logging(settings.model_copy(update={"log_level": "info", "log_format": "console"}), stream)
    structlog.get_logger().info("hello", password="s3cr3t")
    logging.getLogger("x").error("world")
    configure_logging(make_settings(settings.var_dir))
    assert "hello" in stream.getvalue()
    assert "world" in stream.getvalue()
    assert "s3cr3t" not in stream.getvalue()
