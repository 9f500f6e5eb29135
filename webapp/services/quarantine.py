"""What the virus scanner found in the vault: for administrators, newest first."""

from datetime import datetime
from typing import Annotated, Any
from uuid import UUID

import msgspec
from pydantic import Field

from webapp.db import read_rows
from webapp.models.files import any_infected
from webapp.policies import Actor, require
from webapp.services.cursors import Page, decode_cursor, page_of
from webapp.services.inputs import Input


class QuarantineQuery(Input):
    """A page of what is locked away."""

    limit: Annotated[int, Field(ge=1, le=100)] = 25
    cursor: Annotated[str | None, Field(max_length=2000)] = None


class InfectedView(msgspec.Struct, frozen=True, kw_only=True):
    """A version of a file in which a virus was found. `current`: it is what the file holds now; `trashed`: the file is
    in its owner's trash.
    """

    file_id: UUID
    name: str
    number: int
    current: bool
    trashed: bool
    owner_id: UUID
    owner: str
    virus: str
    size: int
    sha256: str
    uploaded_at: datetime
    found_at: datetime


def list_infected(actor: Actor, query: QuarantineQuery) -> Page[InfectedView]:
    """All of them. Raises Refused for who does not see everybody's files, Invalid for a foreign cursor."""
    require(actor, "vault.read")
    chosen = any_infected().limit(query.limit + 1)
    if query.cursor:
        chosen = chosen.where(chosen.selected_columns.row_id < decode_cursor(query.cursor, (int,), of="quarantine")[0])
    return page_of(read_rows(chosen), query.limit, _view, lambda row: (row.row_id,), of="quarantine")


def _view(row: Any) -> InfectedView:
    return InfectedView(file_id=row.uuid, name=row.name, number=row.number, current=row.number == row.newest,
                        trashed=row.deleted_at is not None, owner_id=row.owner_uuid, owner=row.owner,
                        virus=row.infected_with, size=row.size, sha256=row.sha256, uploaded_at=row.created_at,
                        found_at=row.scanned_at)  # fmt: skip
