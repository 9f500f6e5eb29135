"""Tokens that are limited to a folder: what is outside is not there, and what is no file or folder is refused."""

from typing import NoReturn
from uuid import UUID

from webapp.db import read_row
from webapp.errors import Refused
from webapp.models.access import live_spot_of_folder, live_spots
from webapp.policies import Actor
from webapp.services.access import outside, refuse_missing


def refuse_outside(actor: Actor, file_id: UUID | None = None, folder_id: UUID | None = None) -> None:
    """Raise Missing for a file or folder outside, whether it is there or not. Costs nothing without a limit."""
    if actor.root is None:
        return
    for statement, noun in (
        (None if file_id is None else live_spots([file_id]), "file"),
        (None if folder_id is None else live_spot_of_folder(folder_id), "folder"),
    ):
        row = None if statement is None else read_row(statement)
        if statement is not None and (row is None or outside(actor, row.path)):
            refuse_missing(noun)


def refuse_top(actor: Actor) -> None:
    """Raise Refused where a token that is limited to a folder names none: the top lies outside."""
    if actor.root is not None:
        raise Refused("This token is limited to a folder: name that one or one inside.", code="outside_folder")


def refuse_elsewhere() -> NoReturn:
    """Raise Refused for what such a token has no business with."""
    raise Refused("This token is limited to the files and folders of one folder.", code="outside_folder")
