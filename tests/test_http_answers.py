"""Versions, conditions, caching: what a careful client relies on."""

import gzip
import re

import pytest
from flask import Flask
from flask.testing import FlaskClient

from webapp.config import use_settings
from webapp.http.conditional import expected_version

from .plumbing import make_app


@pytest.fixture(scope="module")
def plumbing(tmp_path_factory: pytest.TempPathFactory) -> Flask:
    return make_app(tmp_path_factory.mktemp("answers"))


@pytest.fixture(scope="module")
def client(plumbing: Flask) -> FlaskClient:
    use_settings(plumbing.config["HOLDFAST_SETTINGS"])
    return plumbing.test_client()


def test_a_versioned_answer_has_an_etag_and_is_not_sent_twice(client: FlaskClient) -> None:
    first = client.get("/api/v1/things/7")
    assert first.headers["ETag"] == '"7"'
    assert first.headers["Cache-Control"] == "private, no-cache"
    again = client.get("/api/v1/things/7", headers={"If-None-Match": '"7"'})
    assert (again.status_code, again.data, again.headers["ETag"]) == (304, b"", '"7"')


@pytest.mark.parametrize("known", ['"7"', 'W/"7"', '"3", "7"', "*", '"7:gzip"'])
def test_a_known_version_is_304(client: FlaskClient, known: str) -> None:
    assert client.get("/api/v1/things/7", headers={"If-None-Match": known}).status_code == 304


@pytest.mark.parametrize("known", ['"77"', '"6"', "7", '"x"', "", '"', "\xff"])
def test_another_version_is_sent_whole(client: FlaskClient, known: str) -> None:
    assert client.get("/api/v1/things/7", headers={"If-None-Match": known}).status_code == 200


def test_the_tag_of_a_compressed_answer_still_names_the_version(client: FlaskClient) -> None:
    packed = client.get("/api/v1/things/7", headers={"Accept-Encoding": "gzip"})
    assert packed.headers["Content-Encoding"] == "gzip"
    assert b'"version":7' in gzip.decompress(packed.data)
    tag = packed.headers["ETag"]
    assert client.get("/api/v1/things/7", headers={"If-None-Match": tag}).status_code == 304
    assert client.patch("/api/v1/things/7", headers={"If-Match": tag}).status_code == 200


def test_head_says_what_get_would(client: FlaskClient) -> None:
    get, head = client.get("/api/v1/things/7"), client.head("/api/v1/things/7")
    assert (head.status_code, head.data) == (200, b"")
    assert head.headers["Content-Length"] == get.headers["Content-Length"]
    assert head.headers["ETag"] == get.headers["ETag"]


@pytest.mark.parametrize(
    ("known", "status"),
    [('"7"', 200), ("*", 200), (None, 200), ('"6"', 412), ('"x"', 412), ("7", 412), ('"6", "7"', 400), ("", 412),
     ('"99999999999999999999"', 412)],
)  # fmt: skip
def test_a_change_names_the_version_it_saw(client: FlaskClient, known: str | None, status: int) -> None:
    headers = {} if known is None else {"If-Match": known}
    answer = client.patch("/api/v1/things/7", headers=headers)
    assert answer.status_code == status
    if status == 412:
        assert answer.json["code"] == "stale_version"


def test_a_form_carries_the_version_too(plumbing: Flask) -> None:
    def read(version: str) -> int | None:
        with plumbing.test_request_context("/form", method="POST", data={"version": version}):
            return expected_version()

    assert read("12") == 12
    for broken in ("", "x", "-1", "1.0", "1" * 30, "١"):
        with pytest.raises(Exception, match="number"):
            read(broken)


def test_creating_answers_201_and_where(client: FlaskClient) -> None:
    answer = client.post("/api/v1/things")
    assert (answer.status_code, answer.headers["Location"]) == (201, "/api/v1/things/1")
    assert (answer.json["name"], answer.headers["ETag"]) == ("new", '"1"')


def test_deleting_answers_204_without_a_body(client: FlaskClient) -> None:
    answer = client.delete("/api/v1/things/1")
    assert (answer.status_code, answer.data, answer.headers["Cache-Control"]) == (204, b"", "no-store")
    assert "Content-Type" not in answer.headers


def test_limits_are_told_on_every_counted_answer(client: FlaskClient) -> None:
    first, second = (client.get("/api/v1/things/7").headers for _ in range(2))
    assert int(first["RateLimit-Remaining"]) - int(second["RateLimit-Remaining"]) == 1
    assert 0 < int(first["RateLimit-Reset"]) <= 60
    assert re.fullmatch(r"\d+", first["RateLimit-Limit"])
    assert "RateLimit-Limit" not in client.get("/health/live").headers
