"""Folders in the trash: all that lives below goes and comes back with them, and only that."""

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any
from uuid import UUID

import pytest
from sqlalchemy import event, func, insert, select

from tests.conftest import csrf_of
from tests.test_placements import assert_without_gap, history_of
from tests.vault import Vault, differences, good, problem, traces
from webapp.db import db
from webapp.infra.clock import now
from webapp.infra.ids import next_id, nth_id, reserve_ids
from webapp.models.files import File, FileVersion
from webapp.models.folders import Folder
from webapp.models.placements import Placement
from webapp.services.blobs import sweep_blobs

Run = Callable[[], int]


def drop(vault: Vault, thing: Any, kind: str = "folder", **headers: str) -> None:
    good(vault.call("DELETE", f"/{kind}s/{thing['id']}", headers=headers), 204)


def restore(vault: Vault, folder: Any) -> Any:
    return good(vault.call("POST", f"/folders/{folder['id']}/restoration")).json


def names(vault: Vault, folder: Any = None) -> set[str]:
    query = {"folder_id": folder["id"]} if folder else {"folder_id": "root"}
    files = vault.get("/files", query_string=query)["items"]
    inside = vault.get("/folders", query_string={"parent_id": folder["id"]} if folder else {})["items"]
    return {item["name"] for item in (*files, *inside)}


def in_trash(vault: Vault) -> list[tuple[str, str]]:
    return [(item["kind"], item["name"]) for item in vault.every("/trash", limit=2)]


def tree(vault: Vault) -> dict[str, Any]:
    """Harbour / Quay / deep.txt, Harbour / near.txt."""
    top = vault.folder("Harbour")
    inner = vault.folder("Quay", top["id"])
    return {"top": top, "inner": inner, "near": vault.upload("near.txt", b"n" * 10, folder_id=top["id"]),
            "deep": vault.upload("deep.txt", b"d" * 20, folder_id=inner["id"])}  # fmt: skip


def fill(vault: Vault, folder: Any, count: int) -> None:
    """Files by rows alone, all of one content, charged and counted."""
    first = vault.upload("one.bin", b"x", folder_id=folder["id"])
    with db.engine.connect().execution_options(write=True) as connection, connection.begin():
        row = connection.execute(select(File).where(File.uuid == UUID(first["id"]))).one()._asdict()
        version = connection.execute(select(FileVersion).where(FileVersion.file_id == row["id"])).one()._asdict()
        files, versions, placements = [], [], []
        for number in range(count - 1):
            file = {**row, "id": next_id(), "uuid": UUID(int=number + 1), "name": f"{number}.bin",
                    "name_key": f"{number}.bin", "sort_key": f"{number:09}"}  # fmt: skip
            files.append(file)
            versions.append({**version, "id": next_id(), "file_id": file["id"]})
            placements.append({"id": next_id(), "item_id": file["id"], "item_type": "file", "number": 1,
                               "owner_id": row["owner_id"], "parent_id": row["folder_id"], "name": file["name"],
                               "deleted": False, "valid_from": now()})  # fmt: skip
        for table, rows in ((File, files), (FileVersion, versions), (Placement, placements)):
            connection.execute(insert(table), rows)
        connection.exec_driver_sql(f"UPDATE blobs SET refcount = refcount + {count - 1}")
        connection.exec_driver_sql(f"UPDATE quotas SET byte_used = byte_used + {count - 1} WHERE user_id = "
                                   f"{row['owner_id']}")  # fmt: skip


def counted(deed: Callable[[], Any]) -> int:
    """How many statements a deed sends."""
    sent: list[str] = []

    def note(*args: Any) -> None:
        sent.append(args[2])

    event.listen(db.engine, "before_cursor_execute", note)
    try:
        deed()
    finally:
        event.remove(db.engine, "before_cursor_execute", note)
    return len(sent)


def test_a_folder_goes_with_all_below_and_is_one_entry_that_says_where_it_was(vault: Vault) -> None:
    made = tree(vault)
    drop(vault, made["inner"])
    assert names(vault, made["top"]) == {"near.txt"}
    problem(vault.call("GET", f"/files/{made['deep']['id']}"), 404)
    (entry,) = vault.get("/trash")["items"]
    assert (entry["kind"], entry["name"], entry["where"], entry["files"], entry["size"]) == (
        "folder", "Quay", ["Harbour"], 1, 20)  # fmt: skip
    assert entry["folder_id"] == made["top"]["id"]
    drop(vault, made["near"], "file")
    assert in_trash(vault) == [("file", "near.txt"), ("folder", "Quay")]
    assert [item["name"] for item in vault.every("/files", trashed="true")] == ["near.txt", "deep.txt"]
    assert differences() == []


def test_it_comes_back_with_exactly_what_went_with_it(vault: Vault) -> None:
    made = tree(vault)
    before = vault.upload("before.txt", b"b", folder_id=made["inner"]["id"])
    drop(vault, before, "file")
    drop(vault, made["top"])
    assert in_trash(vault) == [("folder", "Harbour"), ("file", "before.txt")]
    assert restore(vault, made["top"])["parent_id"] is None
    assert names(vault, made["top"]) == {"near.txt", "Quay"}
    assert names(vault, made["inner"]) == {"deep.txt"}
    assert in_trash(vault) == [("file", "before.txt")]
    problem(vault.call("POST", f"/folders/{made['top']['id']}/restoration"), 404)
    for model, thing in ((Folder, "top"), (Folder, "inner"), (File, "near"), (File, "deep")):
        history = history_of(model, made[thing]["id"])
        assert [bool(row.deleted) for row in history] == [False, True, False]
        assert_without_gap(history)
    assert vault.content(made["deep"]["id"]).data == b"d" * 20


def test_inside_a_trashed_folder_nothing_is_restored_by_itself_but_files_and_those_land_at_the_top(
    vault: Vault,
) -> None:
    made = tree(vault)
    drop(vault, made["top"])
    problem(vault.call("POST", f"/folders/{made['inner']['id']}/restoration"), 404)
    back = good(vault.call("POST", f"/files/{made['deep']['id']}/restoration")).json
    assert back["folder_id"] is None
    restore(vault, made["top"])
    assert names(vault, made["inner"]) == set()
    assert names(vault) == {"deep.txt", "Harbour"}


def test_a_folder_whose_parent_is_in_the_trash_lands_at_the_top_with_its_tree(vault: Vault) -> None:
    made = tree(vault)
    lower = vault.folder("Lower", made["inner"]["id"])
    drop(vault, made["inner"])
    drop(vault, made["top"])
    assert in_trash(vault) == [("folder", "Harbour"), ("folder", "Quay")]
    vault.folder("Quay")
    back = restore(vault, made["inner"])
    assert (back["parent_id"], back["name"]) == (None, "Quay (1)")
    assert names(vault, back) == {"deep.txt", "Lower"}
    crumbs = vault.folder("Lowest", lower["id"])
    with db.engine.connect() as connection:
        path = connection.scalar(select(Folder.path).where(Folder.uuid == UUID(crumbs["id"])))
        numbers = [
            connection.scalar(select(Folder.id).where(Folder.uuid == UUID(f["id"]))) for f in (back, lower, crumbs)
        ]
    assert path == "/" + "/".join(map(str, numbers)) + "/"


def test_a_stale_or_foreign_folder_stays(vault: Vault, other_vault: Vault) -> None:
    made, theirs = tree(vault), other_vault.folder("Theirs")
    before = traces()
    problem(vault.call("DELETE", f"/folders/{made['top']['id']}", headers={"If-Match": '"9"'}), 412)
    problem(vault.call("DELETE", f"/folders/{theirs['id']}"), 404)
    problem(vault.call("DELETE", f"/trash/{made['top']['id']}"), 404)
    drop(other_vault, theirs)
    problem(vault.call("POST", f"/folders/{theirs['id']}/restoration"), 404)
    problem(vault.call("DELETE", f"/trash/{theirs['id']}"), 404)
    assert traces()["files"] == before["files"]
    assert names(vault, made["top"]) == {"near.txt", "Quay"}


def test_ten_thousand_files_go_and_come_back_by_as_many_statements_as_ten(vault: Vault) -> None:
    small, large = vault.folder("Small"), vault.folder("Large")
    vault.upload("a.txt", b"a", folder_id=small["id"])
    fill(vault, large, 10_000)
    few = counted(lambda: drop(vault, small))
    many = counted(lambda: drop(vault, large))
    assert many <= few + 3  # who asks is looked up again after a second
    (entry, _) = vault.get("/trash")["items"]
    assert (entry["files"], entry["size"]) == (10_000, 10_000)
    with db.engine.connect() as connection:
        opened = select(func.count()).select_from(Placement).where(Placement.valid_to.is_(None), Placement.deleted)
        assert connection.scalar(opened) == 10_003  # with a.txt and both folders
    few = counted(lambda: restore(vault, small))
    many = counted(lambda: restore(vault, large))
    assert many <= few + 3  # who asks is looked up again after a second
    assert len(vault.every("/files", limit=100, folder_id=large["id"])) == 10_000


def test_reserved_ids_are_new_and_not_given_out_again(vault: Vault) -> None:
    with vault.app.app_context():
        before, first, after = next_id(), reserve_ids(10_000), next_id()
    ids = [nth_id(first, number) for number in range(10_000)]
    assert len(set(ids)) == 10_000
    assert before < min(ids)
    assert max(ids) < after


def test_removed_for_good_with_all_inside_and_the_room_given_back_once(vault: Vault) -> None:
    made = tree(vault)
    kept = vault.upload("kept.txt", b"d" * 20)
    apart = vault.upload("apart.txt", b"a" * 5, folder_id=made["inner"]["id"])
    drop(vault, apart, "file")
    alone = vault.folder("Alone", made["inner"]["id"])
    vault.upload("in alone.txt", b"i" * 7, folder_id=alone["id"])
    drop(vault, alone)
    drop(vault, made["top"])
    good(vault.call("DELETE", f"/trash/{made['top']['id']}"), 204)
    assert traces()["charged"] == 20 + 5 + 7
    assert in_trash(vault) == [("folder", "Alone"), ("file", "apart.txt")]
    back = restore(vault, alone)
    assert back["parent_id"] is None
    assert names(vault, back) == {"in alone.txt"}
    assert good(vault.call("POST", f"/files/{apart['id']}/restoration")).json["folder_id"] is None
    assert vault.content(kept["id"]).data == b"d" * 20
    sweep_blobs(young=-1)
    assert differences() == []
    problem(vault.call("DELETE", f"/trash/{made['top']['id']}"), 404)


def test_a_large_folder_leaves_the_trash_at_once_and_a_job_removes_it(vault: Vault, run_jobs: Run) -> None:
    folder = vault.folder("Large")
    fill(vault, folder, 1200)
    drop(vault, folder)
    good(vault.call("DELETE", f"/trash/{folder['id']}"), 204)
    assert in_trash(vault) == []
    assert 0 < traces()["files"] < 1200
    problem(vault.call("POST", f"/folders/{folder['id']}/restoration"), 404)
    run_jobs()
    assert (traces()["files"], traces()["folders"], traces()["charged"]) == (0, 0, 0)
    sweep_blobs(young=-1)
    assert differences() == []


def test_emptying_takes_folders_too(vault: Vault, run_jobs: Run) -> None:
    made = tree(vault)
    drop(vault, made["inner"])
    drop(vault, made["near"], "file")
    drop(vault, made["top"])
    done = good(vault.call("DELETE", "/trash")).json
    run_jobs()
    assert done["files"] == 2
    assert (traces()["files"], traces()["folders"], traces()["charged"]) == (0, 0, 0)
    sweep_blobs(young=-1)
    assert differences() == []


def test_twenty_at_once_trash_restore_and_remove_once(vault: Vault) -> None:
    made = tree(vault)
    path = f"/folders/{made['top']['id']}"

    def at_once(method: str, address: str) -> list[int]:
        with ThreadPoolExecutor(10) as pool:
            answers = [pool.submit(vault.twin().call, method, address) for _ in range(20)]
            return sorted(answer.result().status_code for answer in answers)

    assert at_once("DELETE", path) == [204] + [404] * 19
    assert at_once("POST", f"{path}/restoration") == [200] + [404] * 19
    drop(vault, made["top"])
    assert at_once("DELETE", f"/trash/{made['top']['id']}") == [204] + [404] * 19
    assert traces()["charged"] == 0


@pytest.mark.parametrize("stale", [False, True])
def test_a_person_trashes_and_undoes_by_the_buttons_of_the_pages(vault: Vault, signed_in: Any, stale: bool) -> None:
    made = tree(vault)
    browser, path = signed_in(vault.actor), f"/folders/{made['top']['id']}"
    with vault.app.app_context():
        form = {"csrf_token": csrf_of(browser.get(path).text), "version": "7" if stale else "1"}
        answer = browser.post(f"{path}/trash", data=form)
    if stale:
        assert answer.status_code == 409
        assert in_trash(vault) == []
        return
    assert answer.status_code == 302
    with vault.app.app_context():
        page = browser.get("/trash").text
        assert "Harbour" in page
        address = f"/trash{path}"
        assert browser.get(f"{address}/removal").status_code == 200
        version = str(vault.get("/trash")["items"][0]["version"])
        answer = browser.post(f"{address}/restoration", data={**form, "version": version})
    assert answer.status_code == 302
    assert names(vault, made["top"]) == {"near.txt", "Quay"}
    drop(vault, made["top"])
    with vault.app.app_context():
        version = str(vault.get("/trash")["items"][0]["version"])
        wish = {**form, "version": version, "name": "Harbour"}
        assert browser.post(f"{address}/removal", data=wish).status_code == 302
    assert (in_trash(vault), traces()["files"]) == ([], 0)
