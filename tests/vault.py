"""The vault as a program sees it, for tests; and the checker that compares database and store."""

import contextlib
import hashlib
import io
import shutil
from collections.abc import Iterable
from typing import Any
from urllib.parse import quote

from flask import Flask
from flask.testing import FlaskClient
from sqlalchemy import func, select, text
from werkzeug.test import TestResponse

from webapp.db import Base, db
from webapp.errors import DamagedContent
from webapp.infra.drafts import is_sealed
from webapp.infra.storage import LocalStore, store
from webapp.models.files import Blob, File, FileVersion, Preview
from webapp.models.stored import StoredObject
from webapp.models.users import Quota
from webapp.policies import Actor
from webapp.services.stored import read_blob

COUNTED = ("files", "file_versions", "blobs", "folders", "placements", "jobs", "audit_entries")


class Vault:
    """A program signed in as one person. Each call has an application context of its own, as on a server."""

    def __init__(self, app: Flask, headers: dict[str, str], actor: Actor) -> None:
        self.app, self.headers, self.actor = app, headers, actor
        self.client: FlaskClient = app.test_client()

    def call(self, method: str, path: str, *, headers: dict[str, str] | None = None, **options: Any) -> TestResponse:
        """One request to /api/v1; safe in threads."""
        options["headers"] = {**self.headers, **(headers or {})}
        with self.app.app_context():
            return self.client.open(f"/api/v1{path}", method=method, buffered=True, **options)

    def twin(self) -> "Vault":
        """The same person in another program."""
        return Vault(self.app, self.headers, self.actor)

    def get(self, path: str, **options: Any) -> Any:
        return good(self.call("GET", path, **options), 200).json

    def upload(self, name: str = "note.txt", data: bytes = b"hello", **query: str) -> Any:
        """Store a raw body as a new file; returns its view."""
        return good(self.try_upload(name, data, **query), 201).json

    def try_upload(self, name: str, data: bytes, **query: str) -> TestResponse:
        return self.call("POST", "/files", query_string={"name": name, **query}, **raw(data))

    def send_form(self, *parts: tuple[str, bytes], **fields: str) -> TestResponse:
        """A multipart upload of `file` parts."""
        data = {**fields, "file": [(io.BytesIO(content), name) for name, content in parts]}
        return self.call("POST", "/files", data=data, content_type="multipart/form-data")

    def folder(self, name: str, parent: str | None = None) -> Any:
        return good(self.call("POST", "/folders", json={"name": name, "parent_id": parent}), 201).json

    def change(self, path: str, version: int | None = None, **wish: Any) -> TestResponse:
        """PATCH, with If-Match where a version is given."""
        headers = {} if version is None else {"If-Match": f'"{version}"'}
        return self.call("PATCH", path, json=wish, headers=headers)

    def content(self, file_id: str, **headers: str) -> TestResponse:
        return self.call("GET", f"/files/{file_id}/content", headers=headers)

    def every(self, path: str, limit: int = 25, **query: str) -> list[Any]:
        """All items of a list, page by page."""
        items: list[Any] = []
        while True:
            page = self.get(path, query_string={"limit": str(limit), **query})
            items += page["items"]
            if page["next_cursor"] is None:
                return items
            query["cursor"] = page["next_cursor"]


def raw(data: bytes) -> dict[str, Any]:
    """Options of a call with these bytes as its body; the test client leaves the length of an empty one out."""
    length = {"CONTENT_LENGTH": str(len(data))}
    return {"data": data, "content_type": "application/octet-stream", "environ_overrides": length}


def good(answer: TestResponse, status: int = 200) -> TestResponse:
    """The answer, which must have this status."""
    assert answer.status_code == status, f"{answer.status}: {answer.data[:2000]!r}"
    return answer


def problem(answer: TestResponse, status: int | Iterable[int], code: str | None = None) -> Any:
    """The problem document, which must be whole: type, title, status, request id, no trace of our code."""
    wanted = {status} if isinstance(status, int) else set(status)
    assert answer.status_code in wanted, f"{answer.status}: {answer.data[:2000]!r}"
    assert answer.content_type == "application/problem+json"
    document = answer.get_json(force=True)
    assert {"type", "title", "status", "detail", "instance", "request_id"} <= document.keys()
    assert document["status"] == answer.status_code
    assert document["request_id"] == answer.headers["X-Request-ID"] != ""
    assert "Traceback" not in answer.text
    assert "webapp" not in answer.text
    if code is not None:
        assert document["code"] == code, document
    return document


def traces(owner: Actor | None = None) -> dict[str, Any]:
    """What a refused request must not change: rows, bytes charged, files in the store."""
    with db.engine.connect() as connection:
        rows: dict[str, Any] = {
            name: connection.execute(select(func.count()).select_from(Base.metadata.tables[name])).scalar()
            for name in COUNTED
        }
        rows["charged"] = connection.execute(select(func.sum(Quota.byte_used))).scalar()
    rows["stored"] = stored_keys()
    return rows


def disk() -> LocalStore:
    """The store, which here is a directory."""
    where = store()
    assert isinstance(where, LocalStore)
    return where


def stored_keys() -> set[str]:
    """Everything that lies in the store, drafts included."""
    return set(store().keys_older_than(-60))


def empty_store() -> None:
    if not isinstance(store(), LocalStore):
        for key in stored_keys():
            store().delete(key)
        return
    with contextlib.suppress(FileNotFoundError):
        shutil.rmtree(disk().root)


def differences() -> list[str]:
    """What is wrong between database and store: nothing, in a whole vault. Reads every byte."""
    found: list[str] = []
    with db.engine.connect() as connection:
        blobs = connection.execute(select(Blob.id, Blob.sha256, Blob.size, Blob.storage_key, Blob.refcount)).all()
        noted = connection.execute(select(StoredObject.key)).scalars().all()
        counts = dict(connection.execute(select(FileVersion.blob_id, func.count()).group_by(FileVersion.blob_id)).all())
        previews = connection.execute(select(Preview.storage_key)).scalars().all()
        lost = connection.execute(text(
            "SELECT count(*) FROM files f WHERE NOT EXISTS"
            " (SELECT 1 FROM file_versions v JOIN blobs b ON b.id = v.blob_id"
            " WHERE v.file_id = f.id AND v.number = f.number AND b.sha256 = f.sha256 AND b.size = f.size)"
        )).scalar()  # fmt: skip
        held = select(File.owner_id, func.sum(Blob.size)).join(FileVersion, FileVersion.file_id == File.id)
        held = held.join(Blob, Blob.id == FileVersion.blob_id).group_by(File.owner_id)
        charged = dict(connection.execute(select(Quota.user_id, Quota.byte_used)).all())
        owed = {owner: int(size) for owner, size in connection.execute(held)}
    if lost:
        found.append(f"{lost} files without their current content")
    for blob in blobs:
        found += _faults_of(blob, counts.get(blob.id, 0))
    named = {blob.storage_key for blob in blobs} | set(previews)
    found += [f"preview missing {key}" for key in previews if store().size(key) is None]
    found += [f"orphan {key}" for key in sorted(stored_keys() - named)]
    found += [f"noted, not there {key}" for key in sorted(set(noted) - named)]
    found += [f"key of {key} is lost" for key in sorted(named - set(noted)) if is_sealed(key)]
    found += [f"charged {used}, holds {owed.get(who, 0)}" for who, used in charged.items() if used != owed.get(who, 0)]
    return found


def _faults_of(blob: Any, versions: int) -> list[str]:
    faults = [] if blob.refcount == versions else [f"blob {blob.sha256} counts {blob.refcount}, named {versions} times"]
    if store().size(blob.storage_key) is None:
        return [*faults, f"missing {blob.storage_key}"]
    try:
        data = b"".join(read_blob(blob.storage_key, quiet=True))
    except DamagedContent:
        return [*faults, f"damaged {blob.storage_key}"]
    if (len(data), hashlib.sha256(data).hexdigest()) != (blob.size, blob.sha256):
        faults.append(f"wrong bytes {blob.storage_key}")
    return faults


def quoted(name: str) -> str:
    """The name as RFC 8187 spells it."""
    return quote(name, safe="!#$&+-.^_`|~")
