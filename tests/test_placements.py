"""Placements: where every file and folder was at any instant, without a gap since the first upload."""

import itertools
from datetime import datetime
from typing import Any
from uuid import UUID

from sqlalchemy import select

from tests.vault import Vault, good
from webapp.db import db
from webapp.models.files import File
from webapp.models.folders import Folder
from webapp.models.placements import Placement


def history_of(model: Any, item_id: str) -> list[Any]:
    """The item's placements in order, as the database holds them."""
    with db.engine.connect() as connection:
        number = connection.execute(select(model.id).where(model.uuid == UUID(item_id))).scalar_one()
        select_placements = select(Placement.__table__).where(Placement.item_id == number)
        return list(connection.execute(select_placements.order_by(Placement.id)).all())


def number_of(folder_id: str) -> int:
    with db.engine.connect() as connection:
        return connection.execute(select(Folder.id).where(Folder.uuid == UUID(folder_id))).scalar_one()


def assert_without_gap(history: list[Any]) -> None:
    for earlier, later in itertools.pairwise(history):
        assert earlier.valid_to == later.valid_from
        assert earlier.valid_from <= earlier.valid_to
    assert [row.valid_to for row in history if row.valid_to is None] == [None], "exactly one is open"
    assert history[-1].valid_to is None
    assert isinstance(history[0].valid_from, datetime)


def test_every_change_of_a_file_since_its_upload_is_there(vault: Vault) -> None:
    folder = vault.folder("Reports")
    file = vault.upload("a.txt", b"one")
    path = f"/files/{file['id']}"
    good(vault.change(path, name="b.txt"))
    good(vault.change(path, folder_id=folder["id"]))
    good(vault.change(path, name="c.txt", folder_id=None))
    good(vault.call("PUT", f"{path}/content", data=b"two"))
    good(vault.call("DELETE", path), 204)
    good(vault.call("POST", f"{path}/restoration"))
    history = history_of(File, file["id"])
    inside = number_of(folder["id"])
    assert [(row.name, row.parent_id, row.number, bool(row.deleted)) for row in history] == [
        ("a.txt", None, 1, False),
        ("b.txt", None, 1, False),
        ("b.txt", inside, 1, False),
        ("c.txt", None, 1, False),
        ("c.txt", None, 2, False),
        ("c.txt", None, 2, True),
        ("c.txt", None, 2, False),
    ]
    assert_without_gap(history)


def test_every_change_of_a_folder_is_there(vault: Vault) -> None:
    top, folder = vault.folder("Top"), vault.folder("One")
    path = f"/folders/{folder['id']}"
    good(vault.change(path, name="Two"))
    good(vault.change(path, parent_id=top["id"]))
    good(vault.change(path, name="Three", parent_id=None))
    history = history_of(Folder, folder["id"])
    above = number_of(top["id"])
    assert [(row.name, row.parent_id, row.item_type) for row in history] == [
        ("One", None, "folder"), ("Two", None, "folder"), ("Two", above, "folder"), ("Three", None, "folder"),
    ]  # fmt: skip
    assert_without_gap(history)


def test_a_file_restored_under_another_name_is_placed_under_it(vault: Vault) -> None:
    file = vault.upload("a.txt", b"one")
    good(vault.call("DELETE", f"/files/{file['id']}"), 204)
    vault.upload("a.txt", b"two")
    good(vault.call("POST", f"/files/{file['id']}/restoration"))
    history = history_of(File, file["id"])
    assert [(row.name, bool(row.deleted)) for row in history] == [
        ("a.txt", False),
        ("a.txt", True),
        ("a (1).txt", False),
    ]
    assert_without_gap(history)


def test_what_changes_neither_name_nor_place_nor_content_places_nothing(vault: Vault) -> None:
    file, folder = vault.upload("a.txt", b"one"), vault.folder("One")
    good(vault.change(f"/files/{file['id']}", description="Draft", tags=["x"]))
    good(vault.change(f"/files/{file['id']}", name="a.txt", folder_id=None))
    good(vault.change(f"/folders/{folder['id']}", name="One", parent_id=None))
    assert len(history_of(File, file["id"])) == 1
    assert len(history_of(Folder, folder["id"])) == 1


def test_a_refused_change_places_nothing(vault: Vault) -> None:
    file = vault.upload("a.txt", b"one")
    vault.upload("b.txt", b"two")
    good(vault.change(f"/files/{file['id']}", name="b.txt"), 409)
    good(vault.change(f"/files/{file['id']}", version=9, name="c.txt"), 412)
    assert [row.name for row in history_of(File, file["id"])] == ["a.txt"]
