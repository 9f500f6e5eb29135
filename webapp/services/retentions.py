"""How long former contents of files stay, by count and by age, as the settings say. Upkeep removes the rest.

The present content, the newest one and those that somebody named always stay.
"""

from collections import Counter
from collections.abc import Collection
from datetime import datetime, timedelta

from webapp.db import db, read_rows, transactional
from webapp.errors import Unavailable
from webapp.infra.clock import now
from webapp.models.versions import (
    any_files_named,
    any_files_with_versions,
    any_prunable,
    any_sizes_of,
    removed_versions,
)
from webapp.policies import system_actor
from webapp.services.blobs import release_blobs
from webapp.services.events import Target, record
from webapp.services.quotas import give_back, lock_tree
from webapp.services.settings import read_values

BATCH = 200  # files of one look


def prune_versions() -> int:
    """Remove what stays no longer, owner by owner, each in a short transaction of its own. Returns how many went."""
    values, count, after = read_values(), 0, 0
    if not values.versions_kept and not values.version_retention_days:
        return 0
    days = values.version_retention_days
    before = now() - timedelta(days=days) if days else None
    while rows := read_rows(any_files_with_versions(), {"after": after, "rows": BATCH}):
        owners: dict[int, list[int]] = {}
        for row in rows:
            owners.setdefault(row.owner_id, []).append(row.file_id)
        for owner_id, files in owners.items():
            if read_rows(any_prunable(files, values.versions_kept, before).limit(1)):
                count += _prune_unless_busy(owner_id, files, values.versions_kept, before)
        after = rows[-1].file_id
    return count


def _prune_unless_busy(owner_id: int, files: Collection[int], kept: int, before: datetime | None) -> int:
    try:
        return _prune(owner_id, files, kept, before)
    except Unavailable:  # somebody holds the tree; the next night comes
        return 0


@transactional
def _prune(owner_id: int, files: Collection[int], kept: int, before: datetime | None) -> int:
    """Looked for again under the lock: somebody may have named or restored one meanwhile."""
    lock_tree(owner_id)
    ids = list(db.session.scalars(any_prunable(files, kept, before)))
    gone = remove_versions(owner_id, ids)
    for file in db.session.execute(any_files_named(gone)):
        target = Target("file", file.uuid, file.name, owner_id)
        record(system_actor(), "file.versions_pruned", target, {"versions": (sorted(gone[file.id]), None)})
    return len(ids)


def remove_versions(owner_id: int, ids: Collection[int]) -> dict[int, list[int]]:
    """Remove these versions of the owner's files: blobs lose the references, the owner gets the room back. Must run
    under the lock of the owner's tree; returns the numbers that went of each file."""
    gone = db.session.execute(removed_versions(ids)).all() if ids else []
    if not gone:
        return {}
    named = Counter(row.blob_id for row in gone)
    sizes = {row.id: row.size for row in db.session.execute(any_sizes_of(named))}
    release_blobs(named)
    give_back(owner_id, sum(sizes[row.blob_id] for row in gone))
    numbers: dict[int, list[int]] = {}
    for row in gone:
        numbers.setdefault(row.file_id, []).append(row.number)
    return numbers
