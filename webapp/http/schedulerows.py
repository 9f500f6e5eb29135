"""How pages show schedules: cron in words where it is simple, when it runs next, how the last run went."""

from datetime import time
from typing import Any

from flask import url_for
from flask_babel import format_time, get_locale, lazy_gettext
from flask_babel import gettext as _

from webapp.http.formats import ago, due, exact, on_day
from webapp.http.jobrows import STATES, TITLES
from webapp.http.merges import Answer, choice, merge_page
from webapp.http.rows import zone_words
from webapp.policies import Actor
from webapp.services.cursors import Page
from webapp.services.schedules import Firings, ScheduleView

SCHEDULE_TITLES = {
    "sweep-blobs": lazy_gettext("Sweep of orphaned bytes"),
    "sweep-expired": lazy_gettext("Removal of expired entries"),
    "purge-trash": lazy_gettext("Removal of old trash"),
    "scrub-blobs": lazy_gettext("Check of stored bytes"),
    "scan-blobs": lazy_gettext("Virus scan of stored files"),
    "erase-accounts": lazy_gettext("Erasure of deleted accounts"),
    "verify-audit": lazy_gettext("Check of the audit trail"),
    "mail-digest": lazy_gettext("Digest mail"),
}
PURPOSES = {
    "upkeep.sweep_blobs": lazy_gettext("Frees the disk of bytes that no file names any more."),
    "upkeep.sweep_expired": lazy_gettext("Forgets ended sign-ins, old jobs and answers that nobody asks for again."),
    "upkeep.purge_trash": lazy_gettext("Removes trashed files for good once they have lain there long enough."),
    "upkeep.scrub_blobs": lazy_gettext("Reads part of the store again and finds damage before a person does."),
    "upkeep.scan_blobs": lazy_gettext("Has the virus scanner look at files again: it learns of new viruses every day."),
    "upkeep.verify_audit": lazy_gettext("Computes the chain of the audit trail again and names what was changed."),
    "upkeep.erase_accounts": lazy_gettext("Removes files and all that is personal of accounts deleted long ago."),
    "mails.digest": lazy_gettext("Tells administrators what was given up, damaged or paused, when anything was."),
}
CATCH_UPS = {
    "once": lazy_gettext("Run once what was missed"),
    "skip": lazy_gettext("Wait for the next time"),
}


def schedule_rows(actor: Actor, page: Page[ScheduleView]) -> dict[str, Any]:
    """Variables of the list."""
    here = url_for("schedules_pages.list_schedules")
    return {
        "rows": [schedule_row(actor, schedule) for schedule in page.items],
        "next_url": f"{here}?cursor={page.next_cursor}" if page.next_cursor else None,
        "writes": actor.can("schedules.write"),
    }


def schedule_row(actor: Actor, schedule: ScheduleView) -> dict[str, Any]:
    """One schedule, formatted."""
    here = f"/admin/schedules/{schedule.id}"
    state, tone = STATES.get(schedule.last_state or "", ("", "plain"))
    return {
        "id": schedule.id, "version": schedule.version, "url": here, "run_url": f"{here}/runs",
        "name": schedule.name, "title": str(SCHEDULE_TITLES.get(schedule.name, schedule.title)),
        "job": str(TITLES.get(schedule.job, schedule.job)), "purpose": str(PURPOSES.get(schedule.job, "")),
        "cron": schedule.cron, "zone": schedule.zone, "catch_up": schedule.catch_up, "enabled": schedule.enabled,
        "words": in_words(schedule.cron),
        "next": schedule.next_at, "next_text": due(schedule.next_at), "next_exact": exact(schedule.next_at),
        "last": schedule.last_at, "last_text": ago(schedule.last_at), "last_exact": exact(schedule.last_at),
        "state_text": str(state), "tone": tone,
        "job_url": f"/jobs/{schedule.last_job}" if schedule.last_job and actor.can("jobs.read") else None,
    }  # fmt: skip


def merge_schedule(actor: Actor, schedule: ScheduleView) -> Answer:
    """What was saved meanwhile beside what the form holds; its buttons for pausing have one field, it has three."""
    row = schedule_row(actor, schedule)
    states = {"true": _("Runs"), "false": _("Paused")}
    fields = [
        choice("enabled", _("State"), str(schedule.enabled).lower(), lambda value: states.get(value, value)),
        choice("cron", _("Cron expression"), schedule.cron),
        choice("zone", _("Time zone"), schedule.zone, zone_words),
        choice("catch_up", _("After a downtime"), schedule.catch_up, lambda rule: str(CATCH_UPS.get(rule, rule))),
    ]
    return merge_page(row["title"], row["url"], schedule.version, row["url"], fields)


def firing_rows(firings: Firings) -> list[dict[str, Any]]:
    """The next firings, each relative and exact, with its weekday: most rules are about those."""
    return [{"at": at, "text": due(at), "exact": on_day(at)} for at in firings.items]


def in_words(cron: str) -> str:
    """A simple cron expression as people say it; "" for one that is better read as it is."""
    minute, hour, day, month, weekday = cron.split() if len(cron.split()) == 5 else [""] * 5
    if month != "*":
        return ""
    if (hour, day, weekday) == ("*", "*", "*"):
        return _minutes(minute)
    if not (minute.isdecimal() and hour.isdecimal() and int(minute) < 60 and int(hour) < 24):
        return ""
    return _days(day, weekday, format_time(time(int(hour), int(minute)), "HH:mm", rebase=False))


def _minutes(minute: str) -> str:
    if minute in {"*", "*/1"}:
        return str(_("Every minute"))
    if minute.startswith("*/") and minute[2:].isdecimal() and 60 % max(1, int(minute[2:])) == 0:
        return str(_("Every %(num)d minutes", num=int(minute[2:])))
    return str(_("Every hour at minute %(num)d", num=int(minute))) if minute.isdecimal() else ""


def _days(day: str, weekday: str, at: str) -> str:
    if (day, weekday) == ("*", "*"):
        return str(_("Every day at %(time)s", time=at))
    if day == "*" and weekday == "1-5":
        return str(_("Monday to Friday at %(time)s", time=at))
    if day == "*" and len(weekday) == 1 and weekday in "01234567":
        name = get_locale().days["format"]["wide"][(int(weekday) + 6) % 7]
        return str(_("Every %(day)s at %(time)s", day=name, time=at))
    if weekday == "*" and day.isdecimal():
        return str(_("On day %(num)d of every month at %(time)s", num=int(day), time=at))
    return ""
