"""What every store has to do, of the local disk and of S3 (moto's server)."""

import errno
import os
import secrets
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import requests
from botocore.exceptions import ClientError
from flask import Flask

from tests.buckets import bucket_server, new_bucket
from tests.vault import Vault, differences, good, problem, stored_keys
from webapp.config import current_settings, use_settings
from webapp.errors import Unavailable
from webapp.infra import s3store
from webapp.infra.drafts import CHUNK
from webapp.infra.s3store import S3Store
from webapp.infra.storage import LocalStore, Store, store
from webapp.services.blobs import sweep_blobs

DATA = bytes(range(256)) * 3000


@pytest.fixture(scope="module")
def server() -> Iterator[str]:
    with bucket_server() as endpoint:
        yield endpoint


@pytest.fixture(params=["local", "s3", "local behind s3", "s3 behind local"])
def a_store(request: pytest.FixtureRequest, app: Flask, server: str, tmp_path: Path) -> Iterator[Store]:
    before = current_settings()
    bucket, folder = new_bucket(server), f"file://{tmp_path / 'blobs'}"
    first, _, former = request.param.partition(" behind ")
    (tmp_path / "blobs").mkdir()
    extra = {**bucket, "var_dir": tmp_path / "var"}
    extra["storage_url"] = folder if first == "local" else bucket["storage_url"]
    if former:  # what is first in the name is the former one
        extra["former_storage_url"] = extra["storage_url"]
        extra["storage_url"] = folder if former == "local" else bucket["storage_url"]
    use_settings(before.model_copy(update=extra))
    yield store()
    use_settings(before)


def put(where: Store, data: bytes, *, replace: bool = False) -> str:
    with where.draft() as draft:
        draft.write(data)
        return where.keep(draft, replace=replace)


def test_what_is_kept_is_read_in_any_part(a_store: Store, stored_as: str) -> None:
    key = put(a_store, DATA)
    whole = b"".join(a_store.read(key))
    assert (whole == DATA) is (stored_as == "plain")
    assert a_store.size(key) == len(whole)
    assert max(map(len, a_store.read(key))) <= CHUNK
    assert [len(piece) for piece in a_store.read(key, 0, 3000, 1000)] == [1000, 1000, 1000]
    for start, length in ((0, 0), (0, 1), (CHUNK - 1, 2), (len(whole) - 1, 1), (5, None), (len(whole), 10)):
        wanted = whole[start:] if length is None else whole[start : start + length]
        assert b"".join(a_store.read(key, start, length)) == wanted
    empty = put(a_store, b"")
    assert b"".join(a_store.read(empty)) == b"" or stored_as == "sealed"


def test_a_draft_is_nothing_until_it_is_kept(a_store: Store) -> None:
    with a_store.draft() as draft:
        draft.write(DATA)
        draft.sync()
        place = draft.place
        assert a_store.size(place) == len(DATA)
    assert a_store.size(place) is None
    assert [key for key in a_store.keys_older_than(-60) if key.startswith("drafts/")] == []


def test_the_same_content_is_there_once_and_can_be_replaced(a_store: Store) -> None:
    key = put(a_store, DATA)
    assert put(a_store, DATA) == key
    assert put(a_store, DATA, replace=True) == key
    assert set(a_store.keys_older_than(-60)) == {key}
    assert b"".join(a_store.read(key)) == DATA


def test_what_is_deleted_is_gone_and_deleting_nothing_is_no_error(a_store: Store) -> None:
    key = put(a_store, DATA)
    a_store.delete(key)
    a_store.delete(key)
    assert a_store.size(key) is None
    assert a_store.older_than(key, -60) is False
    with pytest.raises(Unavailable) as told:
        list(a_store.read(key))
    assert isinstance(told.value.__cause__, OSError)
    assert told.value.__cause__.errno == errno.ENOENT


def test_age_is_told(a_store: Store) -> None:
    key = put(a_store, DATA)
    assert list(a_store.keys_older_than(3600)) == []
    assert (a_store.older_than(key, -60), a_store.older_than(key, 3600)) == (True, False)
    a_store.touch(key)
    assert b"".join(a_store.read(key)) == DATA


def test_there_is_room_and_it_answers(a_store: Store) -> None:
    put(a_store, b"x")
    a_store.check()
    assert 0 < a_store.free() <= a_store.room()


def test_a_draft_that_waits_is_written_on(a_store: Store, stored_as: str) -> None:
    with a_store.draft() as draft:
        draft.write(DATA[:1000])
        draft.suspend()
    with a_store.reopen(draft.place, draft.data_key) as again:
        assert again.size == 1000
        again.write(DATA[1000:])
        key = a_store.keep(again)
    assert a_store.size(key) is not None
    assert set(a_store.keys_older_than(-60)) == {key}


def test_a_vault_works_on_it(a_store: Store, stored_as: str, vault: Vault) -> None:
    first, second = vault.upload("a.bin", DATA), vault.upload("b.bin", DATA)
    answer = vault.content(first["id"], Range="bytes=5-9")
    assert answer.status_code in {206, 302}
    good(vault.call("DELETE", f"/files/{second['id']}"), 204)
    assert sweep_blobs(young=-60) == 0
    assert differences() == []
    assert len(stored_keys()) == 1


# S3 alone -------------------------------------------------------------------------------------------------------------


@pytest.fixture
def bucket(app: Flask, server: str, tmp_path: Path) -> Iterator[S3Store]:
    before = current_settings()
    use_settings(before.model_copy(update={"var_dir": tmp_path, **new_bucket(server)}))
    where = store()
    assert isinstance(where, S3Store)
    yield where
    use_settings(before)


def test_a_plain_download_is_fetched_from_the_bucket_with_its_name_and_type(bucket: S3Store, vault: Vault) -> None:
    view = vault.upload("Größe.txt", b"content")
    answer = good(vault.content(view["id"]), 302)
    assert answer.headers["Cache-Control"] == "no-store"
    assert "X-Amz-Expires=60" in answer.location
    got = requests.get(answer.location, timeout=30)
    assert got.content == b"content"
    assert got.headers["Content-Type"] == "text/plain"
    assert "attachment" in got.headers["Content-Disposition"]
    shown = vault.call("GET", f"/files/{view['id']}/content?inline=true")
    assert good(shown).data == b"content"
    assert good(vault.content(view["id"], **{"If-None-Match": shown.headers["ETag"]}), 304)


def test_a_large_draft_goes_there_in_parts(bucket: S3Store, monkeypatch: pytest.MonkeyPatch) -> None:
    data = os.urandom(s3store.PART * 2 + 77)
    key = put(bucket, data)
    head = bucket._client.head_object(**bucket._at(key))
    assert head["ETag"].strip('"').endswith("-3")
    assert b"".join(bucket.read(key)) == data


def test_what_a_bucket_says_becomes_an_answer(bucket: S3Store, vault: Vault, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(code: str) -> Any:
        def upload(*_: Any, **__: Any) -> None:
            raise ClientError({"Error": {"Code": code, "Message": "?"}}, "PutObject")

        return upload

    for code, status in (("QuotaExceeded", 507), ("SlowDown", 503), ("AccessDenied", 503)):
        with monkeypatch.context() as patch:
            patch.setattr(bucket._client, "upload_file", fail(code))
            problem(vault.try_upload("a.bin", secrets.token_bytes(9)), status)
    assert stored_keys() == set()


def test_a_bucket_that_is_away_is_unavailable(bucket: S3Store, vault: Vault) -> None:
    view = vault.upload("a.bin", b"bytes")
    settings = current_settings()
    use_settings(settings.model_copy(update={"s3_endpoint": "http://127.0.0.1:1", "verify_downloads": True}))
    problem(vault.content(view["id"]), 503)
    with pytest.raises(Unavailable):
        store().check()
    use_settings(settings)


def test_a_local_store_stays_a_directory(app: Flask) -> None:
    assert isinstance(store(), LocalStore)
