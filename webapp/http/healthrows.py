"""How pages show the vault's condition: names of parts, their states in words, and what to do about each."""

from typing import Any

from flask import url_for
from flask_babel import format_decimal, format_percent, lazy_gettext, ngettext
from flask_babel import gettext as _

from webapp.config import current_settings
from webapp.http.formats import ago, exact, size
from webapp.http.jobrows import STATES as JOB_STATES
from webapp.infra.holders import Process
from webapp.infra.probes import RedisState
from webapp.services.conditions import CacheFigures, Condition, Notices
from webapp.services.health import MISSING, Part

WHOLE = {
    "ready": (lazy_gettext("All is well"), "good"),
    "degraded": (lazy_gettext("Works with less"), "warn"),
    "unready": (lazy_gettext("Requests are refused"), "bad"),
}
STATES = {
    "up": (lazy_gettext("Up"), "good"),
    "down": (lazy_gettext("Down"), "bad"),
    "late": (lazy_gettext("Does not answer"), "bad"),
    "behind": (lazy_gettext("Behind"), "warn"),
    "in-process": (lazy_gettext("In this process"), "plain"),
}
PARTS = {
    "database": lazy_gettext("Database"),
    "migrations": lazy_gettext("Tables"),
    "storage": lazy_gettext("Store"),
    "cache": lazy_gettext("Cache (Redis)"),
    "broker": lazy_gettext("Job broker"),
    "relay": lazy_gettext("Relay"),
    "worker": lazy_gettext("Worker"),
    "queues": lazy_gettext("Queues of jobs"),
    "scanner": lazy_gettext("Virus scanner"),
}
ADVICE = {
    "database": lazy_gettext("Start the server of DATABASE_URL, or check role, password and network. Until then "
                             "requests answer 503."),
    "migrations": lazy_gettext("Run make migrate, or start the code that belongs to these tables."),
    "storage": lazy_gettext("Free space on the disk of STORAGE_URL, or check that it is mounted and may be written."),
    "cache": lazy_gettext("Start the server of REDIS_URL. Until then each process counts limits and caches for "
                          "itself, and pages poll."),
    "broker": lazy_gettext("Start the server of RABBITMQ_URL. Jobs wait in the database and run when it is back."),
    "relay": lazy_gettext("Start the relay: python -m tasks.relay. Until then no job goes to the broker and no "
                          "schedule fires; nothing is lost."),
    "worker": lazy_gettext("Start a worker: dramatiq tasks. Jobs wait until then; nothing is lost."),
    "queues": lazy_gettext("See on the page of all jobs what runs and what failed; if all is in order, start more "
                           "workers or raise JOB_THREADS."),
    "scanner": lazy_gettext("Start the clamd of CLAMAV_URL. Until then new files are not shared with anybody; they are "
                            "scanned when it is back."),
    "threads": lazy_gettext("Restart the vault: jobs wait in the database until then."),
}  # fmt: skip
NOTES = {
    ("cache", "in-process"): lazy_gettext("No REDIS_URL: right for one process"),
    ("broker", "in-process"): lazy_gettext("No RABBITMQ_URL"),
    ("relay", "in-process"): lazy_gettext("No job threads in this process"),
    ("worker", "in-process"): lazy_gettext("No job threads in this process"),
    ("queues", "up"): lazy_gettext("Nothing waits for long"),
}
ROLES = {
    "web": lazy_gettext("Web"),
    "embedded": lazy_gettext("Web with jobs"),
    "streams": lazy_gettext("Event streams"),
    "relay": lazy_gettext("Relay and schedules"),
    "worker": lazy_gettext("Worker"),
}
CACHES = {
    "folders": lazy_gettext("Folders"),
    "previews": lazy_gettext("Previews"),
    "jobs": lazy_gettext("Numbers of jobs"),
    "backlogs": lazy_gettext("Waits of the queues"),
    "holders": lazy_gettext("Locks and processes"),
}
CLOCK_TOLERANCE = 1.0  # seconds: ids, leases and token times bear that without notice


def condition_rows(condition: Condition) -> dict[str, Any]:
    """Variables of the page."""
    text, tone = WHOLE[condition.status]
    memory = next((part.redis for part in condition.parts if part.redis), None)
    holders = condition.holders
    return {
        "whole_text": str(text), "whole_tone": tone,
        "parts": [_part(part) for part in condition.parts],
        "caches": [_cache(cache) for cache in condition.caches],
        "redis_text": _redis(memory) if memory else "",
        "locks": None if holders is None else [(lock.name, _left(lock.left)) for lock in holders.locks],
        "processes": None if holders is None else [_process(one) for one in holders.processes],
        "notices": _notices(condition.notices) if condition.notices else [],
        "jobs": None if condition.jobs is None else [
            (str(JOB_STATES[state][0]), JOB_STATES[state][1], format_decimal(number))
            for state, number in condition.jobs.items()],
        "facts": _facts(condition),
        "gone_after": format_decimal(current_settings().gone_after),
        "summed": condition.summed,
    }  # fmt: skip


def _part(part: Part) -> dict[str, Any]:
    text, tone = STATES[part.state]
    wrong = part.state in MISSING
    embedded = current_settings().rabbitmq_url is None
    advice = "threads" if part.name in {"relay", "worker"} and embedded else part.name
    note = _("Threads of this process") if advice == "threads" and part.state == "up" else part.version
    return {
        "name": str(PARTS[part.name]), "state_text": str(text), "tone": "warn" if wrong and not part.needed else tone,
        "latency_text": _milliseconds(part.latency), "reason": part.reason,
        "note": note or str(NOTES.get((part.name, part.state), "")),
        "advice": str(ADVICE[advice]) if wrong else "",
    }  # fmt: skip


def _process(process: Process) -> dict[str, Any]:
    return {
        "role": str(ROLES.get(process.role, process.role)), "host": process.host, "pid": process.pid,
        "node": process.node, "version": process.version, "threads": process.threads,
        "started_at": process.started_at, "since_text": ago(process.started_at),
        "since_exact": exact(process.started_at),
        "seen_at": process.seen_at, "seen_text": ago(process.seen_at), "seen_exact": exact(process.seen_at),
    }  # fmt: skip


def _notices(notices: Notices) -> list[tuple[str, str]]:
    """Text and address of each that there is."""
    dead, paused, failing = notices.dead_jobs, notices.paused_webhooks, notices.failing_webhooks
    jobs, hooks = url_for("queues_pages.list_all_jobs", state="dead"), url_for("webhooks_pages.list_webhooks")
    told = [
        (dead, ngettext("%(num)d job given up in the last day", "%(num)d jobs given up in the last day", dead), jobs),
        (failing, ngettext("%(num)d webhook fails", "%(num)d webhooks fail", failing), hooks),
        (paused, ngettext("%(num)d webhook is paused", "%(num)d webhooks are paused", paused), hooks),
    ]
    return [(text, address) for number, text, address in told if number]


def _cache(cache: CacheFigures) -> dict[str, Any]:
    numbers = {name: format_decimal(getattr(cache, name)) for name in ("near", "far", "misses", "saved")}
    return {
        **numbers, "name": cache.name, "title": str(CACHES.get(cache.name, cache.name)),
        "ratio": "" if cache.ratio is None else format_percent(cache.ratio, "#,##0.#%"),
        "entries": format_decimal(cache.near_entries), "bytes": size(max(0, cache.near_bytes)),
    }  # fmt: skip


def _facts(condition: Condition) -> list[tuple[str, str, str]]:
    """Label, value, and a warning where the value is none to be calm about."""
    connections, disk, clock = condition.connections, condition.disk, condition.clock
    facts = [(_("Database connections"), _("%(used)s in use, %(idle)s idle, at most %(limit)s for each process",
              used=connections.used, idle=connections.idle, limit=connections.limit), "")]  # fmt: skip
    if disk:
        share = _("%(free)s free of %(size)s", free=size(disk.free), size=size(disk.size))
        facts.append((_("Store's disk"), share, _("Nearly full") if disk.free < disk.size / 20 else ""))
    facts.append((_("Open event streams"), format_decimal(condition.streams), ""))
    if clock is not None:
        apart = _("%(num)s ms ahead of the database's", num=format_decimal(round(clock * 1000)))
        facts.append((_("Clock"), apart, _("Set the clocks right") if abs(clock) > CLOCK_TOLERANCE else ""))
    return facts


def _redis(memory: RedisState) -> str:
    parts = [_("%(used)s of memory in use", used=size(memory.used))]
    parts.append(_("limit %(limit)s", limit=size(memory.limit)) if memory.limit else _("no limit"))
    if memory.evicted:
        parts.append(_("%(num)s keys gave way", num=format_decimal(memory.evicted)))
    return ", ".join(parts)


def _milliseconds(seconds: float | None) -> str:
    if seconds is None:
        return ""
    return str(_("%(num)s ms", num=format_decimal(max(0.1, seconds * 1000), "#,##0.0")))


def _left(seconds: float | None) -> str:
    if seconds is None:
        return str(_("until its holder ends"))
    return str(_("%(num)s s at most", num=format_decimal(max(1, round(seconds)))))
