"""Time travel: what was there, what going back would change, going back, undoing that; and nothing is lost by it."""

import random
import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from flask import Flask
from flask.testing import FlaskClient

from tests.conftest import csrf_of
from tests.vault import Vault, differences, good, problem, raw
from webapp.policies import Actor
from webapp.services import restorations

Tree = dict[str, tuple[str, str | None]]


def instant() -> str:
    """The present one; what comes after it comes in another millisecond."""
    time.sleep(0.003)
    moment = datetime.now(UTC)
    time.sleep(0.003)
    return moment.isoformat()


def tree(vault: Vault, folder: str | None = None, path: str = "") -> Tree:
    """Every living item below: id -> (path, digest of a file)."""
    found: Tree = {}
    for each in vault.every("/folders", limit=100, **({"parent_id": folder} if folder else {})):
        found[each["id"]] = (f"{path}/{each['name']}", None)
        found |= tree(vault, each["id"], f"{path}/{each['name']}")
    query = {"folder_id": folder} if folder else {}
    for each in vault.every("/files", limit=100, **query):
        if each["folder_id"] == folder:
            found[each["id"]] = (f"{path}/{each['name']}", each["sha256"])
    return found


def rewind(vault: Vault, at: str, folder: str | None = None, **wish: Any) -> Any:
    return good(vault.call("POST", "/restorations", json={"at": at, "folder_id": folder, **wish})).json


def put(vault: Vault, file: str, data: bytes) -> None:
    good(vault.call("PUT", f"/files/{file}/content", **raw(data)))


def names(page: Any) -> list[str]:
    return [item["name"] for item in page["items"]]


def test_a_moved_renamed_replaced_and_trashed_account_comes_back_and_goes_forth_again(vault: Vault) -> None:
    harbour, quay = vault.folder("Harbour"), vault.folder("Quay")
    note = vault.upload("note.txt", b"first", folder_id=harbour["id"])["id"]
    gone, other = vault.upload("gone.txt", b"gone")["id"], vault.upload("other.txt", b"other")["id"]
    before, at = tree(vault), instant()
    good(vault.change(f"/folders/{harbour['id']}", name="Port", parent_id=quay["id"]))
    put(vault, note, b"second")
    good(vault.change(f"/files/{note}", name="notes.txt", folder_id=None))
    good(vault.call("DELETE", f"/files/{gone}"), 204)
    good(vault.change(f"/files/{other}", name="gone.txt"))
    vault.upload("new.txt", b"new", folder_id=vault.folder("New")["id"])
    after = tree(vault)
    plan = rewind(vault, at, preview=True)
    assert (plan["state"], plan["total"], plan["undo_at"]) == ("preview", 6, None)
    assert plan["counts"] == {"moved": 2, "renamed": 3, "trashed": 2, "undeleted": 1, "content": 1}
    assert tree(vault) == after
    done = rewind(vault, at)
    assert (done["state"], done["total"]) == ("done", 6)
    assert tree(vault) == before
    assert vault.content(note).data == b"first"
    assert differences() == []
    assert rewind(vault, at)["total"] == 0
    good(vault.call("GET", f"/files/{note}"))
    rewind(vault, done["undo_at"])
    assert tree(vault) == after
    assert differences() == []
    put(vault, note, b"third")
    assert vault.get(f"/files/{note}")["number"] == 3, "a number is never given twice"


def test_names_that_were_swapped_are_swapped_back(vault: Vault) -> None:
    one, two = vault.upload("one.txt", b"1")["id"], vault.upload("two.txt", b"2")["id"]
    before, at = tree(vault), instant()
    for file, name in ((one, "x"), (two, "one.txt"), (one, "two.txt")):
        good(vault.change(f"/files/{file}", name=name))
    rewind(vault, at)
    assert tree(vault) == before


def test_a_folder_goes_back_alone(vault: Vault) -> None:
    folder, other = vault.folder("Folder")["id"], vault.folder("Other")["id"]
    kept, left = (vault.upload(name, name.encode(), folder_id=folder)["id"] for name in ("kept.txt", "left.txt"))
    guest = vault.upload("guest.txt", b"guest", folder_id=other)["id"]
    outside = vault.upload("outside.txt", b"outside")["id"]
    before, at = tree(vault), instant()
    good(vault.change(f"/files/{left}", folder_id=other))
    good(vault.change(f"/files/{guest}", folder_id=folder))
    good(vault.change(f"/files/{outside}", name="renamed.txt"))
    put(vault, kept, b"replaced")
    made = vault.upload("made.txt", b"made", folder_id=folder)["id"]
    below = vault.folder("Below", folder)["id"]
    rewind(vault, at, folder)
    now = tree(vault)
    assert now.pop(outside) == ("/renamed.txt", before[outside][1])
    assert now == {item: place for item, place in before.items() if item != outside}
    assert {item["id"] for item in vault.get("/trash")["items"]} == {made, below}


def test_a_trashed_folder_comes_back_whole_and_what_goes_with_one_is_one_entry_of_the_trash(vault: Vault) -> None:
    start = instant()
    folder = vault.folder("Harbour")["id"]
    inner = vault.folder("Quay", folder)["id"]
    old = vault.upload("old.txt", b"old", folder_id=inner)["id"]
    there, at = tree(vault), instant()
    new = vault.upload("new.txt", b"new", folder_id=inner)["id"]
    good(vault.call("DELETE", f"/folders/{folder}"), 204)
    rewind(vault, at)
    assert tree(vault) == there
    trash = vault.get("/trash")["items"]
    assert [(item["id"], item["kind"]) for item in trash] == [(new, "file")], "what stays behind lies there by itself"
    good(vault.call("POST", f"/files/{new}/restoration"))
    assert tree(vault)[new][0] == "/Harbour/Quay/new.txt"
    rewind(vault, start)
    assert tree(vault) == {}
    (entry,) = vault.get("/trash")["items"]
    assert (entry["id"], entry["files"]) == (folder, 2)
    good(vault.call("POST", f"/folders/{folder}/restoration"))
    assert set(tree(vault)) == {folder, inner, old, new}
    assert differences() == []


def test_what_is_gone_for_good_is_named_and_the_rest_comes_back(vault: Vault) -> None:
    purged, replaced = vault.upload("purged.txt", b"1")["id"], vault.upload("replaced.txt", b"first")["id"]
    kept = vault.upload("kept.txt", b"2")["id"]
    at = instant()
    for file in (purged, kept):
        good(vault.call("DELETE", f"/files/{file}"), 204)
    good(vault.call("DELETE", f"/trash/{purged}"), 204)
    put(vault, replaced, b"second")
    good(vault.call("DELETE", f"/files/{replaced}/versions/1"), 204)
    plan = rewind(vault, at)
    assert (plan["lost"], plan["kept"], plan["total"]) == (["purged.txt"], ["replaced.txt"], 1)
    assert {place for place, _ in tree(vault).values()} == {"/kept.txt", "/replaced.txt"}
    assert vault.get("/past", query_string={"at": at})["items"][1]["id"] is None
    assert differences() == []


def test_the_past_is_listed_page_by_page_folder_by_folder(vault: Vault) -> None:
    empty = instant()
    folder = vault.folder("Folder")["id"]
    note = vault.upload("note.txt", b"first", folder_id=folder)["id"]
    vault.upload("top.txt")
    at = instant()
    good(vault.change(f"/files/{note}", name="later.txt"))
    put(vault, note, b"second one")
    assert vault.get("/past", query_string={"at": empty})["items"] == []
    assert names(vault.get("/past", query_string={"at": at})) == ["Folder", "top.txt"]
    assert [item["name"] for item in vault.every("/past", limit=1, at=at)] == ["Folder", "top.txt"]
    (item,) = vault.get(f"/folders/{folder}/past", query_string={"at": at})["items"]
    assert (item["name"], item["number"], item["size"], item["id"]) == ("note.txt", 1, 5, note)
    assert names(vault.get(f"/folders/{folder}/past")) == ["later.txt"]


def test_bad_instants_and_folders_are_refused(vault: Vault, other_vault: Vault) -> None:
    later = (datetime.now(UTC) + timedelta(hours=1)).isoformat()
    for wish in ({"at": later}, {"at": "2026-01-01T00:00:00"}, {"at": "yesterday"}, {}, {"at": instant(), "x": 1}):
        problem(vault.call("POST", "/restorations", json=wish), 422)
    folder = other_vault.folder("Theirs")["id"]
    for rest in ({"folder_id": folder}, {"folder_id": "00000000-0000-7000-8000-000000000000"}):
        problem(vault.call("POST", "/restorations", json={"at": instant(), **rest}), 404)
    problem(vault.call("GET", f"/folders/{folder}/past"), 404)
    rewind(vault, "0001-01-01T00:00:00+00:00")


def test_managers_go_back_in_a_folder_without_a_say_outside(vault: Vault, other_vault: Vault, stranger: Actor) -> None:
    folder = vault.folder("Folder")["id"]
    left, kept = (vault.upload(name, name.encode(), folder_id=folder)["id"] for name in ("left.txt", "kept.txt"))
    at = instant()
    good(vault.change(f"/files/{left}", folder_id=None))
    put(vault, kept, b"replaced")
    wish = {"at": at, "folder_id": folder}
    for level, status in (("viewer", 403), ("editor", 403), ("manager", 200)):
        good(vault.call("PUT", f"/folders/{folder}/grants", json={"email": stranger.email, "level": level}))
        answer = good(other_vault.call("POST", "/restorations", json=wish), status)
    assert (answer.json["total"], answer.json["beyond"]) == (1, 1)
    assert {place for place, _ in tree(vault).values()} == {"/Folder", "/Folder/kept.txt", "/left.txt"}


def test_a_circle_is_refused(vault: Vault) -> None:
    scope = vault.folder("Scope")["id"]
    inner = vault.folder("Inner", scope)["id"]
    at = instant()
    good(vault.change(f"/folders/{inner}", parent_id=None))
    good(vault.change(f"/folders/{scope}", parent_id=inner))
    problem(vault.call("POST", "/restorations", json={"at": at, "folder_id": scope}), 409, "cycle")
    rewind(vault, at)
    assert {place for place, _ in tree(vault).values()} == {"/Scope", "/Scope/Inner"}


def test_many_changes_are_made_by_a_job_once(
    vault: Vault, run_jobs: Callable[[], int], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(restorations, "AT_ONCE", 2)
    files = [vault.upload(f"{number}.txt", b"x")["id"] for number in range(4)]
    run_jobs()
    before, at = tree(vault), instant()
    for file in files:
        good(vault.change(f"/files/{file}", name=f"{file}.txt"))
    after = tree(vault)
    answer = rewind(vault, at)
    assert (answer["state"], answer["undo_at"]) == ("queued", None)
    run_jobs()
    assert tree(vault) == before
    job = vault.get(f"/jobs/{answer['job_id']}")
    assert (job["state"], job["result"]["changes"]) == ("done", 4)
    rewind(vault, job["result"]["undo_at"])
    run_jobs()
    assert tree(vault) == after


OPERATIONS = ("upload", "upload", "folder", "rename", "move", "replace", "trash", "untrash", "rename_folder",
              "move_folder", "move_folder", "trash_folder", "untrash", "rewind")  # fmt: skip


@pytest.mark.parametrize("seed", range(4))
def test_whatever_was_done_every_remembered_instant_comes_back_exactly(vault: Vault, seed: int) -> None:
    dice, moments = random.Random(seed), list[tuple[str, Tree]]()
    for number in range(60):
        _do(vault, dice, number, moments)
        if number % 12 == 11:
            moments.append((instant(), tree(vault)))
    moments.append((instant(), tree(vault)))
    for at, known in [*dice.sample(moments, len(moments)), *moments]:
        rewind(vault, at)
        assert tree(vault) == known
    assert differences() == []


def _do(vault: Vault, dice: random.Random, number: int, moments: list[tuple[str, Tree]]) -> None:
    living = tree(vault)
    folders: list[str | None] = [None, *(item for item, (_, digest) in living.items() if digest is None)]
    files = [item for item, (_, digest) in living.items() if digest is not None]
    name, place, deed = f"{dice.randrange(6)}.txt", dice.choice(folders), dice.choice(OPERATIONS)
    some, folder = dice.choice(files or [""]), dice.choice(folders[1:] or [""])
    gone = [f"/{each['kind']}s/{each['id']}" for each in vault.get("/trash")["items"]]
    if deed == "upload":
        vault.try_upload(name, b"%d" % dice.randrange(9), **({"folder_id": place} if place else {}))
    elif deed == "folder":
        vault.call("POST", "/folders", json={"name": name, "parent_id": place})
    elif deed == "rename" and some:
        vault.change(f"/files/{some}", name=name)
    elif deed == "move" and some:
        vault.change(f"/files/{some}", folder_id=place)
    elif deed == "replace" and some:
        put(vault, some, b"%d" % number)
    elif deed == "trash" and some:
        vault.call("DELETE", f"/files/{some}")
    elif deed == "untrash" and gone:
        vault.call("POST", f"{dice.choice(gone)}/restoration")
    elif deed == "trash_folder" and folder:
        vault.call("DELETE", f"/folders/{folder}")
    elif deed == "rename_folder" and folder:
        vault.change(f"/folders/{folder}", name=name)
    elif deed == "move_folder" and folder:
        vault.change(f"/folders/{folder}", parent_id=place)
    elif deed == "rewind" and moments:
        rewind(vault, dice.choice(moments)[0])


def test_the_page_shows_previews_goes_back_and_undoes(
    vault: Vault, signed_in: Callable[[Actor], FlaskClient], member: Actor, app: Flask
) -> None:
    file = vault.upload("before.txt", b"1")["id"]
    at = instant()
    good(vault.change(f"/files/{file}", name="after.txt"))
    browser = signed_in(member)
    assert "/history" in browser.get("/files").text
    page = browser.get("/history", query_string={"at": at}).text
    assert "before.txt" in page
    assert "1 change" in page
    done = browser.post("/history", data={"csrf_token": csrf_of(page), "at": at, "folder_id": ""})
    assert done.status_code == 302
    assert vault.get(f"/files/{file}")["name"] == "before.txt"
    shown = browser.get(done.headers["Location"]).text
    assert "1 change made" in shown
    assert 'action="/history"' in shown
    for bad in ("nonsense", "2999-01-01T00:00:00"):
        assert browser.get("/history", query_string={"at": bad}).status_code == 200
        assert browser.post("/history", data={"csrf_token": csrf_of(page), "at": bad}).status_code == 302
    assert browser.get("/history", query_string={"at": "2020-01-01T00:00:00"}).status_code == 200
