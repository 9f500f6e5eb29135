"""The statements that move a job from state to state, built once: each is one round trip and its own transaction."""

from typing import Any

from sqlalchemy import (
    ARRAY,
    BigInteger,
    BindParameter,
    Text,
    any_,
    bindparam,
    cast,
    column,
    func,
    literal,
    tuple_,
)
from sqlalchemy.dialects.postgresql import JSONB
from sqlalchemy.sql.dml import ReturningUpdate, Update

from webapp.models.jobs import Job
from webapp.models.record import Instant, change_rows

STOPPED = "The worker stopped while it ran this job."
LATE = "It was not done by its deadline."

_moment = bindparam("moment", type_=Instant())


def change(*criteria: Any, **values: Any) -> Update:
    """An update of jobs at the moment `moment`."""
    return change_rows(Job, *criteria).values(updated_at=_moment, **values)


def by_dialect(statement: Update, *columns: Any) -> dict[str, ReturningUpdate[Any]]:
    """With its RETURNING. On PostgreSQL the commit waits for no disk: if a crash takes the last moments of a run away,
    the job runs once more, as after any crash, and log order means that effects of a finished job are never younger
    than its end. What people order (replay, cancel) commits synchronously.
    """
    quick = func.set_config("synchronous_commit", "off", True)
    return {"sqlite": statement.returning(*columns), "postgresql": statement.returning(*columns, quick)}


_job_id: BindParameter[int] = bindparam("job_id")
_MINE = (Job.id == _job_id, Job.state == "running", Job.started_at == bindparam("begun", type_=Instant()))
_ids: BindParameter[Any] = bindparam("ids", expanding=True)
_AMONG = {"sqlite": Job.id.in_(_ids), "postgresql": Job.id == any_(bindparam("ids", type_=ARRAY(BigInteger)))}
# `state || ''` keeps PostgreSQL from the partial indexes on state: in a busy queue they hold mostly dead entries, and
# the primary key leads straight to the row.
_STATE = {"sqlite": Job.state, "postgresql": Job.state + literal("")}
_DUE_BY = Job.run_at <= bindparam("due_by", type_=Instant())
_RUN = {"state": "running", "attempts": Job.attempts + 1, "progress": 0, "started_at": _moment,
        "heartbeat_at": _moment, "finished_at": None}  # fmt: skip
START = {
    dialect: by_dialect(
        change(among, _STATE[dialect] == "queued", _DUE_BY, **_RUN),
        Job.id, Job.uuid, Job.name, Job.args, Job.owner_id, Job.request_id, Job.attempts, Job.max_attempts,
        Job.started_at, Job.target_uuid, Job.deadline_at,
    )[dialect] for dialect, among in _AMONG.items()
}  # fmt: skip
_END = {"state": "done", "progress": 100, "error": None, "finished_at": _moment}
_ends = (
    func.unnest(
        bindparam("ids", type_=ARRAY(BigInteger)), bindparam("begun", type_=ARRAY(Instant())),
        bindparam("outcomes", type_=ARRAY(Text)),
    )
    .table_valued(column("id", BigInteger), column("begun", Instant), column("outcome", Text), name="ended")
    .render_derived()
)  # fmt: skip
FINISH = {
    "sqlite": by_dialect(change(*_MINE, **_END, result=bindparam("outcome")), Job.id)["sqlite"],
    "postgresql": by_dialect(
        change(Job.id == _ends.c.id, _STATE["postgresql"] == "running", Job.started_at == _ends.c.begun,
               **_END, result=cast(_ends.c.outcome, JSONB)), Job.id,
    )["postgresql"],
}  # fmt: skip
FAIL = by_dialect(
    change(*_MINE, state=bindparam("next_state"), error=bindparam("reason"), run_at=bindparam("next_run_at"),
            sent_at=None, finished_at=bindparam("ended_at"), result=bindparam("outcome")), Job.id,
)  # fmt: skip
PUT_BACK = by_dialect(
    change(*_MINE, state="queued", sent_at=None, started_at=None, heartbeat_at=None, attempts=Job.attempts - 1), Job.id
)
PROGRESS = by_dialect(change(*_MINE, progress=bindparam("percent"), heartbeat_at=_moment), Job.id)
_RUNS = tuple_(Job.id, Job.started_at).in_(bindparam("runs", expanding=True))
BEAT = by_dialect(change(_RUNS, Job.state == "running", heartbeat_at=_moment), Job.id)
_STANDS = (Job.owner_id, Job.uuid, Job.state, Job.progress, Job.target_uuid, Job.id, Job.attempts, Job.started_at)
_SILENT = (Job.state == "running", Job.heartbeat_at < bindparam("silent_since", type_=Instant()))
PARK = by_dialect(
    change(*_SILENT, Job.attempts >= Job.max_attempts, state="dead", error=STOPPED, finished_at=_moment), *_STANDS
)
TAKE_BACK = by_dialect(
    change(*_SILENT, Job.attempts < Job.max_attempts, state="queued", error=STOPPED, sent_at=None,
            run_at=bindparam("next_run_at")), *_STANDS,
)  # fmt: skip
GIVE_UP = by_dialect(
    change(Job.state == "queued", Job.deadline_at < _moment, state="dead", error=LATE, finished_at=_moment), *_STANDS
)
