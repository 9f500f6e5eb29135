"""Stored bytes that are not what was uploaded: noted once on the blob, and for each file that holds it."""

from webapp.db import db, transactional
from webapp.infra.clock import now
from webapp.models.files import Blob, any_blob_at, any_holders, any_locked_blob
from webapp.policies import system_actor
from webapp.services.events import Target, record


@transactional
def note_damage(key: str) -> None:
    """Mark the blob that lies under this key, if it is still one's; its next download is refused."""
    blob_id = db.session.scalar(any_blob_at(key))
    blob = None if blob_id is None else db.session.scalar(any_locked_blob(blob_id))
    if blob is not None and blob.storage_key == key:
        mark_damaged(blob)


def mark_damaged(blob: Blob) -> None:
    """Note it on the locked blob, and the first time file.damaged for each file that has these bytes in a version."""
    fresh, blob.damaged_at = blob.damaged_at is None, now()
    if fresh:
        for file in db.session.execute(any_holders(blob.id)).all():
            record(system_actor(), "file.damaged", Target("file", *file), {"sha256": (blob.sha256, None)})
