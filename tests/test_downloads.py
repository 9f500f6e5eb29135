"""Downloads: ranges, conditions and names as RFC 9110 and 6266 say; nothing of a user's runs in our origin."""

import hashlib
from typing import Any

import pytest

from tests.vault import Vault, good, problem
from webapp.config import current_settings, use_settings
from webapp.http.downloads import disposition
from webapp.infra.storage import store

DATA = hashlib.shake_128(b"content").digest(1_000_000)


@pytest.fixture
def file(vault: Vault) -> Any:
    return vault.upload("data.bin", DATA)


def test_the_whole_comes_with_its_length_digest_and_name(vault: Vault, file: Any) -> None:
    answer = good(vault.content(file["id"]))
    assert answer.data == DATA
    assert answer.headers["Content-Length"] == str(len(DATA))
    assert answer.headers["ETag"] == f'"{file["sha256"]}"'
    assert answer.headers["Accept-Ranges"] == "bytes"
    assert answer.headers["Content-Disposition"] == 'attachment; filename="data.bin"'
    assert answer.headers["Content-Type"] == "application/octet-stream"
    assert answer.headers["X-Content-Type-Options"] == "nosniff"
    assert "private" in answer.headers["Cache-Control"]


@pytest.mark.parametrize(
    ("wanted", "start", "end"),
    [
        ("bytes=0-0", 0, 1),
        ("bytes=0-99", 0, 100),
        ("bytes=262143-262145", 262143, 262146),
        ("bytes=999999-", 999_999, 1_000_000),
        ("bytes=500000-", 500_000, 1_000_000),
        ("bytes=-1", 999_999, 1_000_000),
        ("bytes=-500", 999_500, 1_000_000),
        ("bytes=-5000000", 0, 1_000_000),
        ("bytes=999990-5000000", 999_990, 1_000_000),
    ],
)
def test_one_range_is_answered_with_its_bytes(vault: Vault, file: Any, wanted: str, start: int, end: int) -> None:
    answer = good(vault.content(file["id"], Range=wanted), 206)
    assert answer.data == DATA[start:end]
    assert answer.headers["Content-Range"] == f"bytes {start}-{end - 1}/{len(DATA)}"
    assert answer.headers["Content-Length"] == str(end - start)


@pytest.mark.parametrize("wanted", ["bytes=1000000-", "bytes=5000000-6000000"])
def test_a_range_outside_the_content_is_416_and_tells_the_size(vault: Vault, file: Any, wanted: str) -> None:
    answer = vault.content(file["id"], Range=wanted)
    problem(answer, 416)
    assert answer.headers["Content-Range"] == f"bytes */{len(DATA)}"


@pytest.mark.parametrize(
    "wanted",
    ["bytes=0-1,5-6", "bytes=0-,0-,0-", "bytes=9-5", "bytes=x-y", "bytes=", "lines=0-5", "0-5", "bytes=--5", "\x01"],
)
def test_several_ranges_and_nonsense_are_answered_with_the_whole(vault: Vault, file: Any, wanted: str) -> None:
    assert good(vault.content(file["id"], Range=wanted)).data == DATA


def test_if_range_gives_the_part_of_the_content_it_knows_and_else_the_whole(vault: Vault, file: Any) -> None:
    known = {"Range": "bytes=0-9", "If-Range": f'"{file["sha256"]}"'}
    assert good(vault.content(file["id"], **known), 206).data == DATA[:10]
    for other in ('"other"', f'W/"{file["sha256"]}"', "Tue, 01 Jan 2030 00:00:00 GMT", "nonsense"):
        assert good(vault.content(file["id"], **{"Range": "bytes=0-9", "If-Range": other})).data == DATA


def test_a_known_content_is_304_without_bytes(vault: Vault, file: Any) -> None:
    for tag in (f'"{file["sha256"]}"', f'"x", "{file["sha256"]}"', "*"):
        answer = good(vault.content(file["id"], **{"If-None-Match": tag}), 304)
        assert answer.data == b""
        assert answer.headers["ETag"] == f'"{file["sha256"]}"'
    assert good(vault.content(file["id"], **{"If-None-Match": '"other"'})).data == DATA
    good(vault.call("PUT", f"/files/{file['id']}/content", data=b"new"))
    assert good(vault.content(file["id"], **{"If-None-Match": f'"{file["sha256"]}"'})).data == b"new"


def test_head_says_what_get_would_and_sends_nothing(vault: Vault, file: Any) -> None:
    answer = good(vault.call("HEAD", f"/files/{file['id']}/content"))
    assert answer.data == b""
    assert answer.headers["Content-Length"] == str(len(DATA))
    assert answer.headers["ETag"] == f'"{file["sha256"]}"'
    ranged = vault.call("HEAD", f"/files/{file['id']}/content", headers={"Range": "bytes=0-5"})
    assert (ranged.status_code, ranged.data) == (200, b"")


def test_an_empty_file_downloads_and_has_no_satisfiable_range(vault: Vault) -> None:
    empty = vault.upload("empty", b"")
    answer = good(vault.content(empty["id"]))
    assert (answer.data, answer.headers["Content-Length"]) == (b"", "0")
    problem(vault.content(empty["id"], Range="bytes=0-"), 416)


DANGEROUS = {
    "page.html": b"<!DOCTYPE html><html><body><script>alert(1)</script></body></html>",
    "picture.svg": b'<svg xmlns="http://www.w3.org/2000/svg"><script>alert(1)</script></svg>',
    "data.xml": b'<?xml version="1.0"?><html xmlns="http://www.w3.org/1999/xhtml"><script>alert(1)</script></html>',
    "code.js": b"alert(1)",
    "page.xhtml": b'<html xmlns="http://www.w3.org/1999/xhtml"/>',
    "polyglot.png": b"<html><script>alert(1)</script>",
    "book.mht": b"From: x\r\nMIME-Version: 1.0\r\nContent-Type: text/html\r\n\r\n<script>1</script>",
}


@pytest.mark.parametrize("name", DANGEROUS)
def test_what_could_run_in_our_origin_is_never_shown_inline(vault: Vault, name: str) -> None:
    file = vault.upload(name, DANGEROUS[name])
    for query in ({}, {"inline": "1"}):
        answer = good(vault.call("GET", f"/files/{file['id']}/content", query_string=query))
        inline = answer.headers["Content-Disposition"].startswith("inline")
        assert not inline or answer.mimetype == "text/plain"
        policy = answer.headers["Content-Security-Policy"]
        assert "default-src 'none'" in policy
        assert "script-src" not in policy
        assert inline or "sandbox" in policy
        assert answer.headers["X-Content-Type-Options"] == "nosniff"


def test_harmless_types_are_shown_inline_when_asked(vault: Vault) -> None:
    file = vault.upload("note.txt", b"gr\xc3\xbc\xc3\x9fe")
    plain = good(vault.call("GET", f"/files/{file['id']}/content"))
    assert plain.headers["Content-Disposition"].startswith("attachment")
    shown = good(vault.call("GET", f"/files/{file['id']}/content", query_string={"inline": "1"}))
    assert shown.headers["Content-Disposition"].startswith("inline")
    assert shown.headers["Content-Type"] == "text/plain; charset=utf-8"


@pytest.mark.parametrize(
    ("name", "header"),
    [
        ("plain.txt", 'attachment; filename="plain.txt"'),
        ("två.txt", "attachment; filename=\"tva.txt\"; filename*=UTF-8''tv%C3%A5.txt"),
        ("报告.pdf", "attachment; filename=\".pdf\"; filename*=UTF-8''%E6%8A%A5%E5%91%8A.pdf"),
        ('a"b;c.txt', "attachment; filename=\"a_b_c.txt\"; filename*=UTF-8''a%22b%3Bc.txt"),
        ("100%.txt", "attachment; filename=\"100_.txt\"; filename*=UTF-8''100%25.txt"),
        ("报告", "attachment; filename=\"download\"; filename*=UTF-8''%E6%8A%A5%E5%91%8A"),
    ],
)
def test_the_name_travels_in_both_spellings(name: str, header: str) -> None:
    assert disposition("attachment", name) == header


def test_behind_nginx_the_bytes_are_named_not_sent(vault: Vault, file: Any) -> None:
    before = current_settings()
    use_settings(before.model_copy(update={"x_accel_redirect": "/protected/"}))
    try:
        answer = good(vault.content(file["id"], Range="bytes=0-9"))
        known = good(vault.content(file["id"], **{"If-None-Match": f'"{file["sha256"]}"'}), 304)
    finally:
        use_settings(before)
    assert answer.data == b""
    assert answer.headers["X-Accel-Redirect"] == "/protected/" + store().key(file["sha256"])
    assert answer.headers["Content-Disposition"] == 'attachment; filename="data.bin"'
    assert answer.headers["Content-Type"] == "application/octet-stream"
    assert "X-Accel-Redirect" not in known.headers


def test_a_blob_that_is_gone_from_the_store_is_503_not_a_broken_download(vault: Vault, file: Any) -> None:
    store().delete(store().key(file["sha256"]))
    problem(vault.content(file["id"]), 503)


def test_a_trashed_file_does_not_download(vault: Vault, file: Any) -> None:
    good(vault.call("DELETE", f"/files/{file['id']}"), 204)
    problem(vault.content(file["id"]), 404)


def test_nobody_downloads_without_signing_in(vault: Vault, file: Any) -> None:
    with vault.app.app_context():
        answer = vault.app.test_client().get(f"/api/v1/files/{file['id']}/content")
    problem(answer, 401)
