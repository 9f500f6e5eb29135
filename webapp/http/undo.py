"""Messages that offer to take the last deed back: a form that posts the former state."""

from typing import Any
from uuid import UUID

from flask import flash


def flash_undo(text: str, action: str, **fields: str | int | UUID | None) -> None:
    """Show `text` once on the next page, with an Undo button that posts `fields` to `action`."""
    shown = {name: "" if value is None else str(value) for name, value in fields.items()}
    message: Any = {"text": text, "action": action, "fields": shown}  # flash() is typed for strings, carries any JSON
    flash(message, "undo")
