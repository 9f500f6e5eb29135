"""Trash: a file goes there with its name and place, frees its name at once, and comes back to where it was."""

from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from sqlalchemy import update

from tests.conftest import csrf_of
from tests.vault import Vault, differences, good, problem, traces
from webapp.db import db
from webapp.infra.clock import now
from webapp.models.folders import Folder


def trash(vault: Vault, file: Any) -> None:
    good(vault.call("DELETE", f"/files/{file['id']}"), 204)


def restore(vault: Vault, file: Any) -> Any:
    return good(vault.call("POST", f"/files/{file['id']}/restoration")).json


def test_a_trashed_file_is_in_the_trash_and_nowhere_else(vault: Vault) -> None:
    folder = vault.folder("Inside")["id"]
    file = vault.upload("a.txt", b"x", folder_id=folder)
    trash(vault, file)
    assert vault.get("/files")["items"] == []
    problem(vault.call("GET", f"/files/{file['id']}"), 404)
    problem(vault.change(f"/files/{file['id']}", name="b.txt"), 404)
    problem(vault.call("DELETE", f"/files/{file['id']}"), 404)
    (found,) = vault.get("/trash")["items"]
    assert found["id"] == file["id"]
    assert found["deleted_at"] is not None
    assert found["folder_id"] == folder
    assert differences() == []


def test_a_file_comes_back_to_its_folder_with_all_it_had(vault: Vault) -> None:
    folder = vault.folder("Inside")["id"]
    file = vault.upload("a.txt", b"bytes", folder_id=folder)
    good(vault.change(f"/files/{file['id']}", description="kept", tags=["kept"]))
    trash(vault, file)
    back = restore(vault, file)
    assert (back["folder_id"], back["name"], back["description"], back["tags"]) == (folder, "a.txt", "kept", ["kept"])
    assert back["deleted_at"] is None
    assert vault.content(file["id"]).data == b"bytes"
    assert vault.get("/trash")["items"] == []
    problem(vault.call("POST", f"/files/{file['id']}/restoration"), 404)


def test_restoring_into_a_deleted_folder_lands_at_the_root(vault: Vault) -> None:
    folder = vault.folder("Inside")["id"]
    file = vault.upload("a.txt", b"x", folder_id=folder)
    trash(vault, file)
    with db.engine.connect().execution_options(write=True) as connection, connection.begin():
        connection.execute(update(Folder).values(deleted_at=now()))
    assert vault.get("/trash")["items"][0]["folder_id"] is None
    back = restore(vault, file)
    assert back["folder_id"] is None
    assert back["version"] == 3, "one restoration, one version"


def test_a_name_is_free_while_its_file_is_in_the_trash_and_a_returning_one_gets_a_number(vault: Vault) -> None:
    first = vault.upload("a.txt", b"1")
    trash(vault, first)
    second = vault.upload("a.txt", b"2")
    trash(vault, second)
    vault.folder("a.txt")
    assert restore(vault, first)["name"] == "a (1).txt"
    back = restore(vault, second)
    assert back["name"] == "a (2).txt"
    assert back["version"] == 3
    assert {item["name"] for item in vault.get("/files")["items"]} == {"a (1).txt", "a (2).txt"}


def test_the_trash_pages_from_the_last_trashed_to_the_first(vault: Vault) -> None:
    names = [f"file {number}" for number in range(23)]
    for name in names:
        trash(vault, vault.upload(name, b""))
    found = vault.every("/trash", limit=5)
    assert [item["name"] for item in found] == names[::-1]
    files = vault.every("/files", limit=5, trashed="true")
    assert files == [{key: item[key] for key in file} for file, item in zip(files, found, strict=True)]
    assert {item["kind"] for item in found} == {"file"}
    problem(vault.call("GET", "/trash", query_string={"q": "x"}), 422)


def test_twenty_restorations_at_once_restore_once(vault: Vault) -> None:
    file = vault.upload("a.txt")
    trash(vault, file)
    path = f"/files/{file['id']}/restoration"
    with ThreadPoolExecutor(10) as pool:
        answers = [wish.result() for wish in [pool.submit(vault.twin().call, "POST", path) for _ in range(20)]]
    assert sorted(answer.status_code for answer in answers) == [200] + [404] * 19


def test_the_trash_of_somebody_else_stays_theirs(vault: Vault, other_vault: Vault) -> None:
    file = other_vault.upload("theirs.txt")
    trash(other_vault, file)
    before = traces()
    problem(vault.call("POST", f"/files/{file['id']}/restoration"), 404)
    assert vault.get("/trash")["items"] == []
    assert traces() == before


def test_a_full_vault_still_trashes_and_restores(vault: Vault, quota: Any) -> None:
    file = vault.upload("a.txt", b"x" * 100)
    quota(vault.actor, 100)
    trash(vault, file)
    assert restore(vault, file)["name"] == "a.txt"


@pytest.mark.parametrize("stale", [False, True])
def test_a_person_trashes_and_undoes_by_the_buttons_of_the_pages(vault: Vault, signed_in: Any, stale: bool) -> None:
    file = vault.upload("a.txt")
    browser = signed_in(vault.actor)
    with vault.app.app_context():
        form = {"csrf_token": csrf_of(browser.get(f"/files/{file['id']}").text), "version": "7" if stale else "1"}
    with vault.app.app_context():
        answer = browser.post(f"/files/{file['id']}/trash", data=form)
    if stale:
        assert answer.status_code in {409, 412}
        assert vault.get("/trash")["items"] == []
        return
    assert answer.status_code == 302
    assert [item["id"] for item in vault.get("/trash")["items"]] == [file["id"]]
    with vault.app.app_context():
        answer = browser.post(f"/trash/{file['id']}/restoration", data={**form, "version": "2"})
    assert answer.status_code == 302
    assert [item["id"] for item in vault.get("/files")["items"]] == [file["id"]]
