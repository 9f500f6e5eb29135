"""How pages show jobs: words and tones of their states, times, what can be done with each."""

from datetime import datetime
from typing import Any

from flask_babel import format_timedelta, lazy_gettext
from flask_babel import gettext as _

from webapp.http.formats import ago, due, exact
from webapp.infra.clock import now
from webapp.models.jobs import OPEN, REPLAYABLE
from webapp.services.cursors import Page
from webapp.services.histories import HistoryView
from webapp.services.worklists import JobView


def N_(text: str) -> str:  # noqa: N802
    """Marks a text for the catalogue that is translated where it is shown (GNU gettext's name for it)."""
    return text


STATES = {
    "queued": (lazy_gettext("Waiting"), "info"),
    "running": (lazy_gettext("Running"), "busy"),
    "done": (lazy_gettext("Done"), "good"),
    "failed": (lazy_gettext("Failed"), "bad"),
    "dead": (lazy_gettext("Gave up"), "bad"),
    "cancelled": (lazy_gettext("Cancelled"), "plain"),
}
HELD = {
    "paused": lazy_gettext("Its webhook is paused. It is sent when the webhook is resumed."),
    "failing": lazy_gettext("Its receiver fails. It is sent when a delivery arrives there again."),
}
HAPPENINGS = {
    "failed": (lazy_gettext("Failed"), "bad"),
    "lost": (lazy_gettext("Worker lost"), "bad"),
    "replayed": (lazy_gettext("Run again"), "info"),
    "cancelled": (lazy_gettext("Cancelled"), "plain"),
}
SPANS = (  # below so many seconds, in units of so many seconds
    (1, 0.001, N_("%(num)d ms")),
    (120, 1, N_("%(num)d s")),
    (7200, 60, N_("%(num)d min")),
)
TITLES = {
    "files.sniff": lazy_gettext("Type detection"),
    "files.scan": lazy_gettext("Virus scan"),
    "files.verify": lazy_gettext("Checksum"),
    "files.thumbnail": lazy_gettext("Preview"),
    "files.unpack": lazy_gettext("Unpacking"),
    "files.rewind": lazy_gettext("Going back in time"),
    "files.extract": lazy_gettext("Text for search"),
    "webhooks.deliver": lazy_gettext("Webhook"),
    "mails.send": lazy_gettext("Mail"),
    "mails.digest": lazy_gettext("Digest mail"),
    "upkeep.sweep_blobs": lazy_gettext("Sweep of orphaned bytes"),
    "upkeep.sweep_expired": lazy_gettext("Removal of expired entries"),
    "upkeep.scrub_blobs": lazy_gettext("Check of stored bytes"),
    "upkeep.scan_blobs": lazy_gettext("Virus scan of stored files"),
    "accounts.export": lazy_gettext("Data export"),
    "storage.move": lazy_gettext("Move to another store"),
    "storage.convert": lazy_gettext("Encryption of stored files"),
    "keys.rotate": lazy_gettext("Re-encryption under the first key"),
    "upkeep.verify_audit": lazy_gettext("Check of the audit trail"),
    "upkeep.erase_accounts": lazy_gettext("Erasure of deleted accounts"),
    "upkeep.purge_trash": lazy_gettext("Removal of old trash"),
    "upkeep.empty_trash": lazy_gettext("Emptying of the trash"),
}


def job_rows(page: Page[JobView], state: str | None) -> dict[str, Any]:
    """Variables of the list."""
    base = f"?state={state}&" if state else "?"
    return {
        "rows": [_row(job) for job in page.items],
        "next_url": f"/jobs{base}cursor={page.next_cursor}" if page.next_cursor else None,
        "states": [(_("All"), "/jobs", "plain", "", state is None)]
        + [(str(text), f"/jobs?state={name}", tone, "", state == name) for name, (text, tone) in STATES.items()],
        "live": any(job.state in OPEN for job in page.items),
        "count_text": "",
    }


def job_steps(page: Page[JobView], *, replays: bool) -> list[dict[str, Any]]:
    """What was done to a file's present content: the newest job of each kind, in the order they were queued. `replays`:
    whether the person may have one done again that failed."""
    newest = {job.name: job for job in reversed(page.items)}
    rows = [(_row(job), job) for job in newest.values()]
    return [
        {"label": row["name"], "state": job.state, "state_text": row["state_text"], "tone": row["tone"],
         "detail": row["error"] or row["ran_text"], "url": row["url"],
         "replay_url": row["replay_url"] if replays else None}
        for row, job in rows
    ]  # fmt: skip


def job_card(job: JobView, history: Page[HistoryView]) -> dict[str, Any]:
    """Variables of one job's page."""
    next_try = job.run_at if job.state == "queued" and not job.held else None
    moments = [(_("Queued"), job.created_at, ago), (_("Next try"), next_try, due),
               (_("Last start"), job.started_at, ago), (_("Ended"), job.finished_at, ago),
               (_("Given up after"), job.deadline_at if job.state in OPEN else None, ago)]  # fmt: skip
    return {
        "job": {**_row(job), "queue": job.queue, "request_id": job.request_id},
        "history": [_happening(entry) for entry in history.items],
        "moments": [(text, moment, words(moment), exact(moment)) for text, moment, words in moments if moment],
        "result": [(name.replace("_", " "), str(value)) for name, value in (job.result or {}).items()],
        "live": job.state in OPEN,
    }


def _happening(entry: HistoryView) -> dict[str, Any]:
    text, tone = HAPPENINGS.get(entry.what, (entry.what, "plain"))
    by = _("Try %(num)d", num=entry.number) if entry.number else _("by %(name)s", name=entry.by or _("the vault"))
    return {
        "text": str(text), "tone": tone, "error": entry.error, "request_id": entry.request_id,
        "by": by, "ran_text": span(entry.started_at, entry.at),
        "at": entry.at, "at_text": ago(entry.at), "at_exact": exact(entry.at),
    }  # fmt: skip


def _row(job: JobView) -> dict[str, Any]:
    text, tone = (lazy_gettext("Held"), "warn") if job.held else STATES[job.state]
    when = job.finished_at or job.started_at or job.created_at
    return {
        "id": job.id, "url": f"/jobs/{job.id}", "name": str(TITLES.get(job.name, job.title)), "about": job.about,
        "about_url": f"/files/{job.target_id}" if job.target_id and job.name.startswith("files.") else None,
        "owner": job.owner or _("The vault"),
        "state": job.state, "state_text": str(text), "tone": tone, "error": job.error if job.state != "done" else None,
        "held_text": str(HELD[job.held]) if job.held else "",
        "tries_text": f"{job.attempts} / {job.max_attempts}",
        "progress": job.progress if job.state == "running" else None,
        "wait_text": span(job.created_at, job.started_at or (now() if job.state in OPEN else None)),
        "ran_text": span(job.started_at, job.finished_at or (now() if job.state == "running" else None)),
        "when": when, "when_text": ago(when), "when_exact": exact(when),
        "replay_url": f"/jobs/{job.id}/replay" if job.state in REPLAYABLE else None,
        "cancel_url": f"/jobs/{job.id}/cancellation" if job.state in OPEN else None,
    }  # fmt: skip


def span(start: datetime | None, end: datetime | None) -> str:
    """A length of time for people; milliseconds below a second."""
    if start is None or end is None or end < start:
        return ""
    seconds = (end - start).total_seconds()
    for limit, unit, text in SPANS:
        if seconds < limit:
            return str(_(text, num=round(seconds / unit)))
    return str(format_timedelta(end - start))
