"""Uploads by tus 1.0.0: every word of the protocol, lengths, offsets, checksums, and what is kept of them."""

import base64
import hashlib
import io
import threading
from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest
from flask import Flask
from flask.testing import FlaskClient
from sqlalchemy import update
from werkzeug.test import TestResponse

from tests.conftest import csrf_of
from tests.test_upkeep import Quiet
from tests.vault import Vault, differences, empty_store, good, problem, stored_keys
from webapp.db import db, transaction
from webapp.infra.clock import now
from webapp.infra.locks import locked
from webapp.models.uploads import Upload
from webapp.policies import Actor
from webapp.services import uploads
from webapp.services.blobs import sweep_blobs
from webapp.services.upkeep import sweep_expired

DATA = bytes(range(256)) * 40
BYTES = "application/offset+octet-stream"


@pytest.fixture(autouse=True)
def fresh_store(app: Flask) -> None:
    empty_store()


def word(text: str | bytes) -> str:
    return base64.b64encode(text.encode() if isinstance(text, str) else text).decode()


def begin(vault: Vault, length: int = len(DATA), name: str = "tide.bin", data: bytes | None = None,
          headers: dict[str, str] | None = None, **more: str) -> TestResponse:  # fmt: skip
    told = ",".join(f"{key} {word(value)}" for key, value in {"filename": name, **more}.items())
    said = {"Tus-Resumable": "1.0.0", "Upload-Length": str(length), "Upload-Metadata": told, **(headers or {})}
    options: dict[str, Any] = {} if data is None else {"data": data, "content_type": BYTES}
    return vault.call("POST", "/uploads", headers=said, **options)


def address(answer: TestResponse) -> str:
    return good(answer, 201).headers["Location"].removeprefix("/api/v1")


def patch(vault: Vault, path: str, offset: int, data: bytes, **headers: str) -> TestResponse:
    said = {"Tus-Resumable": "1.0.0", "Upload-Offset": str(offset), **headers}
    length = {"CONTENT_LENGTH": str(len(data))}
    return vault.call("PATCH", path, headers=said, data=data, content_type=BYTES, environ_overrides=length)


def head(vault: Vault, path: str) -> TestResponse:
    return vault.call("HEAD", path, headers={"Tus-Resumable": "1.0.0"})


def checksum(data: bytes, algorithm: str = "sha256") -> dict[str, str]:
    return {"Upload-Checksum": f"{algorithm} {word(hashlib.new(algorithm, data).digest())}"}


def test_options_say_what_the_server_can(vault: Vault) -> None:
    answer = vault.client.options("/api/v1/uploads")
    assert answer.headers["Tus-Version"] == answer.headers["Tus-Resumable"] == "1.0.0"
    assert set(answer.headers["Tus-Extension"].split(",")) == {
        "creation", "creation-with-upload", "expiration", "checksum", "termination"
    }  # fmt: skip
    assert int(answer.headers["Tus-Max-Size"]) > 0
    assert answer.headers["Tus-Checksum-Algorithm"] == "sha1,sha256"


def test_an_upload_in_parts_becomes_a_file(vault: Vault) -> None:
    answer = begin(vault, filetype="application/x-tide")
    path = address(answer)
    assert answer.headers["Tus-Resumable"] == "1.0.0"
    assert answer.headers["Upload-Expires"].endswith("GMT")
    for start in range(0, len(DATA), 4096):
        seen = good(head(vault, path), 200)
        assert (seen.headers["Upload-Offset"], seen.headers["Upload-Length"]) == (str(start), str(len(DATA)))
        assert seen.headers["Cache-Control"] == "no-store"
        assert seen.headers["Upload-Metadata"].startswith(f"filename {word('tide.bin')}")
        assert sweep_blobs(young=-1) == 0  # the draft of an upload that goes on
        answer = good(patch(vault, path, start, DATA[start : start + 4096]), 204)
        assert int(answer.headers["Upload-Offset"]) == min(len(DATA), start + 4096)
    file = vault.get(f"/files/{answer.headers['Upload-File']}")
    assert (file["name"], file["sha256"]) == ("tide.bin", hashlib.sha256(DATA).hexdigest())
    assert vault.content(file["id"]).data == DATA
    assert differences() == []


def test_who_missed_the_last_answer_hears_that_it_is_done(vault: Vault) -> None:
    path = address(begin(vault))
    first = good(patch(vault, path, 0, DATA), 204)
    again = good(patch(vault, path, 0, DATA), 204)
    seen = good(head(vault, path), 200)
    assert {answer.headers["Upload-File"] for answer in (first, again, seen)} == {first.headers["Upload-File"]}
    assert seen.headers["Upload-Offset"] == str(len(DATA))
    problem(patch(vault, path, 0, DATA[:9]), 409, "offset")
    assert len(vault.get("/files")["items"]) == 1
    good(vault.call("DELETE", path, headers={"Tus-Resumable": "1.0.0"}), 204)
    assert len(vault.get("/files")["items"]) == 1


def test_the_first_part_may_come_at_once_and_an_empty_file_has_none(vault: Vault) -> None:
    answer = good(begin(vault, data=DATA[:100]), 201)
    assert answer.headers["Upload-Offset"] == "100"
    whole = good(begin(vault, name="whole.bin", data=DATA), 201)
    assert vault.content(whole.headers["Upload-File"]).data == DATA
    empty = good(begin(vault, 0, "empty.txt"), 201)
    assert vault.get(f"/files/{empty.headers['Upload-File']}")["size"] == 0


def test_a_repeated_beginning_under_one_key_begins_once(vault: Vault) -> None:
    answers = [good(begin(vault, data=DATA[:100], headers={"Idempotency-Key": "k1"}), 201) for _ in range(2)]
    assert len({answer.headers["Location"] for answer in answers}) == 1
    assert [answer.headers["Upload-Offset"] for answer in answers] == ["100", "100"]


@pytest.mark.parametrize("algorithm", ["sha1", "sha256"])
def test_a_checked_part_is_kept_when_it_is_right_and_nothing_of_it_when_it_is_not(vault: Vault, algorithm: str) -> None:
    path = address(begin(vault))
    good(patch(vault, path, 0, DATA[:1000], **checksum(DATA[:1000], algorithm)), 204)
    problem(patch(vault, path, 1000, DATA[1000:3000], **checksum(b"other", algorithm)), 460, "checksum_mismatch")
    assert head(vault, path).headers["Upload-Offset"] == "1000"
    assert len(stored_keys()) == 1
    good(patch(vault, path, 1000, DATA[1000:], **checksum(DATA[1000:], algorithm)), 204)
    assert differences() == []


@pytest.mark.parametrize(
    ("headers", "status", "code"),
    [
        ({"Tus-Resumable": "0.2.2"}, 412, "tus_version"),
        ({"Tus-Resumable": ""}, 412, "tus_version"),
        ({"Upload-Offset": "-1"}, 400, "malformed"),
        ({"Upload-Offset": "x"}, 400, "malformed"),
        ({"Upload-Offset": "9" * 30}, 400, "malformed"),
        ({"Upload-Offset": "1"}, 409, "offset"),
        ({"Content-Type": "application/octet-stream"}, 415, "unsupported_media_type"),
        ({"Upload-Checksum": "md5 AAAA"}, 400, "checksum_algorithm"),
        ({"Upload-Checksum": "sha1 AAAA"}, 400, "malformed"),
        ({"Upload-Checksum": "sha1 !!"}, 400, "malformed"),
    ],
)
def test_a_wrong_word_changes_nothing(vault: Vault, headers: dict[str, str], status: int, code: str) -> None:
    path = address(begin(vault))
    said = {"Tus-Resumable": "1.0.0", "Upload-Offset": "0", "Content-Type": BYTES, **headers}
    answer = vault.call("PATCH", path, headers=said, data=b"some")
    problem(answer, status, code)
    assert answer.headers["Tus-Resumable"] == "1.0.0"
    if status == 412:
        assert answer.headers["Tus-Version"] == "1.0.0"
    if status == 409:
        assert answer.headers["Upload-Offset"] == "0"
    assert head(vault, path).headers["Upload-Offset"] == "0"


def test_more_than_was_announced_is_refused(vault: Vault) -> None:
    path = address(begin(vault, 10))
    problem(patch(vault, path, 0, b"x" * 11), 413, "beyond_length")
    assert head(vault, path).headers["Upload-Offset"] == "0"
    answer = vault.call("PATCH", path, headers={"Tus-Resumable": "1.0.0", "Upload-Offset": "0"},
                        input_stream=io.BytesIO(b"x" * 11), content_type=BYTES,
                        environ_overrides={"wsgi.input_terminated": True})  # fmt: skip
    problem(answer, 413, "beyond_length")


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ({"Upload-Length": "x"}, 400),
        ({"Upload-Length": str(10**17)}, 413),
        ({"Upload-Defer-Length": "1"}, 400),
        ({"Upload-Metadata": "filename !!!"}, 400),
        ({"Upload-Metadata": ",,"}, 400),
        ({"Upload-Metadata": f"filename {word(bytes([255]))}"}, 400),
        ({"Upload-Metadata": "filename " + "A" * 5000}, 400),
        ({"Upload-Metadata": ""}, 422),
        ({"Upload-Metadata": f"filename {word('a/b')}"}, 422),
        ({"Upload-Metadata": f"filename {word('x' * 300)}"}, 422),
        ({"Upload-Metadata": f"filename {word('x')},relativePath {word('../x')}"}, 422),
        ({"Upload-Metadata": f"filename {word('x')},relativePath {word('a/' * 65 + 'x')}"}, 422),
        ({"Upload-Metadata": f"filename {word('x')},folder_id {word('me')}"}, 422),
        ({"Upload-Metadata": f"filename {word('x')},conflict {word('burn')}"}, 422),
        ({"Upload-Metadata": f"filename {word('x')},folder_id {word('00000000-0000-7000-8000-000000000000')}"}, 422),
    ],
)
def test_a_wrong_beginning_leaves_nothing(vault: Vault, headers: dict[str, str], status: int) -> None:
    problem(begin(vault, headers=headers), status)
    assert stored_keys() == set()


def test_a_taken_name_is_refused_renamed_or_replaced(vault: Vault) -> None:
    file = vault.upload("tide.bin", b"old")
    vault.folder("Harbour")
    problem(begin(vault), 409, "name_taken")
    renamed = good(begin(vault, data=DATA, conflict="rename"), 201).headers["Upload-File"]
    assert vault.get(f"/files/{renamed}")["name"] == "tide (1).bin"
    replaced = good(begin(vault, data=DATA, conflict="replace"), 201).headers["Upload-File"]
    assert replaced == file["id"]
    assert vault.get(f"/files/{replaced}")["number"] == 2
    problem(begin(vault, name="Harbour", conflict="replace"), 409, "name_taken")
    assert differences() == []


def test_a_name_taken_meanwhile_is_told_at_the_end_and_by_head(vault: Vault) -> None:
    path = address(begin(vault))
    file = vault.upload("tide.bin", b"faster")
    problem(patch(vault, path, 0, DATA), 409, "name_taken")
    assert head(vault, path).status_code == 409
    good(vault.change(f"/files/{file['id']}", name="else.bin"))
    answer = good(head(vault, path), 200)
    assert vault.content(answer.headers["Upload-File"]).data == DATA


def test_folders_of_a_relative_path_are_made_once(vault: Vault) -> None:
    place = vault.folder("Harbour")["id"]
    for name in ("a.txt", "b.txt"):
        good(begin(vault, 2, name, b"ab", folder_id=place, relativePath=f"Quay/North/{name}"), 201)
    (quay,) = vault.get("/folders", query_string={"parent_id": place})["items"]
    (north,) = vault.get("/folders", query_string={"parent_id": quay["id"]})["items"]
    assert (quay["name"], north["name"]) == ("Quay", "North")
    names = [item["name"] for item in vault.get("/files", query_string={"folder_id": north["id"]})["items"]]
    assert names == ["a.txt", "b.txt"]
    problem(begin(vault, 2, "a.txt", folder_id=place, relativePath="Quay/North/a.txt"), 409, "name_taken")
    problem(begin(vault, 2, "c.txt", folder_id=north["id"], relativePath="a.txt/c.txt"), 409, "name_taken")
    assert differences() == []


def test_quota_counts_at_the_beginning_with_other_open_uploads_and_at_the_end(
    vault: Vault, member: Actor, quota: Callable[[Actor, int], None]
) -> None:
    quota(member, 100)
    problem(begin(vault, 101), 413, "quota_exceeded")
    path = address(begin(vault, 60, "one"))
    problem(begin(vault, 60, "two"), 413, "quota_exceeded")
    vault.upload("else", b"x" * 50)
    problem(patch(vault, path, 0, b"x" * 60), 413, "quota_exceeded")
    quota(member, 200)
    good(patch(vault, path, 0, b"x" * 60), 204)
    assert differences() == []


def test_only_who_began_an_upload_finds_it(vault: Vault, other_vault: Vault) -> None:
    path = address(begin(vault))
    problem(head_body(other_vault, path), 404, "not_found")
    problem(patch(other_vault, path, 0, DATA), 404, "not_found")
    problem(other_vault.call("DELETE", path, headers={"Tus-Resumable": "1.0.0"}), 404, "not_found")
    good(head(vault, path), 200)


def head_body(vault: Vault, path: str) -> TestResponse:
    return vault.call("GET", path, headers={"Tus-Resumable": "1.0.0"})


def test_a_cancelled_upload_is_gone_with_its_bytes(vault: Vault) -> None:
    path = address(begin(vault, data=DATA[:50]))
    assert len(stored_keys()) == 1
    good(vault.call("DELETE", path, headers={"Tus-Resumable": "1.0.0"}), 204)
    assert stored_keys() == set()
    assert head(vault, path).status_code == 404


def test_an_upload_that_nobody_came_back_to_is_gone_and_swept(vault: Vault) -> None:
    path, kept = address(begin(vault, data=DATA[:50])), address(begin(vault, name="kept", data=DATA[:50]))
    with transaction():
        late = {"expires_at": now() - timedelta(seconds=1)}
        db.session.execute(update(Upload).where(Upload.name == "tide.bin").values(late))
    assert head(vault, path).status_code == 410
    problem(patch(vault, path, 50, DATA[50:]), 410, "upload_expired")
    assert sweep_expired(Quiet())["uploads"] == 1
    assert head(vault, path).status_code == 404
    good(head(vault, kept), 200)
    assert len(stored_keys()) == 1


def test_an_upload_whose_bytes_were_lost_begins_again(vault: Vault) -> None:
    path = address(begin(vault, data=DATA[:50]))
    empty_store()
    assert head(vault, path).status_code == 410
    assert head(vault, path).status_code == 404


def test_one_writes_at_a_time(vault: Vault, monkeypatch: pytest.MonkeyPatch) -> None:
    path = address(begin(vault))
    monkeypatch.setattr(uploads, "PATIENCE", 0)
    with locked(f"upload:{path.rsplit('/')[-1]}"):
        problem(patch(vault, path, 0, DATA), 423, "locked")
        assert head(vault, path).status_code == 423
    twin = vault.twin()
    codes: list[int] = []
    threads = [threading.Thread(target=lambda v=v: codes.append(patch(v, path, 0, DATA).status_code))
               for v in (vault, twin)]  # fmt: skip
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert min(codes) == 204
    assert set(codes) <= {204, 409, 423}
    assert len(vault.get("/files")["items"]) == 1
    assert differences() == []


@pytest.mark.parametrize("checked", [False, True])
def test_a_body_cut_at_every_chunk_goes_on_where_it_was(vault: Vault, checked: bool) -> None:
    """Promise 10."""
    path = address(begin(vault))
    at, step = 0, 1024
    while at < len(DATA):
        said = {"Tus-Resumable": "1.0.0", "Upload-Offset": str(at), **(checksum(DATA[at:]) if checked else {})}
        sent = DATA[at : at + step]
        whole = at + step >= len(DATA) or (checked and at > 0)
        answer = vault.call(
            "PATCH", path, headers=said, content_type=BYTES, input_stream=io.BytesIO(DATA[at:] if whole else sent),
            environ_overrides={"CONTENT_LENGTH": str(len(DATA) - at)})  # fmt: skip
        assert answer.status_code == (204 if whole else 400)
        at = int(head(vault, path).headers["Upload-Offset"])
        if checked and not whole:
            assert at == 0  # nothing unproven is kept
            checked = False
    (file,) = vault.get("/files")["items"]
    assert file["sha256"] == hashlib.sha256(DATA).hexdigest()
    assert differences() == []


def test_a_page_proves_itself_by_header(app: Flask, member: Actor, signed_in: Callable[[Actor], FlaskClient]) -> None:
    browser = signed_in(member)
    said = {"Tus-Resumable": "1.0.0", "Upload-Length": "3", "Upload-Metadata": f"filename {word('x.txt')}"}
    problem(browser.post("/api/v1/uploads", headers=said), 403, "csrf")
    token = csrf_of(browser.get("/account").text)
    path = good(browser.post("/api/v1/uploads", headers={**said, "X-CSRF-Token": token}), 201).headers["Location"]
    part = {"Tus-Resumable": "1.0.0", "Upload-Offset": "0"}
    problem(browser.patch(path, headers=part, data=b"abc", content_type=BYTES), 403, "csrf")
    good(browser.patch(path, headers={**part, "X-CSRF-Token": token}, data=b"abc", content_type=BYTES), 204)


def test_a_token_of_a_folder_uploads_there_alone(vault: Vault) -> None:
    inside, outside = vault.folder("In")["id"], vault.folder("Out")["id"]
    wish = {"name": "Scanner", "scopes": ["files.write", "files.read"], "folder_id": inside}
    token = good(vault.call("POST", "/tokens", json=wish), 201).json["token"]
    scanner = Vault(vault.app, {"Authorization": f"Bearer {token}"}, vault.actor)
    good(begin(scanner, 2, "a", b"ab", folder_id=inside), 201)
    assert begin(scanner, 2, "b", folder_id=outside).status_code in {404, 422}
    problem(begin(scanner, 2, "c"), 403, "outside_folder")
    elsewhere, top = address(begin(vault, 2, "d", folder_id=outside)), address(begin(vault, 2, "e"))
    assert patch(scanner, elsewhere, 0, b"ab").status_code == 404
    assert patch(scanner, top, 0, b"ab").status_code == 403
