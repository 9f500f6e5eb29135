"""Promise 18 for files and folders: whatever comes in, a clear 4xx with a request id, and no trace left."""

import base64
import json
from typing import Any
from urllib.parse import quote, urlencode
from uuid import uuid4

import pytest
from flask.testing import FlaskClient
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.conftest import csrf_of
from tests.naughty import TEXTS
from tests.vault import Vault, problem, raw, traces
from webapp.services.cursors import encode_cursor

DEEP = 100_000
HUGE = (2**63, -(2**63) - 1, 2**64, 10**400, 1e308)
BODIES = {
    "nothing": b"",
    "blank": b"   ",
    "not json": b"name=x",
    "half": b'{"name": "x"',
    "two": b'{"name": "x"}{"name": "y"}',
    "trailing comma": b'{"name": "x",}',
    "single quotes": b"{'name': 'x'}",
    "NaN": b'{"name": NaN}',
    "Infinity": b'{"name": -Infinity}',
    "lone surrogate": b'{"name": "\\ud800"}',
    "reversed surrogates": b'{"name": "\\udc00\\ud800"}',
    "escaped NUL": b'{"name": "a\\u0000b"}',
    "raw NUL": b'{"name": "a\0b"}',
    "raw control": b'{"name": "a\x01b"}',
    "not utf-8": b'{"name": "\xff\xfe"}',
    "latin-1": '{"name": "ü"}'.encode("latin-1"),
    "utf-16": '{"name": "x"}'.encode("utf-16"),
    "bom": b"\xef\xbb\xbf[]",
    "deep list": b"[" * DEEP + b"]" * DEEP,
    "deep object": b'{"name":' * DEEP + b"1" + b"}" * DEEP,
    "deep inside": b'{"name": "x", "tags": ' + b"[" * DEEP + b"]" * DEEP + b"}",
    "huge key": b'{"' + b"k" * 1_000_000 + b'": 1}',
    "huge text": b'{"name": "' + b"n" * 1_000_000 + b'"}',
    "huge number": b'{"name": ' + b"9" * 100_000 + b"}",
    "over a megabyte": b'{"name": "' + b"n" * 1_100_000 + b'"}',
    "many keys": json.dumps({f"key {number}": number for number in range(20_000)}).encode(),
    "a list": b"[]",
    "a text": b'"name"',
    "null": b"null",
    "a number": b"1",
}
WRONG_TYPES: tuple[Any, ...] = (1, 0, -1, 1.5, True, [], ["x"], {}, {"a": 1}, *HUGE)


@pytest.fixture
def places(vault: Vault) -> dict[str, Any]:
    """A file and a folder to aim at, and the routes that take JSON."""
    file, folder = vault.upload("kept.txt"), vault.folder("Kept")
    return {
        "file": file,
        "folder": folder,
        "json": [("POST", "/folders"), ("PATCH", f"/files/{file['id']}"), ("PATCH", f"/folders/{folder['id']}")],
    }


def assert_all_refused(
    vault: Vault, wishes: list[tuple[str, str, dict[str, Any]]], statuses: Any = range(400, 500)
) -> None:
    """Each wish is a whole problem document of these statuses, and together they changed nothing."""
    before = traces()
    for method, path, options in wishes:
        document = problem(vault.call(method, path, **options), statuses)
        assert len(document["detail"]) < 1000
    assert traces() == before


def test_a_body_nobody_can_read_is_refused_everywhere(vault: Vault, places: dict[str, Any]) -> None:
    wishes = [
        (method, path, {"data": body, "content_type": "application/json"})
        for method, path in places["json"]
        for body in BODIES.values()
    ]
    assert_all_refused(vault, wishes, {400, 413, 422})


def test_a_value_of_a_wrong_type_is_422_and_named(vault: Vault, places: dict[str, Any]) -> None:
    fields = {"POST /folders": ("name", "parent_id")}
    for method, path in places["json"]:
        kind = ("name", "folder_id", "description", "tags") if "/files/" in path else ("name", "parent_id")
        for field in fields.get(f"{method} {path}", kind):
            values = [value for value in WRONG_TYPES if not (field == "tags" and value in ([], ["x"]))]
            for value in [*values, "not a uuid" if field.endswith("_id") else {"nested": [1]}]:
                body = {"name": "x", field: value}
                document = problem(vault.call(method, path, json=body), {400, 422})
                if document["status"] == 422:
                    assert document["errors"][0]["field"].split(".")[0] == field, (path, field, value)
    assert vault.get(f"/files/{places['file']['id']}") == places["file"]


def test_unknown_and_missing_fields_are_422(vault: Vault, places: dict[str, Any]) -> None:
    unknown = ("owner_id", "id", "version", "Name", "", "__class__")
    bodies = [{"name": "x", field: "y"} for field in unknown]
    wishes = [(method, path, {"json": body}) for method, path in places["json"] for body in bodies]
    wishes.append(("POST", "/folders", {"json": {}}))
    assert_all_refused(vault, wishes, {422})


def test_naughty_texts_are_kept_as_they_are_or_refused(vault: Vault, places: dict[str, Any]) -> None:
    path = f"/files/{places['file']['id']}"
    for number, text in enumerate(TEXTS):
        for field, value in (("name", text), ("description", text), ("tags", [text])):
            answer = vault.change(path, **{field: value})
            if answer.status_code == 200:
                assert answer.json[field] == ([text.strip()] if field == "tags" else text)
            else:
                problem(answer, {400, 409, 413, 422})
        for query in ({"q": text}, {"tag": text}, {"type": text}, {"sort": text}, {"folder_id": text}, {text[:50]: "x"},
                      {"cursor": text}, {"limit": text}):  # fmt: skip
            answer = vault.call("GET", f"/files?{urlencode(query, errors='surrogatepass')}")
            assert answer.status_code == 200 or problem(answer, {400, 414, 422}), (number, query)
        answer = vault.call("GET", f"/folders?{urlencode({'q': text}, errors='surrogatepass')}")
        assert answer.status_code == 200 or problem(answer, 400 if text == "\ud800" else 422)


@pytest.mark.parametrize("broken", ["%ED%A0%80", "%ff", "%C3", "%C0%80", "a%80"])
def test_a_query_that_is_no_text_is_400_at_every_address(vault: Vault, client: FlaskClient, broken: str) -> None:
    for path in (f"/files?q={broken}", f"/folders?q={broken}", f"/files?{broken}=1", f"/nowhere?{broken}"):
        problem(vault.call("GET", path), 400, "query_encoding")
    for path in (f"/sign-in?next={broken}", f"/health/live?{broken}"):
        assert client.get(path).status_code == 400
    assert client.get("/sign-in", environ_overrides={"QUERY_STRING": "next=\xe9"}).status_code == 400
    assert vault.call("GET", f"/files?q={quote('ü%😀+')}&tag=%25").status_code == 200


def test_bodies_of_another_type_are_415(vault: Vault, places: dict[str, Any]) -> None:
    kinds = ("text/plain", "application/x-www-form-urlencoded", "multipart/form-data", "", "application/xml",
             "application/json5", "x" * 5000, "text/html; charset=\x01")  # fmt: skip
    bodies = [{"data": b'{"name": "x"}', "content_type": kind} for kind in kinds]
    wishes = [(method, path, body) for method, path in places["json"] for body in bodies]
    assert_all_refused(vault, wishes, {415})


def test_ids_that_are_none_are_404_and_ids_of_nothing_too(vault: Vault, places: dict[str, Any]) -> None:
    wishes: list[tuple[str, str, dict[str, Any]]] = []
    for number in ("1", "0", "-1", "x", "%00", "..", "%2e%2e", str(2**63), "null", "é", str(uuid4())[:-1], str(uuid4()),
                   "00000000-0000-0000-0000-000000000000", str(uuid4()).upper(), "x" * 5000):  # fmt: skip
        for noun in ("files", "folders"):
            for method, options in (("GET", {}), ("PATCH", {"json": {"name": "x"}})):
                wishes.append((method, f"/{noun}/{number}", options))
        wishes.append(("GET", f"/files/{number}/content", {}))
        wishes.append(("PUT", f"/files/{number}/content", raw(b"x")))
        wishes.append(("POST", f"/files/{number}/restoration", {}))
        wishes.append(("GET", f"/files/{number}/thumbnail", {"query_string": {"size": "64"}}))
    assert_all_refused(vault, wishes, {404, 405})


def test_versions_that_are_none_are_refused(vault: Vault, places: dict[str, Any]) -> None:
    wishes: list[tuple[str, str, dict[str, Any]]] = []
    for tag in ("", "x", '"', '""', '"1', "'1'", '"1" "1"', '"1", "1"', "-1", '"-1"', '"1e3"', '"1.0"', f'"{2**63}"',
                '"' + "9" * 5000 + '"', '"\xb2"', "W/", "*,*"):  # fmt: skip
        for method, path in places["json"][1:]:
            wishes.append((method, path, {"json": {"name": "other.txt"}, "headers": {"If-Match": tag}}))
    assert_all_refused(vault, wishes, {400, 412})


CURSORS = [
    ["name", "a\0b", 1], ["name", "a", 2**63], ["name", "a", -(2**63) - 1], ["name", "a", 10**30], ["name", "a", 1.5],
    ["name", "a", None], ["name", None, 1], ["name", 1, 1], ["name", ["a"], 1], ["name", "a"], ["name", "a", 1, 1],
    ["name"], [], [[]], {"name": 1}, "name", 1, None,
    ["size", 2**63, 1], ["size", True, 1], ["size", "1", 1],
    ["updated_at", "2026-01-01T00:00:00", 1], ["updated_at", "0001-01-01T00:00:00+23:59", 1],
    ["updated_at", "9999-12-31T23:59:59-23:59", 1],
    ["updated_at", "2026-13-01T00:00:00Z", 1], ["updated_at", "x", 1], ["updated_at", 1, 1],
]  # fmt: skip


def test_a_forged_cursor_is_422_or_a_page(vault: Vault, places: dict[str, Any]) -> None:
    for values in CURSORS:
        sort = values[0] if isinstance(values, list) and values and isinstance(values[0], str) else "name"
        problem(vault.call("GET", "/files", query_string={"sort": sort, "cursor": encode_cursor_of(values)}), 422)
    for text in ("x", "====", "AAAA", "bnVsbA", "W10", "é", "A" * 2001, encode_cursor(["name"] * 100), "W" * 1999):
        for path in ("/files", "/folders", "/trash"):
            problem(vault.call("GET", path, query_string={"cursor": text}), 422)
    far = {"sort": "updated_at", "cursor": encode_cursor(["updated_at", "9999-12-31T00:00:00Z", 2**63 - 1])}
    assert vault.get("/files", query_string=far)["items"] == []


def encode_cursor_of(values: Any) -> str:
    return base64.urlsafe_b64encode(json.dumps(values).encode()).decode().rstrip("=")


anything = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(st.characters(codec=None)),  # half surrogates too
    lambda children: st.lists(children, max_size=4) | st.dictionaries(st.text(max_size=8), children, max_size=4),
    max_leaves=8,
)
wishes_of_any_kind = st.dictionaries(
    st.sampled_from(["name", "folder_id", "parent_id", "description", "tags", "x"]), anything, max_size=4
)


@given(wish=wishes_of_any_kind)
@settings(deadline=None, max_examples=60, derandomize=True, suppress_health_check=list(HealthCheck))
def test_no_json_at_all_is_a_server_error(vault: Vault, wish: dict[str, Any]) -> None:
    try:
        file = vault.get("/files")["items"][0]
    except IndexError:
        file = vault.upload("any.txt")
        vault.folder("Any")
    folder = vault.get("/folders")["items"][0]
    body = {"data": json.dumps(wish).encode(), "content_type": "application/json"}
    for method, path in (
        ("POST", "/folders"),
        ("PATCH", f"/files/{file['id']}"),
        ("PATCH", f"/folders/{folder['id']}"),
    ):
        answer = vault.call(method, path, **body)
        assert answer.status_code < 300 or problem(answer, range(400, 500))


PARAMETERS = ("q", "tag", "type", "cursor", "limit", "sort", "folder_id", "name", "trashed")
texts = st.text(st.characters(codec="utf-8"), max_size=60)


@given(query=st.dictionaries(st.sampled_from(PARAMETERS), texts, max_size=4))
@settings(deadline=None, max_examples=60, derandomize=True, suppress_health_check=list(HealthCheck))
def test_no_query_at_all_is_a_server_error(vault: Vault, query: dict[str, str]) -> None:
    for method, path in (("GET", "/files"), ("GET", "/folders"), ("GET", "/trash"), ("POST", "/files")):
        answer = vault.call(method, path, query_string=query, **(raw(b"x") if method == "POST" else {}))
        assert answer.status_code < 300 or problem(answer, range(400, 500))


def test_pages_refuse_as_clearly_as_the_api(vault: Vault, signed_in: Any, places: dict[str, Any]) -> None:
    """Forms: a fault is shown in the form or on an error page with the request id, never as a server error."""
    browser, file, folder = signed_in(vault.actor), places["file"]["id"], places["folder"]["id"]
    with vault.app.app_context():
        token = csrf_of(browser.get("/files").text)
    before = traces()
    for name in ("", "../x", "a\0b", "x" * 300, "\ud800".encode("utf-8", "surrogatepass").decode("latin-1"), "Kept/x"):
        for path, form in (
            ("/folders", {"name": name}),
            (f"/files/{file}/name", {"name": name, "version": "1"}),
            (f"/folders/{folder}/name", {"name": name, "version": "1"}),
            (f"/files/{file}/folder", {"folder_id": name or "x", "version": "1"}),
            (f"/folders/{folder}/parent", {"parent_id": folder, "version": "1"}),
            (f"/files/{file}/name", {"name": "ok.txt", "version": name or "x"}),
        ):
            with vault.app.app_context():
                answer = browser.post(path, data={**form, "csrf_token": token})
            if "\xed" in name and answer.status_code == 302:
                continue  # three odd letters, and a name like any other
            assert 200 <= answer.status_code < 500, (path, form)
            assert answer.status_code != 302, (path, form)
            assert answer.headers["X-Request-ID"]
    for path in ("/files?sort=x", "/files?cursor=x", f"/folders/{uuid4()}", f"/files/{uuid4()}", "/trash?cursor=%00",
                 "/files?limit=5", f"/files/{file}/folder?in=x"):  # fmt: skip
        with vault.app.app_context():
            answer = browser.get(path)
        assert 400 <= answer.status_code < 500, path
        assert answer.headers["X-Request-ID"] in answer.text
    changed = {key: value for key, value in traces().items() if before[key] != value}
    assert not set(changed) - {"folders", "placements", "audit_entries"}
