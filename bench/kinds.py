"""A kind of job that only the measurement knows, and what the bare worker shares with it."""

from webapp.models.jobs import KINDS, JobKind

NOTHING = "bench.nothing"
SLOTS = 64  # counters of the bare worker's processes, by process id


def know_nothing() -> None:
    """Register it in this process."""
    KINDS[NOTHING] = JobKind(NOTHING, "Nothing")
