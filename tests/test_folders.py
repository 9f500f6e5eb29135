"""Folders over the API: made, renamed, moved with all that is in them, never into themselves."""

from concurrent.futures import ThreadPoolExecutor
from typing import Any
from uuid import UUID, uuid4

import pytest
from sqlalchemy import select

from tests.vault import Vault, good, problem, traces
from webapp.db import db
from webapp.models.folders import MAX_DEPTH, Folder
from webapp.services import access, folders
from webapp.services.folders import FolderChange


def chain(vault: Vault, length: int, top: str | None = None) -> list[str]:
    """Folders inside one another; their ids from the outermost."""
    ids: list[str] = []
    for level in range(length):
        ids.append(vault.folder(f"level {level}", ids[-1] if ids else top)["id"])
    return ids


def paths() -> dict[str, str]:
    """Path of every folder by its public id."""
    with db.engine.connect() as connection:
        return {str(row.uuid): row.path for row in connection.execute(select(Folder.uuid, Folder.path))}


def assert_paths_follow_parents() -> None:
    """Every path is the parent's path and the own id: no cycle, nothing left behind by a move."""
    with db.engine.connect() as connection:
        rows = {row.id: row for row in connection.execute(select(Folder.id, Folder.parent_id, Folder.path))}
    for row in rows.values():
        above = rows[row.parent_id].path if row.parent_id else "/"
        assert row.path == f"{above}{row.id}/"


def statements(path: str, vault: Vault, **wish: Any) -> int:
    """How many statements a change took, as Server-Timing tells, when it is known who asks."""
    vault.get("/users/me")
    answer = good(vault.change(path, **wish))
    return int(answer.headers["Server-Timing"].rsplit('desc="', 1)[1].rstrip('"'))


def test_a_folder_is_made_shown_and_listed(vault: Vault) -> None:
    answer = good(vault.call("POST", "/folders", json={"name": "Reports"}), 201)
    folder = answer.json
    assert answer.headers["Location"] == f"/api/v1/folders/{folder['id']}"
    assert answer.headers["ETag"] == '"1"'
    assert folder.keys() == {"id", "name", "parent_id", "created_at", "updated_at", "version"}
    assert vault.get(f"/folders/{folder['id']}") == folder
    assert vault.get("/folders")["items"] == [folder]
    inner = vault.folder("2026", folder["id"])
    assert inner["parent_id"] == folder["id"]
    assert vault.get("/folders", query_string={"parent_id": folder["id"]})["items"] == [inner]
    assert vault.get("/folders")["items"] == [folder]


def test_folders_page_by_name_and_answer_part_of_a_name(vault: Vault) -> None:
    names = ["alpha", "Beta", "beta 2", "beta 10", "gamma", "100%", "100x", "a_b", "axb"]
    for name in names:
        vault.folder(name)
    found = [item["name"] for item in vault.every("/folders", limit=2)]
    assert found == [item["name"] for item in vault.get("/folders", query_string={"limit": "100"})["items"]]
    assert [name for name in found if "eta" in name] == ["Beta", "beta 2", "beta 10"]
    for part, wanted in (("eta", 3), ("100%", 1), ("a_b", 1), ("BETA", 3), ("%", 1), ("nothing", 0)):
        assert len(vault.every("/folders", q=part)) == wanted, part


def test_renaming_keeps_the_id_and_raises_the_version(vault: Vault) -> None:
    folder = vault.folder("Old")
    renamed = good(vault.change(f"/folders/{folder['id']}", version=1, name="New")).json
    assert (renamed["name"], renamed["id"], renamed["version"]) == ("New", folder["id"], 2)
    problem(vault.change(f"/folders/{folder['id']}", version=1, name="Late"), 412, "stale_version")
    assert vault.get(f"/folders/{folder['id']}")["name"] == "New"
    vault.folder("Old")


def test_a_folder_and_a_file_of_one_place_cannot_share_a_name(vault: Vault) -> None:
    folder, inner = vault.folder("Taken"), vault.folder("Inner")
    file = vault.upload("note.txt")
    before = traces()
    problem(vault.try_upload("Taken", b"x"), 409, "name_taken")
    problem(vault.call("POST", "/folders", json={"name": "note.txt"}), 409, "name_taken")
    problem(vault.call("POST", "/folders", json={"name": "Taken"}), 409, "name_taken")
    problem(vault.change(f"/folders/{inner['id']}", name="note.txt"), 409, "name_taken")
    problem(vault.change(f"/files/{file['id']}", name="Taken"), 409, "name_taken")
    assert traces() == before
    vault.folder("Taken", inner["id"])
    problem(vault.change(f"/folders/{folder['id']}", parent_id=inner["id"]), 409, "name_taken")
    vault.upload("note.txt", b"x", folder_id=inner["id"])
    problem(vault.change(f"/files/{file['id']}", folder_id=inner["id"]), 409, "name_taken")


def test_a_move_takes_the_whole_subtree_along(vault: Vault) -> None:
    top, goal = chain(vault, 3), vault.folder("Goal")["id"]
    side = vault.folder("side", top[1])["id"]
    file = vault.upload("deep.txt", b"x", folder_id=top[2])
    good(vault.change(f"/folders/{top[0]}", parent_id=goal))
    found = paths()
    assert found[top[0]].startswith(found[goal])
    assert found[top[2]].startswith(found[top[1]])
    assert found[side].startswith(found[top[1]])
    assert_paths_follow_parents()
    assert vault.get(f"/files/{file['id']}")["folder_id"] == top[2]
    assert good(vault.change(f"/folders/{top[0]}", parent_id=None)).json["parent_id"] is None
    assert_paths_follow_parents()


def test_a_move_of_many_folders_costs_as_many_statements_as_of_one(vault: Vault) -> None:
    goal, lone, full = vault.folder("Goal")["id"], vault.folder("Lone")["id"], vault.folder("Full")["id"]
    for number in range(40):
        vault.folder(f"inner {number}", full)
    few, many = (
        min(statements(f"/folders/{moved}", vault, parent_id=place) for place in (goal, None, goal, None))
        for moved in (lone, full)
    )
    assert few == many <= 20  # three of them take, prove and leave the lock of the tree
    assert_paths_follow_parents()


def test_a_folder_cannot_be_moved_into_itself_or_below(vault: Vault) -> None:
    ids = chain(vault, 3)
    before = traces(), paths()
    for goal in ids:
        problem(vault.change(f"/folders/{ids[0]}", parent_id=goal), 409, "cycle")
    problem(vault.change(f"/folders/{ids[1]}", parent_id=ids[2], name="both"), 409, "cycle")
    assert (traces(), paths()) == before
    assert vault.get(f"/folders/{ids[1]}")["name"] == "level 1"


def test_two_opposite_moves_at_once_never_make_a_cycle(vault: Vault) -> None:
    for round_ in range(6):
        one, two = vault.folder(f"one {round_}")["id"], vault.folder(f"two {round_}")["id"]
        with ThreadPoolExecutor(2) as pool:
            moves = [
                pool.submit(vault.twin().change, f"/folders/{a}", parent_id=b) for a, b in ((one, two), (two, one))
            ]
            answers = [move.result() for move in moves]
        assert sorted(answer.status_code for answer in answers) in ([200, 409], [200, 503])
        assert_paths_follow_parents()


def test_64_levels_are_allowed_and_65_are_not(vault: Vault) -> None:
    ids = chain(vault, MAX_DEPTH)
    fault = problem(vault.call("POST", "/folders", json={"name": "x", "parent_id": ids[-1]}), 422)["errors"][0]
    assert (fault["field"], fault["code"]) == ("parent_id", "too_deep")
    pair = chain(vault, 2, top=vault.folder("Side")["id"])
    problem(vault.change(f"/folders/{pair[0]}", parent_id=ids[-2]), 422)
    good(vault.change(f"/folders/{pair[0]}", parent_id=ids[-3]))
    assert_paths_follow_parents()


def test_a_parent_of_somebody_else_looks_like_one_that_is_not_there(vault: Vault, other_vault: Vault) -> None:
    theirs, mine = other_vault.folder("Theirs")["id"], vault.folder("Mine")["id"]
    file = vault.upload("x.txt")
    before = traces()
    for goal in (theirs, str(uuid4())):
        faults = [
            problem(vault.call("POST", "/folders", json={"name": "x", "parent_id": goal}), 422),
            problem(vault.change(f"/folders/{mine}", parent_id=goal), 422),
            problem(vault.change(f"/files/{file['id']}", folder_id=goal), 422),
            problem(vault.try_upload("y.txt", b"x", folder_id=goal), 422),
            problem(vault.send_form(("y.txt", b"x"), folder_id=goal), 422),
        ]
        assert [fault["errors"][0]["code"] for fault in faults] == ["unknown_folder"] * 5
        told = {(fault["detail"], fault["errors"][0]["message"]) for fault in faults}
        assert told == {("There is no such folder.", "There is no such folder.")}
        for path in ("/folders", "/files"):
            field = "parent_id" if path == "/folders" else "folder_id"
            problem(vault.call("GET", path, query_string={field: goal}), 404)
    assert traces() == before


def test_nothing_to_change_changes_nothing(vault: Vault) -> None:
    folder = vault.folder("Same")
    same = good(vault.change(f"/folders/{folder['id']}", name="Same", parent_id=None)).json
    assert same == folder


def test_a_stale_object_in_a_service_is_a_conflict(vault: Vault) -> None:
    folder = vault.folder("One")
    folders.change_folder(vault.actor, UUID(folder["id"]), FolderChange(name="Two"), expected=1)
    with pytest.raises(folders.Stale):
        folders.change_folder(vault.actor, UUID(folder["id"]), FolderChange(name="Three"), expected=1)


def test_twenty_folders_of_one_name_made_at_once_are_one(vault: Vault) -> None:
    with ThreadPoolExecutor(10) as pool:
        wishes = [pool.submit(vault.twin().call, "POST", "/folders", json={"name": "Same"}) for _ in range(20)]
        answers = [wish.result() for wish in wishes]
    assert sorted(answer.status_code for answer in answers) == [201] + [409] * 19
    assert len(vault.get("/folders")["items"]) == 1


def test_asking_whose_tree_it_is_begins_no_transaction_that_a_lost_database_would_spoil(vault: Vault) -> None:
    folder = vault.folder("Mine")
    db.session.rollback()
    assert access.owner_of(Folder, UUID(folder["id"]), vault.actor) == vault.actor.id
    assert not db.session().in_transaction()
