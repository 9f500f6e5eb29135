"""The history of where things were: each change closes the open placement of an item and opens the next."""

from collections.abc import Sequence
from datetime import datetime
from typing import Any

from sqlalchemy import ColumnElement, insert, update

from webapp.db import db
from webapp.infra.clock import now
from webapp.infra.ids import next_id, reserve_ids
from webapp.models.files import File
from webapp.models.folders import Folder
from webapp.models.placements import Placement
from webapp.models.trash import any_many, any_open_placements, close_placements


def place(item: File | Folder) -> None:
    """Note the item's present name, parent, version and state. Must run inside the transaction of the change."""
    moment = now()
    at: dict[str, Any] = (
        {"item_type": "file", "parent_id": item.folder_id, "number": item.number}
        if isinstance(item, File)
        else {"item_type": "folder", "parent_id": item.parent_id, "number": None}
    )
    opened = (Placement.item_id == item.id) & Placement.valid_to.is_(None)
    db.session.execute(update(Placement).where(opened).values(valid_to=moment))
    db.session.execute(
        insert(Placement).values(
            id=next_id(), item_id=item.id, owner_id=item.owner_id, name=item.name,
            deleted=item.deleted_at is not None, valid_from=moment, **at,
        )
    )  # fmt: skip


def displace(item: File | Folder) -> None:
    """Close the item's history: it is nowhere any more. Must run inside the transaction that removes it."""
    opened = (Placement.item_id == item.id) & Placement.valid_to.is_(None)
    db.session.execute(update(Placement).where(opened).values(valid_to=now()))


def place_many(rows: Sequence[dict[str, Any]], moment: datetime) -> None:
    """Note the states of many items, all changed at this moment. Must run inside the transaction of the change."""
    for start in range(0, len(rows), 1000):
        part = rows[start : start + 1000]
        opened = Placement.item_id.in_([row["item_id"] for row in part]) & Placement.valid_to.is_(None)
        db.session.execute(update(Placement).where(opened).values(valid_to=moment))
        db.session.execute(insert(Placement), [{**row, "id": next_id(), "valid_from": moment} for row in part])


def place_set(model: type[File | Folder], which: ColumnElement[bool]) -> int:
    """The same as place() for a set of items, in three statements however many they are; returns how many."""
    moment, count = now(), int(db.session.scalar(any_many(model, which)) or 0)
    if count:
        db.session.execute(close_placements(model, which, moment))
        db.session.execute(any_open_placements(model, which, moment, reserve_ids(count)))
    return count


def displace_set(model: type[File | Folder], which: ColumnElement[bool]) -> None:
    """The same as displace() for a set of items, in one statement."""
    db.session.execute(close_placements(model, which, now()))
