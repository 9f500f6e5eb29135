"""When a cron expression fires next in a time zone, as Debian's cron would (crontab(5), cron(8)).

A fixed time that does not exist on a day fires right after the gap; one that exists twice fires at its first coming.
"""

from collections.abc import Iterator
from datetime import UTC, datetime
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from cronsim import CronSim, CronSimError

from webapp.errors import Invalid

MOST_CHARACTERS = 100


def next_after(cron: str, zone: str, moment: datetime) -> datetime:
    """The first instant after `moment`, UTC. Raises Invalid for a broken expression, one that never fires, a zone."""
    return next(firings(cron, zone, moment))


def firings(cron: str, zone: str, moment: datetime) -> Iterator[datetime]:
    """The instants after `moment`, ascending, UTC. Raises Invalid as next_after does, at the first of them."""
    clock = _parsed(cron, zone, moment)
    while True:
        try:
            instant = next(clock).astimezone(UTC)
        except (StopIteration, OverflowError, ValueError):
            raise Invalid.field("cron", "never", "This time never comes, such as 31 February.") from None
        if instant > moment:  # in the hour that comes twice the library may name its first coming once more
            yield instant
            moment = instant


def _parsed(cron: str, zone: str, moment: datetime) -> CronSim:
    if len(cron) > MOST_CHARACTERS or len(cron.split()) != 5:
        raise Invalid.field("cron", "cron", "Give five fields: minute, hour, day of month, month, day of week.")
    try:
        return CronSim(cron, moment.astimezone(_zone(zone)))
    except CronSimError as error:
        message = "This time never comes, such as 31 February." if _impossible(cron) else f"{error}."
        raise Invalid.field("cron", "never" if _impossible(cron) else "cron", message) from None


def _impossible(cron: str) -> bool:
    """Whether the fields are fine each by itself: then it is the day that no month has."""
    minute, hour, day, month, weekday = cron.split()
    alone = (f"{minute} * * * *", f"* {hour} * * *", f"* * {day} * *", f"* * * {month} *", f"* * * * {weekday}")
    try:
        for expression in alone:
            CronSim(expression, datetime(2024, 1, 1, tzinfo=UTC))
    except CronSimError:
        return False
    return True


def _zone(name: str) -> ZoneInfo:
    try:
        return ZoneInfo(name)
    except (ZoneInfoNotFoundError, ValueError, OSError):
        raise Invalid.field("zone", "time_zone", "This time zone is not known.") from None
