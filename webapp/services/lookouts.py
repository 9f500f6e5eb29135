"""What the tables say to those who keep streams open: whose session still lives, and, without Redis, the news."""

import time
from collections.abc import Collection, Sequence
from typing import Any
from uuid import UUID

from sqlalchemy import BindParameter, bindparam, func

from webapp.db import read_rows
from webapp.infra.ids import EPOCH_MS
from webapp.infra.news import SYNC, News
from webapp.models.audit import AuditEntry
from webapp.models.files import File
from webapp.models.folders import Folder
from webapp.models.jobs import OPEN, Job
from webapp.models.record import any_state, live
from webapp.models.sessions import Session, goes_on, live_identity
from webapp.services.news import OBJECTS, JobChange, news_of_event, news_of_job
from webapp.services.timeouts import session_ends

NEWEST, OLDEST_OPEN, ENTRIES = 100, 100, 1000
OVERLAP_MS = 5000  # a transaction that takes longer than this is not seen by its audit entries

_ids: BindParameter[Any] = bindparam("ids", expanding=True)
_LIVING = live_identity().with_only_columns(Session.id, maintain_column_froms=True).where(Session.id.in_(_ids))
_JOBS = live(Job, Job.id, Job.uuid, Job.state, Job.progress, Job.target_uuid, Job.version)
_OWN = _JOBS.where(Job.owner_id == bindparam("owner_id"))
_NEWEST = _OWN.order_by(Job.id.desc()).limit(NEWEST)
_OPEN = _OWN.where(Job.state.in_(OPEN)).order_by(Job.id).limit(OLDEST_OPEN)
_NAMED = _JOBS.where(Job.id.in_(_ids))
_owner = func.coalesce(File.owner_id, Folder.owner_id, AuditEntry.actor_id).label("owner_id")
_ENTRIES = (
    any_state(AuditEntry, AuditEntry.id, AuditEntry.event, AuditEntry.target_uuid, _owner)
    .outerjoin(File, (AuditEntry.target_type == "file") & (File.uuid == AuditEntry.target_uuid))
    .outerjoin(Folder, (AuditEntry.target_type == "folder") & (Folder.uuid == AuditEntry.target_uuid))
    .where(AuditEntry.id > bindparam("floor"), AuditEntry.target_type.in_(OBJECTS))
    .order_by(AuditEntry.id.desc())
    .limit(ENTRIES)
)


def living_sessions(session_ids: Collection[int]) -> set[int]:
    """Those of them that have neither ended nor run out, of people who may still sign in. One statement."""
    return {row[0] for row in read_rows(_LIVING.where(goes_on(session_ends())), {"ids": list(session_ids)})}


class Lookout:
    """Finds what changed since the last look, whoever changed it. States between two looks are not seen."""

    def __init__(self) -> None:
        self._jobs: dict[int, dict[int, tuple[int, bool]]] = {}
        self._entries: set[int] = set()

    def look(self, owner_ids: Collection[int]) -> list[News]:
        """News of these accounts; an account that was not looked for the last time is told to read everything."""
        for owner_id in set(self._jobs) - set(owner_ids):
            del self._jobs[owner_id]
        news: list[News] = []
        fresh = {owner_id for owner_id in owner_ids if owner_id not in self._jobs}
        changed = self._changed_objects(owner_ids, fresh)
        for owner_id in owner_ids:
            found = self._changed_jobs(owner_id)
            if owner_id in fresh:
                news.append(News(owner_id, SYNC))
            else:
                news += [piece for row in found for piece in news_of_job(_change_of(owner_id, row))]
        return news + changed

    def _changed_jobs(self, owner_id: int) -> Sequence[Any]:
        known = self._jobs.get(owner_id, {})
        rows = {row.id: row for statement in (_NEWEST, _OPEN) for row in read_rows(statement, {"owner_id": owner_id})}
        away = [job_id for job_id, (_, open_) in known.items() if open_ and job_id not in rows]
        rows |= {row.id: row for row in read_rows(_NAMED, {"ids": away})} if away else {}
        self._jobs[owner_id] = {row.id: (row.version, row.state in OPEN) for row in rows.values()}
        return [rows[job_id] for job_id in sorted(rows) if known.get(job_id, (0,))[0] != rows[job_id].version]

    def _changed_objects(self, owner_ids: Collection[int], fresh: Collection[int]) -> list[News]:
        floor = (time.time_ns() // 1_000_000 - OVERLAP_MS - EPOCH_MS) << 22
        rows = list(reversed(read_rows(_ENTRIES, {"floor": floor}))) if owner_ids else []
        unseen = [row for row in rows if row.id not in self._entries and row.owner_id not in fresh]
        self._entries = {row.id for row in rows}
        return [
            piece
            for row in unseen
            if row.owner_id in owner_ids
            for piece in news_of_event(row.owner_id, row.event, row.target_uuid)
        ]


def _change_of(owner_id: int, row: Any) -> JobChange:
    uuid: UUID = row.uuid
    return JobChange(owner_id, uuid, row.state, row.progress, row.target_uuid)
