"""The checker: when everything stands again and the backlog is worked off, it counts what is wrong: nothing may be.

It trusts no answer of the vault: it reads the tables, the store, Redis and what the outside received.
"""

import time
from collections import Counter
from collections.abc import Callable
from typing import Any

from redis import Redis
from sqlalchemy import text

from tests.faults.ledger import Known, Ledger, Thing
from tests.faults.load import HEARD, Load
from tests.vault import differences
from webapp.db import db
from webapp.infra.locks import PREFIX
from webapp.services.blobs import sweep_blobs
from webapp.services.deliveries import message_id
from webapp.services.events import SUBSCRIPTIONS

HANG = 300.0  # seconds in which the backlog must be gone
LEAST = 150  # calls; ten times as many are usual in a minute
LONGEST_LOCK = 60_000  # milliseconds: no lock of the vault is asked for with a longer life


def rows(statement: str, **parameters: Any) -> list[Any]:
    """Of a committed state."""
    with db.engine.connect() as line:
        return list(line.execute(text(statement), parameters).all())


# Deliveries of a webhook that is paused wait until somebody resumes it: they are owed, and not stuck.
HELD = ("(state = 'queued' AND name = 'webhooks.deliver'"
        " AND lane IN (SELECT id FROM webhooks WHERE paused_at IS NOT NULL))")  # fmt: skip


def drain() -> float:
    """Wait until no job is open but those of paused webhooks, however it ends; seconds that took. What waits for a
    later try is brought forward."""
    begun = time.monotonic()
    while time.monotonic() < begun + HANG:
        states = Counter(row.waits for row in rows(
            "SELECT run_at > now() + interval '1 second' AS waits FROM jobs"
            f" WHERE state IN ('queued', 'running') AND NOT {HELD}"
        ))  # fmt: skip
        if not states:
            break
        if not states[False]:
            with db.engine.begin() as line:
                line.execute(text("UPDATE jobs SET run_at = now() WHERE state = 'queued' AND run_at > now()"))
                line.execute(text("UPDATE webhook_health SET next_try_at = now() WHERE next_try_at > now()"))
        time.sleep(0.3)
    return time.monotonic() - begun


def lost_writes(load: Load) -> list[str]:
    """Each acknowledged object is there, in the state acknowledged last or one that somebody did not hear of."""
    found = []
    files = {str(row.uuid): row for row in rows(
        "SELECT f.uuid, f.version, f.deleted_at, f.name, f.number, f.sha256, p.uuid AS folder_id"
        " FROM files f LEFT JOIN folders p ON p.id = f.folder_id")}  # fmt: skip
    folders = {str(row.uuid): row for row in rows(
        "SELECT f.uuid, f.version, f.deleted_at, f.name, p.uuid AS parent_id"
        " FROM folders f LEFT JOIN folders p ON p.id = f.parent_id")}  # fmt: skip
    contents = {(str(row.uuid), row.number): row.sha256 for row in rows(
        "SELECT f.uuid, v.number, b.sha256 FROM file_versions v JOIN files f ON f.id = v.file_id"
        " JOIN blobs b ON b.id = v.blob_id")}  # fmt: skip
    for thing in load.ledger.things.values():
        row = (files if thing.kind == "file" else folders).get(thing.id)
        found += [f"{thing.id} is gone"] if row is None else _faults_of(thing, row)
        found += [
            f"content {number} of {thing.id} is not what was acknowledged"
            for number, digest in thing.contents.items() if contents.get((thing.id, number)) != digest
        ]  # fmt: skip
    return found


def _faults_of(thing: Thing, row: Any) -> list[str]:
    newest = thing.newest
    if row.version < newest.version:
        return [f"{thing.id} is at version {row.version}, {newest.version} was acknowledged"]
    if row.version > newest.version + thing.unsure:
        return [f"{thing.id} is at version {row.version}: more changes than anybody asked for"]
    if row.version == newest.version and _state(row, newest) != (newest.trashed, newest.fields):
        return [f"{thing.id} is {_state(row, newest)}, {newest} was acknowledged"]
    return []


def _state(row: Any, like: Known) -> tuple[bool, dict[str, Any]]:
    fields = {name: getattr(row, name) for name in like.fields}
    return row.deleted_at is not None, {k: v if v is None or isinstance(v, int) else str(v) for k, v in fields.items()}


def lost_updates(load: Load) -> list[str]:
    """Two changes that were both acknowledged as one version of one object: one of them overwrote the other unseen."""
    found = []
    for thing in load.ledger.things.values():
        by_version: dict[int, list[Known]] = {}
        for known in thing.known:
            by_version.setdefault(known.version, []).append(known)
        found += [
            f"{thing.id} version {n}: {several}"
            for n, several in by_version.items()
            if len(set(map(repr, several))) > 1
        ]
    return found


def repeated_posts(load: Load) -> list[str]:
    """A key that made two objects, or was answered in two ways, or never."""
    names = Counter(row.name for row in rows(
        "SELECT name FROM files UNION ALL SELECT name FROM folders UNION ALL SELECT name FROM webhooks"))  # fmt: skip
    found = []
    for _, post in load.ledger.posts:
        stem, dot, ending = post.name.rpartition(".")
        made = names[post.name] + (names[f"{stem} (1).{ending}"] if dot else 0)
        if made != 1:
            found.append(f"{post.kind} {post.name} is there {made} times")
        if len(set(post.answers)) != 1:
            found.append(f"{post.kind} {post.name} got {len(set(post.answers))} different answers")
    return found


def jobs_of_versions(_: Load) -> list[str]:
    """Each content has each of its jobs once, done."""
    wanted = {name: 1 for name in SUBSCRIPTIONS["file.created"] if name != "files.scan"}  # there is no scanner
    jobs: dict[tuple[int, int], Counter[str]] = {}
    for row in rows("SELECT name, state, args FROM jobs WHERE name LIKE 'files.%'"):
        if row.state == "done":
            jobs.setdefault((row.args["file_id"], row.args["number"]), Counter())[row.name] += 1
    versions = rows("SELECT file_id, number FROM file_versions")
    done = {(row.file_id, row.number): jobs.get((row.file_id, row.number)) for row in versions}
    return [f"version {which} has the finished jobs {have}" for which, have in done.items() if have != wanted]


def effects(_: Load) -> list[str]:
    """What jobs left: a picture has its previews, a job no effect twice, a change exactly one entry in the audit."""
    found = [f"picture {row.uuid} has no preview" for row in rows(
        "SELECT f.uuid FROM files f JOIN file_versions v ON v.file_id = f.id JOIN blobs b ON b.id = v.blob_id"
        " WHERE v.mime = 'image/png' AND NOT EXISTS (SELECT 1 FROM previews p WHERE p.blob_id = b.id)")]  # fmt: skip
    found += [f"effect {row.effect} of job {row.job_id} twice" for row in rows(
        "SELECT job_id, effect FROM job_effects GROUP BY 1, 2 HAVING count(*) > 1")]  # fmt: skip
    found += [f"{row.uuid} at version {row.version} has {row.entries} audit entries" for row in rows(
        "SELECT f.uuid, f.version, (SELECT count(*) FROM audit_entries a WHERE a.target_uuid = f.uuid) AS entries"
        " FROM (SELECT uuid, version FROM files UNION ALL SELECT uuid, version FROM folders) f"
        " WHERE f.version <> (SELECT count(*) FROM audit_entries a WHERE a.target_uuid = f.uuid)")]  # fmt: skip
    return found


def webhooks(load: Load) -> list[str]:
    """Each event that was recorded reached the receiver at least once, under an id of its own, and no other did."""
    heard = {message.id for message in load.world.hears.kept}
    owed = rows("SELECT d.event_uuid, d.state FROM webhook_deliveries d JOIN webhooks w ON w.id = d.webhook_id"
                " WHERE w.url = :url", url=load.world.hears.url)  # fmt: skip
    kinds = tuple(name.partition(".")[0] for name in HEARD)
    (events,) = rows("SELECT count(*) AS count FROM audit_entries a, webhooks w WHERE w.url = :url"
                     " AND a.created_at > w.created_at + interval '1 second'"
                     " AND split_part(a.event, '.', 1) IN :kinds", url=load.world.hears.url, kinds=kinds)  # fmt: skip
    ids = {message_id(row.event_uuid) for row in owed}
    found = [f"{row.event_uuid} is {row.state}" for row in owed if row.state != "delivered"]
    found += [f"{one} was never received" for one in ids - heard]
    found += [f"{one} was received and never happened" for one in heard - ids]
    if not len(owed) == len(ids) == events.count:
        found.append(f"{events.count} events, {len(owed)} deliveries, {len(ids)} ids")
    return found


def mails(load: Load) -> list[str]:
    """Each webhook whose receiver is gone was paused with one mail, which came at least once under one Message-ID."""
    (paused,) = rows("SELECT count(*) AS count FROM webhooks WHERE pause_reason = 'gone'")
    jobs = rows("SELECT state FROM jobs WHERE name = 'mails.send'")
    distinct = {message["Message-ID"] for message in load.world.box.kept}
    if not len(distinct) == len(jobs) == paused.count:
        return [f"{paused.count} webhooks paused, {len(jobs)} mails owed, {len(distinct)} mails received"]
    return []


def stuck_jobs(load: Load) -> list[str]:
    """Nothing waits or runs; nothing was given up but what the receiver that is gone was owed."""
    gone = ("SELECT 1 FROM webhook_deliveries d JOIN webhooks w ON w.id = d.webhook_id"
            " WHERE d.uuid = j.target_uuid AND w.url = :url")  # fmt: skip
    return [f"{row.name} {row.id} is {row.state} after {row.attempts} attempts: {row.error}" for row in rows(
        "SELECT id, name, state, attempts, error FROM jobs j WHERE state <> 'done'"
        f" AND NOT {HELD}"
        f" AND NOT (state = 'failed' AND name = 'webhooks.deliver' AND EXISTS ({gone}))",
        url=load.world.gone.url)]  # fmt: skip


def leaked_locks(load: Load) -> list[str]:
    """Locks without an end, advisory locks, transactions that somebody left open."""
    found = [f"row lock {row.name}" for row in rows(
        "SELECT name FROM locks WHERE expires_at_ms > extract(epoch from clock_timestamp()) * 1000 + :longest",
        longest=LONGEST_LOCK)]  # fmt: skip
    found += [f"advisory lock of {row.pid}" for row in rows(
        "SELECT l.pid FROM pg_locks l JOIN pg_stat_activity a USING (pid)"
        " WHERE l.locktype = 'advisory' AND a.state = 'idle'"
        " AND a.state_change < now() - interval '5 seconds'")]  # fmt: skip
    found += [f"transaction open since {row.xact_start}: {row.query}" for row in rows(
        "SELECT xact_start, query FROM pg_stat_activity WHERE datname = current_database() AND pid <> pg_backend_pid()"
        " AND state LIKE 'idle in transaction%' AND xact_start < now() - interval '5 seconds'")]  # fmt: skip
    redis = Redis.from_url(load.town.redis.url)
    for key in redis.scan_iter(f"{PREFIX}*", count=500):
        if not -2 < redis.pttl(key) <= LONGEST_LOCK or redis.pttl(key) == -1:
            found.append(f"Redis lock {key!r}")
    redis.close()
    return found


def store(_: Load) -> list[str]:
    """Database and store agree; what a kill left of uploads that nobody was told of goes with the next sweep."""
    sweep_blobs(young=-1)
    return differences()


def streams(load: Load) -> list[str]:
    """Who listened all the time hears what happens now."""
    try:
        load.ear.hears(HANG)
    except (TimeoutError, AssertionError) as error:
        return [f"{error!r} on stream {load.ear.streams}, which ended {load.ear.heard[-200:]!r}"]
    finally:
        load.ear.stop()
    return []


def fallen(load: Load) -> list[str]:
    """A fault of the code that a log tells of."""
    words = ('"unforeseen"', "error_page_failed", "news_not_told")
    said = [(name, line) for name, service in load.town.ours.items()
            for line in service.log.read_text(errors="replace").splitlines()]  # fmt: skip
    return [f"{name}: {line[:300]}" for name, line in said if any(word in line for word in words)]


CHECKS: dict[str, Callable[[Load], list[str]]] = {
    "stuck or wrongly dead jobs": stuck_jobs,
    "lost acknowledged writes": lost_writes,
    "lost updates": lost_updates,
    "repeated POSTs done twice or answered differently": repeated_posts,
    "versions without their jobs": jobs_of_versions,
    "lost or doubled effects": effects,
    "lost or doubled webhooks": webhooks,
    "lost mails": mails,
    "deaf streams": streams,
    "leaked locks": leaked_locks,
    "differences between database and store": store,
    "faults in the logs": fallen,
}


def count(load: Load) -> dict[str, list[str]]:
    """Every check and what it found."""
    return {name: check(load) for name, check in CHECKS.items()}


def wrong_answers(ledger: Ledger, excused: list[tuple[float, float]]) -> list[str]:
    """Answers that no breakage explains. 503 is right only while the database is away, 500 never."""
    done = sum(200 <= call.status < 300 for call in ledger.calls)
    found = [] if done > LEAST else [f"only {done} calls succeeded: this was no load"]
    for call in ledger.calls:
        refusal = call.status in {409, 412, 423} or (call.status == 404 and "restoration" in call.what)
        away = call.status == 503 and any(call.begun <= end and start <= call.ended for start, end in excused)
        if call.status >= 300 and not refusal and not away:
            found.append(f"{call.what} answered {call.status}: {call.detail}")
    return found
