"""The numbers around every page, in one select: how much is stored, how many jobs run."""

import msgspec
from sqlalchemy import bindparam, func

from webapp.db import read_row
from webapp.models.jobs import Job
from webapp.models.record import any_state, live
from webapp.models.users import Quota
from webapp.policies import Actor

_RUNNING = live(Job, func.count(Job.id)).where(Job.owner_id == Quota.user_id, Job.state == "running")
_METERS = any_state(
    Quota, Quota.byte_used, Quota.byte_limit, _RUNNING.correlate(Quota).scalar_subquery().label("running")
).where(Quota.user_id == bindparam("user_id"))


class Meters(msgspec.Struct, frozen=True, kw_only=True):
    """Bytes held and allowed, jobs that run at this moment."""

    used: int = 0
    limit: int = 0
    running: int = 0


def read_meters(actor: Actor) -> Meters:
    """The actor's numbers. Raises Unavailable."""
    row = read_row(_METERS, {"user_id": actor.id})
    return Meters(used=row.byte_used, limit=row.byte_limit, running=row.running) if row else Meters()
