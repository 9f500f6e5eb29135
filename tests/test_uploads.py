"""Uploads: whole or absent, as a form or as a raw body, hashed, typed and charged."""

import hashlib
import io
from typing import Any

import pytest
from flask import Flask

from tests.conftest import csrf_of
from tests.vault import Vault, differences, good, problem, raw, stored_keys, traces
from webapp.config import Settings, current_settings, use_settings
from webapp.db import db
from webapp.infra.storage import store

BOUNDARY = "----edge"


def part(name: str, content: bytes, filename: str | None = None) -> bytes:
    """One part of a multipart body, as RFC 7578 spells it."""
    disposition = f'form-data; name="{name}"' + ("" if filename is None else f'; filename="{filename}"')
    return f"--{BOUNDARY}\r\nContent-Disposition: {disposition}\r\n\r\n".encode() + content + b"\r\n"


def send(vault: Vault, body: bytes, length: int | None = None, boundary: str = BOUNDARY) -> Any:
    """A multipart body with any Content-Length."""
    options = raw(body)
    options["content_type"] = f"multipart/form-data; boundary={boundary}"
    options["environ_overrides"] = {"CONTENT_LENGTH": str(len(body) if length is None else length)}
    return vault.call("POST", "/files", **options)


@pytest.fixture
def limited(app: Flask) -> Any:
    """Sets the largest file the vault takes, in bytes."""
    before: Settings = current_settings()
    yield lambda size: use_settings(before.model_copy(update={"max_upload_size": size}))
    use_settings(before)


def test_a_raw_body_becomes_a_file_with_its_digest_and_location(vault: Vault) -> None:
    data = bytes(range(256)) * 5000
    answer = good(vault.try_upload("data.bin", data), 201)
    file = answer.json
    assert answer.headers["Location"] == f"/api/v1/files/{file['id']}"
    assert (file["size"], file["sha256"]) == (len(data), hashlib.sha256(data).hexdigest())
    assert good(vault.content(file["id"])).data == data
    assert differences() == []


def test_a_form_with_one_file_becomes_that_file_in_its_folder(vault: Vault) -> None:
    folder = vault.folder("Inside")["id"]
    answer = good(vault.send_form(("a.txt", b"hello"), folder_id=folder), 201)
    assert answer.headers["Location"].endswith(answer.json["id"])
    assert (answer.json["name"], answer.json["folder_id"]) == ("a.txt", folder)


def test_several_files_of_a_form_are_stored_together(vault: Vault) -> None:
    answer = good(vault.send_form(("a.txt", b"1"), ("b.txt", b"22"), ("c.txt", b"")), 201)
    assert [(item["name"], item["size"]) for item in answer.json["items"]] == [("a.txt", 1), ("b.txt", 2), ("c.txt", 0)]
    assert differences() == []


def test_several_files_of_a_form_are_stored_together_or_not_at_all(vault: Vault) -> None:
    vault.upload("taken.txt", b"old")
    before = traces()
    problem(vault.send_form(("a.txt", b"1"), ("taken.txt", b"2")), 409, "name_taken")
    problem(vault.send_form(("a.txt", b"1"), ("a.txt", b"2")), 409, "name_taken")
    problem(vault.send_form(("a.txt", b"1"), ("..", b"2")), 422)
    problem(vault.send_form(("a.txt", b"1"), ("b.txt", b"2"), colour="red"), 422)
    assert traces() == before


def test_a_taken_name_is_refused_or_numbered_as_asked(vault: Vault) -> None:
    vault.upload("a.txt", b"1")
    problem(vault.try_upload("a.txt", b"2"), 409, "name_taken")
    assert [vault.upload("a.txt", b"%d" % n, conflict="rename")["name"] for n in range(3)] == [
        "a (1).txt", "a (2).txt", "a (3).txt",
    ]  # fmt: skip
    problem(vault.try_upload("a.txt", b"2", conflict="overwrite"), 422)


def test_an_empty_file_is_a_file(vault: Vault) -> None:
    file = vault.upload("empty.txt", b"")
    assert (file["size"], file["sha256"]) == (0, hashlib.sha256(b"").hexdigest())
    assert good(vault.content(file["id"])).data == b""
    again = good(vault.send_form(("empty too.txt", b"")), 201).json
    assert again["sha256"] == file["sha256"]
    assert differences() == []


def test_the_same_bytes_are_stored_once_and_counted(vault: Vault, other_vault: Vault) -> None:
    first = vault.upload("a.bin", b"same" * 1000)
    vault.upload("b.bin", b"same" * 1000)
    other_vault.upload("c.bin", b"same" * 1000)
    assert stored_keys() == {store().key(first["sha256"])}
    assert differences() == []


@pytest.mark.parametrize("size", [0, 1, 8191, 8192, 65_537, 262_144, 1_048_575, 1_048_576, 1_048_577, 3_000_001])
def test_every_size_comes_back_the_same_by_form_and_raw(vault: Vault, size: int) -> None:
    data = hashlib.shake_128(str(size).encode()).digest(size)
    for file in (vault.upload("raw", data), good(vault.send_form(("form", data)), 201).json):
        assert file["size"] == size
        assert vault.content(file["id"]).data == data


def test_bytes_that_look_like_the_boundary_are_bytes(vault: Vault) -> None:
    tricky = b"--" + BOUNDARY.encode()[:-1] + b"\r\n\r\n--\r\n-" + b"\r" * 50 + b"\n" * 50
    answer = send(vault, part("file", tricky, "tricky.bin") + f"--{BOUNDARY}--\r\n".encode())
    assert vault.content(good(answer, 201).json["id"]).data == tricky


def test_a_new_content_is_a_new_version_and_the_old_bytes_stay(vault: Vault) -> None:
    file = vault.upload("a.txt", b"one")
    path = f"/files/{file['id']}"
    answer = good(vault.call("PUT", f"{path}/content", headers={"If-Match": '"1"'}, **raw(b"two!")))
    assert (answer.json["number"], answer.json["version"], answer.json["size"]) == (2, 2, 4)
    assert answer.headers["ETag"] == '"2"'
    assert vault.content(file["id"]).data == b"two!"
    assert len(stored_keys()) == 2
    form = {"file": (io.BytesIO(b"three"), "ignored name")}
    third = good(vault.call("PUT", f"{path}/content", data=form, content_type="multipart/form-data")).json
    assert (third["number"], third["name"]) == (3, "a.txt")
    assert differences() == []


@pytest.mark.parametrize(
    ("body", "length"),
    [
        (part("file", b"0123456789" * 100, "a.txt")[:300], 1200),
        (part("file", b"0123456789" * 100, "a.txt")[:300], 300),
        (part("file", b"0123456789" * 100, "a.txt"), None),
        (part("file", b"x", "a.txt") + f"--{BOUNDARY}".encode(), None),
        (b"", 500),
        (b"--" + BOUNDARY.encode(), None),
        (b"nonsense", None),
        (part("file", b"x", "a.txt").replace(b"\r\n\r\n", b"\r\n", 1) + f"--{BOUNDARY}--\r\n".encode(), None),
    ],
    ids=["lying-length", "cut", "no-end", "half-end", "nothing", "only-boundary", "nonsense", "no-headers-end"],
)
def test_a_form_that_is_cut_or_broken_leaves_nothing(vault: Vault, body: bytes, length: int | None) -> None:
    before = traces()
    problem(send(vault, body, length), (400, 422))
    assert traces() == before


@pytest.mark.parametrize("terminated", [False, True], ids=["limited", "terminated"])
@pytest.mark.parametrize("length", [6, 100, 10**9])
def test_a_raw_body_shorter_than_announced_leaves_nothing(vault: Vault, length: int, terminated: bool) -> None:
    """Some servers end the stream themselves (wsgi.input_terminated): then nobody else compares the lengths."""
    file = vault.upload("kept.txt", b"old")
    before = traces()
    for method, path, query in (("POST", "/files", {"name": "cut.bin"}), ("PUT", f"/files/{file['id']}/content", {})):
        environ = {"CONTENT_LENGTH": str(length)} | ({"wsgi.input_terminated": True} if terminated else {})
        options = {**raw(b"short"), "environ_overrides": environ}
        problem(vault.call(method, path, query_string=query, **options), 400, "truncated")
    assert traces() == before
    assert vault.content(file["id"]).data == b"old"


@pytest.mark.parametrize("length", ["-1", "x", "", "1e3", "9" * 30])
def test_a_length_that_is_none_is_refused(vault: Vault, length: str) -> None:
    before = traces()
    options = {**raw(b"short"), "environ_overrides": {"CONTENT_LENGTH": length}}
    problem(vault.call("POST", "/files", query_string={"name": "a"}, **options), (400, 411, 413))
    assert traces() == before


def test_a_form_without_a_file_is_told_so(vault: Vault) -> None:
    before = traces()
    end = f"--{BOUNDARY}--\r\n".encode()
    for body in (end, part("name", b"a.txt") + end, part("file", b"text without a file name") + end,
                 part("document", b"x", "a.txt") + end):  # fmt: skip
        fault = problem(send(vault, body), 422)["errors"][0]
        assert fault["field"] == "file"
    problem(send(vault, end, boundary="other"), (400, 422))
    problem(vault.call("POST", "/files", data=b"x", content_type="multipart/form-data"), (400, 422))
    problem(vault.try_upload("", b"x"), 422)
    assert problem(vault.call("POST", "/files", **raw(b"x")), 422)["errors"][0]["field"] == "name"
    assert traces() == before


def test_exactly_the_largest_size_is_taken_and_one_byte_more_is_413(vault: Vault, limited: Any) -> None:
    limited(1000)
    file = vault.upload("fits.bin", b"x" * 1000)
    good(vault.send_form(("fits too.bin", b"y" * 1000), ("and this.bin", b"z" * 1000)), 201)
    before = traces()
    problem(vault.try_upload("raw.bin", b"x" * 1001), 413, "too_large")
    problem(vault.send_form(("form.bin", b"x" * 1001)), 413, "too_large")
    problem(vault.send_form(("small.bin", b"x"), ("form.bin", b"x" * 1001)), 413, "too_large")
    problem(vault.call("PUT", f"/files/{file['id']}/content", **raw(b"x" * 1001)), 413, "too_large")
    problem(vault.try_upload("huge.bin", b"x" * 3_000_000), 413, "too_large")
    problem(vault.send_form(("huge.bin", b"x" * 3_000_000)), 413)
    assert traces() == before


def test_a_body_of_unknown_length_is_read_to_its_end_where_the_server_can(vault: Vault) -> None:
    options = {**raw(b"chunked"), "environ_overrides": {"CONTENT_LENGTH": "", "HTTP_TRANSFER_ENCODING": "chunked"}}
    problem(vault.call("POST", "/files", query_string={"name": "a.txt"}, **options), 411, "length_required")
    options["environ_overrides"]["wsgi.input_terminated"] = True
    assert good(vault.call("POST", "/files", query_string={"name": "a.txt"}, **options), 201).json["size"] == 7


def test_an_unknown_length_does_not_get_past_the_limit(vault: Vault, limited: Any) -> None:
    limited(1000)
    before = traces()
    options = {**raw(b"x" * 5000), "environ_overrides": {"CONTENT_LENGTH": "", "wsgi.input_terminated": True}}
    problem(vault.call("POST", "/files", query_string={"name": "a.txt"}, **options), 413)
    assert traces() == before


def test_no_database_connection_is_held_while_a_body_comes_in(vault: Vault) -> None:
    file, folder = vault.upload("a.txt"), vault.folder("Inside")["id"]
    held: list[int] = []

    class Slow(io.BytesIO):
        def read(self, size: int | None = -1) -> bytes:
            held.append(db.engine.pool.checkedout())  # type: ignore[attr-defined]
            return super().read(size)

        def readinto(self, buffer: Any) -> int:
            held.append(db.engine.pool.checkedout())  # type: ignore[attr-defined]
            return super().readinto(buffer)

    for method, path, query in (
        ("POST", "/files", {"name": "b.txt", "folder_id": folder}),
        ("PUT", f"/files/{file['id']}/content", {}),
    ):
        before = len(held)
        body = {"input_stream": Slow(b"slowly"), "environ_overrides": {"CONTENT_LENGTH": "6"}}
        assert vault.call(method, path, query_string=query, **body).status_code in {200, 201}
        assert len(held) > before
    assert set(held) == {0}


def test_the_type_follows_the_bytes_not_the_name(vault: Vault) -> None:
    png = b"\x89PNG\r\n\x1a\n" + b"\0" * 100
    assert vault.upload("picture.txt", png)["mime"] == "image/png"
    assert vault.upload("page.png", b"<!DOCTYPE html><html><script>1</script>")["mime"] != "image/png"
    assert vault.upload("blob", bytes(range(256)))["mime"] == "application/octet-stream"


def test_a_person_uploads_by_the_form_of_the_page_and_needs_its_token(app: Flask, vault: Vault, signed_in: Any) -> None:
    browser = signed_in(vault.actor)
    before = traces()
    for fields in ({}, {"csrf_token": "wrong"}):
        with app.app_context():
            refused = browser.post("/files", data={**fields, "file": (io.BytesIO(b"x"), "a.txt")})
        assert refused.status_code == 403
    assert traces() == before
    with app.app_context():
        token = csrf_of(browser.get("/files").text)
    for _ in range(2):
        with app.app_context():
            answer = browser.post("/files", data={"csrf_token": token, "file": (io.BytesIO(b"x"), "a.txt")})
        assert answer.status_code == 302
    assert {item["name"] for item in vault.get("/files")["items"]} == {"a.txt", "a (1).txt"}
