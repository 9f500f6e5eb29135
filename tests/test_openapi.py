"""The document says what the application does, and any tool can read it."""

import re
from typing import Any

import pytest
from flask import Flask
from flask.testing import FlaskClient
from openapi_spec_validator import validate

from webapp.app import create_app
from webapp.policies import PERMISSIONS

from .conftest import make_settings

METHODS = {"get", "post", "put", "patch", "delete"}


@pytest.fixture(scope="module")
def house(tmp_path_factory: pytest.TempPathFactory) -> Flask:
    return create_app(make_settings(tmp_path_factory.mktemp("openapi")))


@pytest.fixture(scope="module")
def client(house: Flask) -> FlaskClient:
    return house.test_client()


@pytest.fixture(scope="module")
def document(client: FlaskClient) -> dict[str, Any]:
    return client.get("/api/v1/openapi.json").json


def operations(document: dict[str, Any]) -> list[tuple[str, str, dict[str, Any]]]:
    return [(path, method, op) for path, item in document["paths"].items() for method, op in item.items()]


def test_it_is_valid_openapi_3_1(document: dict[str, Any]) -> None:
    assert document["openapi"].startswith("3.1")
    validate(document)


def test_every_operation_of_the_application_is_in_it(house: Flask, document: dict[str, Any]) -> None:
    served = {
        (re.sub(r"<(?:\w+:)?(\w+)>", r"{\1}", rule.rule.removeprefix("/api/v1")), method.lower())
        for rule in house.url_map.iter_rules()
        if rule.rule.startswith("/api/v1/") and rule.rule != "/api/v1/openapi.json"
        for method in rule.methods or ()
        if method.lower() in METHODS
    }
    assert {(path, method) for path, method, _ in operations(document)} == served
    assert len(served) > 20


def test_every_operation_is_named_once_and_says_what_it_does(document: dict[str, Any]) -> None:
    names = [op["operationId"] for _, _, op in operations(document)]
    assert len(names) == len(set(names))
    assert all(op["summary"] and op["tags"] for _, _, op in operations(document))


def test_every_operation_says_who_may_and_how_it_fails(document: dict[str, Any]) -> None:
    for path, method, op in operations(document):
        answers = op["responses"]
        assert any(code[0] in "23" for code in answers), (path, method)
        assert {"422", "429", "500", "503"} <= answers.keys(), (path, method)
        if op["security"]:
            assert op["x-permission"] in PERMISSIONS
            assert {"401", "403"} <= answers.keys(), (path, method)
        if "requestBody" in op:
            assert {"400", "413", "415"} <= answers.keys(), (path, method)
        for code, answer in answers.items():
            if code[0] in "45":
                assert list(answer["content"]) == ["application/problem+json"], (path, method, code)


def test_writing_with_a_cookie_needs_the_csrf_header(document: dict[str, Any]) -> None:
    for _, method, op in operations(document):
        cookies = [way for way in op["security"] if "cookie" in way]
        assert all(("csrf" in way) == (method != "get") for way in cookies)


def test_parameters_of_paths_and_queries_are_described(document: dict[str, Any]) -> None:
    for path, _, op in operations(document):
        named = {p["name"] for p in op["parameters"] if p["in"] == "path"}
        assert named == set(re.findall(r"{(\w+)}", path))
    files = {p["name"]: p for p in document["paths"]["/files"]["get"]["parameters"]}
    assert files["limit"]["schema"]["maximum"] == 100
    assert {"type": "string", "format": "uuid"} in files["folder_id"]["schema"]["anyOf"]
    assert "null" not in str(files)


def test_versions_travel_in_headers(document: dict[str, Any]) -> None:
    folder = document["paths"]["/folders/{folder_id}"]
    assert "ETag" in folder["get"]["responses"]["200"]["headers"]
    assert "304" in folder["get"]["responses"]
    assert "If-Match" in [p["name"] for p in folder["patch"]["parameters"]]
    assert "412" in folder["patch"]["responses"]
    assert "Location" in document["paths"]["/folders"]["post"]["responses"]["201"]["headers"]


def test_uploads_are_described_as_forms_and_as_bytes(document: dict[str, Any]) -> None:
    content = document["paths"]["/files"]["post"]["requestBody"]["content"]
    assert {"multipart/form-data", "application/octet-stream"} <= content.keys()


def test_instants_are_marked_and_no_internal_id_is_shown(document: dict[str, Any]) -> None:
    me = document["components"]["schemas"]["UserView"]["properties"]
    assert me["created_at"] == {"type": "string", "format": "date-time"}
    assert me["id"]["format"] == "uuid"


def test_every_reference_leads_somewhere(document: dict[str, Any]) -> None:
    known = document["components"]["schemas"].keys()
    for reference in re.findall(r"'\$ref': '([^']+)'", str(document)):
        assert reference.removeprefix("#/components/schemas/") in known


def test_the_document_is_sent_once(client: FlaskClient) -> None:
    first = client.get("/api/v1/openapi.json")
    again = client.get("/api/v1/openapi.json", headers={"If-None-Match": first.headers["ETag"]})
    assert (again.status_code, again.data) == (304, b"")


def test_people_get_a_page_on_it(client: FlaskClient) -> None:
    page = client.get("/api/docs")
    assert page.status_code == 200
    assert 'data-url="/api/v1/openapi.json"' in page.text
    assert "unsafe" not in page.headers["Content-Security-Policy"]
