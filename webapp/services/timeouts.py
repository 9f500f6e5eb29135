"""When a sign-in ends by itself: unused for too long, or simply too old. The settings count at once, for those too
that began under others."""

from datetime import datetime, timedelta

from webapp.infra.clock import now
from webapp.models.sessions import Ends
from webapp.services.settings import in_force


def session_end(started_at: datetime, seen_at: datetime, *, brief: bool) -> datetime:
    """The end of a sign-in that nobody uses after `seen_at`; `brief` is one that the browser was not to keep."""
    values = in_force()
    idle = min(values.session_idle_hours, values.session_brief_hours) if brief else values.session_idle_hours
    return min(seen_at + timedelta(hours=idle), started_at + timedelta(days=values.session_life_days))


def session_ends() -> Ends:
    """The same for a select: who began or was seen before these moments is out."""
    moment, values = now(), in_force()
    idle = timedelta(hours=values.session_idle_hours)
    brief = min(idle, timedelta(hours=values.session_brief_hours))
    return Ends(moment, moment - idle, moment - brief, moment - timedelta(days=values.session_life_days))
