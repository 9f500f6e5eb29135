"""How administrators see the audit trail: events and people in words, what changed, and the whole as a file."""

import csv
import io
import json
from collections.abc import Iterable, Iterator
from typing import Any
from urllib.parse import urlencode

from flask import url_for
from flask_babel import gettext as _

from webapp.http.answers import encode
from webapp.http.formats import ago, exact
from webapp.http.hookrows import EVENTS
from webapp.services.audit import AuditFilter, EntryView, Person, TrailView
from webapp.services.cursors import Page

FILTERS = ("event", "actor_id", "target_id", "request_id", "since", "until")
COLUMNS = ("at", "event", "actor_id", "actor", "impersonator_id", "impersonator", "token", "target_type", "target_id",
           "target", "changes", "request_id", "seal")  # fmt: skip
PAGES = {"file": ("files_pages.show_file", "file_id"), "folder": ("folders_pages.show_folder", "folder_id"),
         "user": ("accounts_pages.show_user", "user_id"), "job": ("jobs_pages.show_job", "job_id"),
         "webhook": ("webhooks_pages.show_webhook", "webhook_id"), "group": ("groups_pages.show_group", "group_id"),
         "schedule": ("schedules_pages.show_schedule", "schedule_id"),
         "share": ("shares_pages.show_share", "share_id")}  # fmt: skip
BAD = ("refused", "damaged", "broken", "infected")
FORMULA = ("=", "+", "-", "@", "\t", "\r")  # what a spreadsheet would compute (OWASP, CSV injection)
BAD = ("refused", "damaged", "broken", "infected")


def entry_rows(page: Page[EntryView], query: AuditFilter) -> dict[str, Any]:
    """Variables of the list and its filters."""
    given = _given(query)
    return {
        "rows": [_row(entry, given) for entry in page.items],
        "next_url": _address(given, cursor=page.next_cursor) if page.next_cursor else None,
        "filters": given,
        "events": [("", _("Everything"))]
        + [option for kind, words, events in EVENTS
           for option in ((f"{kind}.*", str(words)), *((name, f"{words}: {text}") for name, text in events))],
        "chips": [(_chip(name, value), _address({k: v for k, v in given.items() if k != name}))
                  for name, value in given.items() if name not in {"event", "since", "until"}],
        "exports": [(text, f"{url_for('audit_pages.export_entries')}?{urlencode({**given, 'format': name})}")
                    for name, text in (("csv", "CSV"), ("jsonl", "JSON Lines"))],
    }  # fmt: skip


def trail_row(trail: TrailView) -> dict[str, Any]:
    """The seal above the list: `tone` and words."""
    checked = {"at": trail.checked_at, "text": ago(trail.checked_at), "exact": exact(trail.checked_at)}
    url = url_for("jobs_pages.show_job", job_id=trail.check_id) if trail.check_id else None
    if trail.state is None or trail.checked_at is None:
        words, tone = (_("Being checked"), "busy") if trail.state else (_("Never checked yet"), "plain")
    elif trail.state == "done":
        words, tone = _("Whole"), "good"
    else:
        words, tone = trail.found or _("The check failed"), "bad"
    return {"links": f"{trail.links:,}", "words": words, "tone": tone, "checked": checked, "url": url,
            "sealed_text": ago(trail.sealed_at), "sealed_exact": exact(trail.sealed_at)}  # fmt: skip


def written(entries: Iterable[EntryView], form: str) -> Iterator[bytes]:
    """The entries as a file, line by line."""
    if form == "jsonl":
        yield from (encode(entry) + b"\n" for entry in entries)
        return
    yield _line(COLUMNS)
    for entry in entries:
        who, real = entry.actor, entry.impersonator
        yield _line((
            entry.at.isoformat(), entry.event, who.id if who else "", who.email if who else "",
            real.id if real else "", real.email if real else "", "yes" if entry.token else "", entry.target_type,
            entry.target_id or "", entry.target_name or "", json.dumps(entry.changes, ensure_ascii=False),
            entry.request_id or "", entry.seal or "",
        ))  # fmt: skip


def _line(values: Iterable[object]) -> bytes:
    text = io.StringIO()
    csv.writer(text).writerow([_plain(str(value)) for value in values])
    return text.getvalue().encode()


def _plain(text: str) -> str:
    """A cell that no spreadsheet takes for a formula."""
    return f"'{text}" if text.startswith(FORMULA) else text


def _row(entry: EntryView, given: dict[str, str]) -> dict[str, Any]:
    kind, event = _words(entry.event)
    return {
        "at": entry.at, "at_text": ago(entry.at), "at_exact": exact(entry.at), "event": entry.event,
        "kind": kind, "title": event, "tone": "bad" if entry.event.endswith(BAD) else "",
        "who": _who(entry.actor, given), "real": _who(entry.impersonator, given) if entry.impersonator else None,
        "token": entry.token, "target": entry.target_name or (str(entry.target_id) if entry.target_id else ""),
        "target_url": _page(entry), "about_url": _address(given, target_id=entry.target_id) if entry.target_id else "",
        "changes": [(name, *_both(value)) for name, value in entry.changes.items()],
        "request_id": entry.request_id or "", "seal": entry.seal,
        "request_url": _address(given, request_id=entry.request_id) if entry.request_id else "",
    }  # fmt: skip


def _words(event: str) -> tuple[str, str]:
    for _kind, words, events in EVENTS:
        for name, text in events:
            if name == event:
                return str(words), str(text)
    return "", event


def _who(person: Person | None, given: dict[str, str]) -> dict[str, str]:
    if person is None:
        return {"name": _("The vault"), "email": "", "url": ""}
    return {"name": person.name or _("Erased account"), "email": person.email,
            "url": _address(given, actor_id=person.id)}  # fmt: skip


def _page(entry: EntryView) -> str:
    endpoint, argument = PAGES.get(entry.target_type, ("", ""))
    address: dict[str, Any] = {argument: entry.target_id}
    return url_for(endpoint, **address) if endpoint and entry.target_id else ""


def _both(value: Any) -> tuple[str, str]:
    before, after = value if isinstance(value, list) and len(value) == 2 else (None, value)
    return _text(before), _text(after)


def _text(value: Any) -> str:
    return "" if value is None else value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)


def _chip(name: str, value: str) -> str:
    words: dict[str, str] = {
        "actor_id": _("By one person"),
        "target_id": _("About one object"),
        "request_id": _("Request %(id)s", id=value),
    }
    return words[name]


def _given(query: AuditFilter) -> dict[str, str]:
    values = query.model_dump(mode="json", include=set(FILTERS), exclude_none=True)
    return {name: str(values[name]) for name in FILTERS if name in values}


def _address(given: dict[str, str], **more: object) -> str:
    here = url_for("audit_pages.list_entries")
    asked = {**given, **more}
    return f"{here}?{urlencode(asked)}" if asked else here
