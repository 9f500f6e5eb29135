"""Bad input is a 4xx that names the field, and never a 500."""

import json
from typing import Any

import pytest
from flask import Flask
from flask.testing import FlaskClient
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from webapp.config import use_settings

from .conftest import csrf_of
from .plumbing import make_app

WISHES = "/api/v1/wishes"
TEXT = st.text(st.characters(codec=None))
LEAVES = st.none() | st.booleans() | st.integers() | st.floats() | TEXT


@pytest.fixture(scope="module")
def plumbing(tmp_path_factory: pytest.TempPathFactory) -> Flask:
    return make_app(tmp_path_factory.mktemp("inputs"))


@pytest.fixture(scope="module")
def client(plumbing: Flask) -> FlaskClient:
    use_settings(plumbing.config["HOLDFAST_SETTINGS"])
    return plumbing.test_client()


def send(client: FlaskClient, raw: bytes, content_type: str = "application/json") -> tuple[int, dict[str, Any]]:
    answer = client.post(WISHES, data=raw, content_type=content_type)
    return answer.status_code, answer.json


def test_a_good_body_arrives(client: FlaskClient) -> None:
    body = {"name": " a ", "number": 3, "share": 0.5, "ticked": True, "tags": ["x"], "parent_id": None}
    status, answer = send(client, json.dumps(body).encode())
    assert (status, answer) == (200, {**body, "name": "a"})


@pytest.mark.parametrize(
    "raw",
    [b"", b"{", b"[" * 100_000, b'{"name":' * 100_000, b'{"name": "a"} x', b'{"name": "\xff"}', b'{"name": "\\ud800"}',
     b'\xef\xbb\xbf{"name": "a"}', b'{"name": "a", "number": ' + b"9" * 5000 + b"}", b"\x00", b'{"\\udc00": 1}'],
    ids=lambda raw: repr(raw[:20]),
)  # fmt: skip
def test_what_is_not_json_is_400(client: FlaskClient, raw: bytes) -> None:
    status, answer = send(client, raw)
    assert (status, answer["code"]) == (400, "json_invalid")


@pytest.mark.parametrize(
    ("body", "field", "code"),
    [
        ("{}", "name", "missing"),
        ('{"name": "a", "extra": 1}', "extra", "extra_forbidden"),
        ('{"name": 1}', "name", "string_type"),
        ('{"name": "  "}', "name", "string_too_short"),
        ('{"name": "xxxxxxxxxxxxxxxxxxxxxx"}', "name", "string_too_long"),
        ('{"name": "a\\u0000"}', "name", "hidden_character"),
        ('{"name": "a\\nb"}', "name", "hidden_character"),
        ('{"name": "a", "number": "1"}', "number", "int_type"),
        ('{"name": "a", "number": true}', "number", "int_type"),
        ('{"name": "a", "number": 1.0}', "number", "int_type"),
        ('{"name": "a", "number": -1}', "number", "greater_than_equal"),
        ('{"name": "a", "number": 9223372036854775808}', "number", "out_of_range"),
        ('{"name": "a", "share": NaN}', "share", "finite_number"),
        ('{"name": "a", "share": -Infinity}', "share", "finite_number"),
        ('{"name": "a", "share": 1e999}', "share", "finite_number"),
        ('{"name": "a", "ticked": "yes"}', "ticked", "bool_type"),
        ('{"name": "a", "tags": ["x", "\\u0000"]}', "tags", "unstorable_character"),
        ('{"name": "a", "tags": "x"}', "tags", "list_type"),
        ('{"name": "a", "parent_id": "x"}', "parent_id", "uuid_parsing"),
        ('{"name": null}', "name", "string_type"),
        ("null", "", "model_type"),
        ("[]", "", "model_type"),
    ],
)
def test_a_wrong_field_is_named(client: FlaskClient, body: str, field: str, code: str) -> None:
    status, answer = send(client, body.encode())
    assert status == 422
    assert (answer["errors"][0]["field"], answer["errors"][0]["code"]) == (field, code)
    assert answer["errors"][0]["message"]


def test_the_answer_repeats_no_value_and_stays_small(client: FlaskClient) -> None:
    _, answer = send(client, b'{"name": 1, "password": "Tr0ub4dor"}')
    assert "Tr0ub4dor" not in json.dumps(answer)
    huge = {"x" * 900_000: 1}
    assert len(json.dumps(send(client, json.dumps(huge).encode())[1])) < 2000
    many = {f"x{i}": i for i in range(10_000)}
    assert len(send(client, json.dumps(many).encode())[1]["errors"]) == 50


@pytest.mark.parametrize(
    "content_type", ["", "text/plain", "application/x-www-form-urlencoded", "multipart/form-data", ";;;", "\xff"]
)
def test_another_content_type_is_415(client: FlaskClient, content_type: str) -> None:
    assert send(client, b'{"name": "a"}', content_type)[0] == 415


def test_a_charset_is_no_obstacle(client: FlaskClient) -> None:
    assert send(client, b'{"name": "a"}', "application/json; charset=utf-8")[0] == 200


@settings(max_examples=200, deadline=None, suppress_health_check=list(HealthCheck))
@given(st.recursive(LEAVES, lambda inner: st.lists(inner) | st.dictionaries(TEXT, inner), max_leaves=8))
def test_no_json_is_a_500(client: FlaskClient, value: object) -> None:
    for body in (value, {"name": value}, {"name": "a", "tags": value}, {"name": "a", "number": value, "share": value}):
        assert send(client, json.dumps(body).encode("utf-8", "surrogatepass"))[0] < 500


@settings(max_examples=200, deadline=None, suppress_health_check=list(HealthCheck))
@given(st.binary(max_size=200))
def test_no_bytes_are_a_500(client: FlaskClient, raw: bytes) -> None:
    assert send(client, raw)[0] in {400, 422}


def test_a_query_is_read_with_lists(client: FlaskClient) -> None:
    answer = client.get(f"{WISHES}?name=a&number=4&tags=x&tags=y&ticked=true").json
    assert (answer["number"], answer["tags"], answer["ticked"]) == (4, ["x", "y"], True)


@pytest.mark.parametrize(
    ("query", "field"),
    [("name=a&nmae=b", "nmae"), ("name=a&name=b", "name"), ("name=a&number=x", "number"), ("number=1", "name"),
     ("name=%00", "name"), ("name=a&number=99999999999999999999", "number"), ("name=a&share=nan", "share")],
)  # fmt: skip
def test_a_bad_query_is_422(client: FlaskClient, query: str, field: str) -> None:
    answer = client.get(f"{WISHES}?{query}")
    assert answer.status_code == 422
    assert [e["field"] for e in answer.json["errors"]] == [field]


def test_an_operation_without_query_refuses_one(client: FlaskClient) -> None:
    answer = client.get("/api/v1/things/1?limti=3")
    assert (answer.status_code, answer.json["errors"][0]["field"]) == (422, "limti")


def form(client: FlaskClient, **fields: Any) -> Any:
    token = csrf_of(client.get("/form").text)
    return client.post("/form", data={**fields, "csrf_token": token}, headers={"Accept": "application/json"})


def test_a_form_without_ticks_and_with_empty_fields(client: FlaskClient) -> None:
    answer = form(client, name="a", number="7", parent_id="", share="", version="3")
    assert answer.json == {"name": "a", "number": 7, "share": 0.0, "ticked": False, "tags": [], "parent_id": None}
    assert form(client, name="a", ticked="on").json["ticked"] is True


def test_an_empty_required_field_is_missing(client: FlaskClient) -> None:
    answer = form(client, name="")
    assert [(e["field"], e["code"]) for e in answer.json["errors"]] == [("name", "missing")]


def test_an_unknown_form_field_is_422_and_json_is_no_form(client: FlaskClient) -> None:
    assert form(client, name="a", admin="1").status_code == 422
    token = csrf_of(client.get("/form").text)
    answer = client.post("/form", json={"name": "a"}, headers={"X-CSRF-Token": token, "Accept": "application/json"})
    assert answer.status_code == 415


def test_a_form_of_too_many_parts_is_413(client: FlaskClient) -> None:
    token = csrf_of(client.get("/form").text)
    fields = {"csrf_token": token, **{f"f{i}": "x" for i in range(1200)}}
    answer = client.post("/form", data=fields, content_type="multipart/form-data")
    assert answer.status_code == 413


@pytest.mark.parametrize(
    "body", [b"", b"--x", b"--x\r\n\r\n", b"\x00" * 100, b'--x\r\nContent-Disposition: form-data; name="a']
)
def test_a_broken_multipart_form_is_a_4xx(client: FlaskClient, body: bytes) -> None:
    token = csrf_of(client.get("/form").text)
    headers = {"X-CSRF-Token": token}
    for content_type in ("multipart/form-data; boundary=x", "multipart/form-data"):
        assert 400 <= client.post("/form", data=body, content_type=content_type, headers=headers).status_code < 500
