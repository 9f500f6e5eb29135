"""When a cron expression fires next in a time zone, as Debian's cron would (crontab(5), cron(8)).

A fixed time that does not exist on a day fires right after the gap; one that exists twice fires at its first coming.
"""

from collections.abc import Iterator
from datetime import UTC, datetime
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from cronsim import CronSim, CronSimError

from webapp.errors import Invalid

MOST_CHARACTERS = 100
NEVER = "This time never comes, such as 31 February."
FIVE = "Give five fields: minute, hour, day of month, month, day of week."
STEPS = (59, 23, 31, 12, 7)  # the largest of each field
TOO_WIDE = "A step is at most as wide as its field: 59 minutes, 23 hours, 31 days, 12 months, 7 days of the week."
FAULTS = {
    "Bad minute": "The minute is not one that cron knows: 0 to 59, *, */15, 0,30.",
    "Bad hour": "The hour is not one that cron knows: 0 to 23, *, */6, 8-18.",
    "Bad day-of-month": "The day of the month is not one that cron knows: 1 to 31, *, L for the last.",
    "Bad month": "The month is not one that cron knows: 1 to 12, JAN to DEC, *.",
    "Bad day-of-week": "The day of the week is not one that cron knows: 0 to 7 (both Sunday), MON to SUN, MON#1, *.",
}


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
            raise Invalid.field("cron", "never", NEVER) from None
        if instant > moment:  # in the hour that comes twice the library may name its first coming once more
            yield instant
            moment = instant


def refuse_wide_steps(cron: str) -> None:
    """Raise Invalid where a step leaves its field at once, such as */99999: cron would fire at the first value alone.

    For what people type; what is stored goes on firing.
    """
    for field, most in zip(cron.split(), STEPS, strict=False):
        for term in field.split(","):
            step = term.partition("/")[2]
            if step.isdecimal() and int(step) > most:
                raise Invalid.field("cron", "cron", TOO_WIDE)


def _parsed(cron: str, zone: str, moment: datetime) -> CronSim:
    if len(cron) > MOST_CHARACTERS or len(cron.split()) != 5:
        raise Invalid.field("cron", "cron", FIVE)
    try:
        return CronSim(cron, moment.astimezone(_zone(zone)))
    except CronSimError as error:
        if _impossible(cron):
            raise Invalid.field("cron", "never", NEVER) from None
        raise Invalid.field("cron", "cron", FAULTS.get(str(error), FIVE)) from None


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
