"""`make screenshots`: photographs every page, light and dark, on desktop, tablet and phone, into var/screenshots.

The few that the README and docs show are written to docs/screenshots; ARGS="files jobs" takes only these pages.
"""

import io
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

from PIL import Image
from playwright.sync_api import Browser, Page, expect

from tests.browser.stage import (
    ELSEWHERE,
    Program,
    RunningVault,
    archive,
    chromium,
    document,
    drop,
    picture,
    running_vault,
    set_up,
    sign_in,
    table,
    watched,
)
from tests.servers import free_port, wait_until

ROOT = Path(__file__).resolve().parent.parent
ALL, SHOWN = ROOT / "var/screenshots", ROOT / "docs/screenshots"
THEMES = ("light", "dark")
SIZES = {"desktop": (1440, 900), "tablet": (768, 1024), "phone": (390, 844)}
# page, theme, size: name in docs/screenshots
PUBLISHED = {
    ("files", "light", "desktop"): "files",
    ("upload", "dark", "desktop"): "upload-dark",
    ("picture", "light", "desktop"): "picture",
    ("jobs", "light", "desktop"): "jobs",
    ("files", "dark", "phone"): "phone-dark",
}
STRANGERS = ("sign-in", "register", "forgot-password", "reset-password", "verify-email")
MOST_BYTES = 200_000
Paths = dict[str, str]


def main(wanted: list[str]) -> int:
    """Take the pictures; 1 when a page is unknown or complained in the console."""
    with (
        tempfile.TemporaryDirectory(prefix="holdfast-screens-") as home,
        running_vault(Path(home), WEBHOOK_ALLOWED_NETWORKS="127.0.0.0/8", **ELSEWHERE) as vault,
        chromium() as browser,
    ):
        paths = before_anybody(vault) if not wanted or set(wanted) & {"setup", *STRANGERS} else {}
        complaints = photograph(
            browser, vault, {name: path for name, path in paths.items() if not wanted or name in wanted}, None
        )
        visitor = watched(browser)
        set_up(visitor.page(), vault)
        visitor.context.close()
        paths = fill(Program(vault))
        if unknown := set(wanted) - set(paths) - {"setup", *STRANGERS}:
            print(f"no such page: {', '.join(sorted(unknown))}", file=sys.stderr)
            return 1
        chosen = {name: path for name, path in paths.items() if not wanted or name.partition(" ")[0] in wanted}
        complaints += photograph(browser, vault, chosen, sign_in)
    for complaint in complaints:
        print(f"complaint: {complaint}", file=sys.stderr)
    return 1 if complaints else 0


def before_anybody(vault: RunningVault) -> Paths:
    """Pages of a vault without accounts."""
    return {"setup": vault.setup_link.removeprefix(vault.url), **{name: f"/{name}" for name in STRANGERS}}


def fill(program: Program) -> Paths:
    """Make a believable workspace by the API; the pages to photograph."""
    folders = {
        name: program.call("POST", "/folders", json={"name": name})["id"]
        for name in ("Harbour plans", "Invoices 2026", "Photographs", "Logbooks")
    }
    for number in range(1, 8):
        program.upload(f"Quay {number}.jpg", picture(hue=number / 8), folders["Photographs"])
    photo = program.upload("Evening at the north mole.jpg", picture())["id"]
    report = program.upload("Annual harbour report.pdf", document("Annual harbour report", 12))["id"]
    program.upload("Berth allocation.xlsx", table())
    program.upload("Tide logs.zip", archive())
    program.upload("Dredging contract (signed).pdf", document("Dredging contract"))
    program.upload("Lighthouse survey.jpg", picture(hue=0.1))
    notes = program.upload(
        "Meeting notes.md", b"# Harbour board\n\n- Dredging starts on the 4th.\n- Berth 7 stays closed.\n" * 12
    )["id"]
    before_notes = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())
    later = b"# Harbour board\n\n- Dredging starts on the 11th.\n- Berth 7 stays closed.\n" * 12
    program.call("PUT", f"/files/{notes}/content", data=later, headers={"Content-Type": "application/octet-stream"})
    program.call("PATCH", f"/files/{notes}/versions/1", json={"label": "As sent to the board"})
    program.upload(
        "Signal flags.svg", b'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 9 6"><path d="M0 0h9v6H0z"/></svg>'
    )
    hooks = webhooks(program, folders["Harbour plans"])
    incoming = {}
    for number, mark in enumerate(f"{theme}-{size}" for theme in THEMES for size in SIZES):  # uploads need unused names
        year = program.call("POST", "/folders", json={"name": str(2026 - number), "parent_id": folders["Logbooks"]})[
            "id"
        ]
        place = program.call("POST", "/folders", json={"name": "Incoming", "parent_id": year})["id"]
        incoming[f"upload {mark}"] = f"/folders/{place}"
        program.upload("Soundings of the north channel.csv", b"depth,at\n" * 9000, place)
        program.upload("Pilot boat at work.jpg", picture(hue=0.3), place)
        program.upload("Buoys and marks.pdf", document("Buoys and marks"), place)
    broken = program.upload("Scan without end.pdf", b"%PDF-1.7\nthis is no page")["id"]
    gone = [program.upload(name, document(name))["id"] for name in ("Draft budget.pdf", "Old price list.pdf")]
    program.wait_for_jobs()
    for file in gone:
        program.call("DELETE", f"/files/{file}")
    for name, role in (("Jonas Vik", "member"), ("Noor Lund", "manager"), ("Ada Holm", "guest")):
        email = f"{name.split()[0].lower()}@harbour.example"
        user = program.call("POST", "/users", json={"name": name, "email": email, "roles": [role]})["id"]
    program.call("POST", f"/users/{user}/suspension")
    for email in ("pilot@harbour.example", "quay.master@harbour.example"):
        program.call("POST", "/invitations", json={"email": email})
    program.call("POST", "/exports")
    reader = {
        "name": "Auditors",
        "about": "Look at everything, touch nothing",
        "permissions": ["files.read", "queues.read"],
    }
    role = program.call("POST", "/roles", json=reader)["id"]
    group = program.call("POST", "/groups", json={"name": "Pilots", "about": "Who brings the ships in"})["id"]
    program.call("POST", "/groups", json={"name": "Harbour board"})
    for name, manager in (("jonas", True), ("noor", False)):
        wish = {"email": f"{name}@harbour.example", "manager": manager}
        program.call("POST", f"/groups/{group}/members", json=wish)
    for path, wish in (
        (f"/folders/{folders['Photographs']}", {"group_id": group, "level": "editor"}),
        (f"/files/{photo}", {"email": "noor@harbour.example", "level": "manager"}),
        (f"/files/{photo}", {"group_id": group, "level": "viewer"}),
    ):
        program.call("PUT", f"{path}/grants", json=wish)
    share = program.call(
        "POST", "/shares", json={"folder_id": folders["Photographs"], "label": "For the harbour paper"}
    )
    backup = {"name": "Nightly backup", "scopes": ["files.read"], "folder_id": folders["Invoices 2026"]}
    program.call("POST", "/tokens", json={**backup, "networks": ["192.0.2.0/24"]})
    program.call("POST", "/tokens", json={"name": "Scanner at the quay", "scopes": ["files.read", "files.write"]})
    failed = [job for job in program.call("GET", "/jobs?limit=100")["items"] if job["state"] in {"failed", "dead"}]
    return {
        **incoming,
        **hooks,
        "files": "/files",
        "upload": "",
        "selection": "/files",
        "folder": f"/folders/{folders['Photographs']}",
        "picture": f"/files/{photo}",
        "document": f"/files/{report}",
        "text": f"/files/{notes}",
        "damaged": f"/files/{broken}",
        "rename": f"/files/{photo}/name",
        "describe": f"/files/{photo}/description",
        "move": f"/files/{photo}/folder",
        "versions": f"/files/{notes}/versions",
        "compare": f"/files/{notes}/versions/1/differences",
        "history": f"/history?at={before_notes}",
        "trash": "/trash",
        "jobs": "/jobs",
        "all-jobs": "/admin/jobs",
        "failed-jobs": "/admin/jobs?state=failed",
        "health": "/admin/health",
        "settings": "/admin/settings",
        "mail": "/admin/mail",
        "quarantine": "/admin/quarantine",
        "access": f"/files/{photo}/access",
        "folder-access": f"/folders/{folders['Photographs']}/access",
        "shared": "/shared",
        "links": "/shares",
        "link": f"/shares/{share['id']}",
        "all-links": "/admin/shares",
        "public-folder": "/s/" + share["url"].rsplit("/", 1)[1],
        "search": "/search?q=harbour",
        "groups": "/admin/groups",
        "new-group": "/admin/groups/new",
        "group": f"/groups/{group}",
        "roles": "/admin/roles",
        "role": f"/admin/roles/{role}",
        "new-role": "/admin/roles/new",
        "audit": "/admin/audit",
        "flags": "/admin/flags",
        "flag": "/admin/flags/passkeys",
        "schedules": "/admin/schedules",
        "job": f"/jobs/{failed[0]['id']}" if failed else "/jobs",
        "account": "/account",
        "security": "/account/security",
        "passkey": "/account/security/passkey",
        "confirm-identity": "/confirm-identity?next=/account",
        "email": "/account/email",
        "data": "/account/data",
        "users": "/admin/users",
        "new-user": "/admin/users/new",
        "user": f"/admin/users/{user}",
        "invitations": "/admin/invitations",
        "sessions": "/account/sessions",
        "tokens": "/account/tokens",
        "new-token": "/account/tokens/new",
        "elsewhere": "/auth/oidc/harbour-id",
        "api": "/api/docs",
        "missing": "/files/00000000-0000-7000-8000-000000000000",
    }


def webhooks(program: Program, folder: str) -> Paths:
    """One whose receiver is down, so that its deliveries wait, and one that somebody paused."""
    wish = {"url": f"http://127.0.0.1:{free_port()}/hook", "events": ["folder.*"]}
    failing, paused = (
        program.call("POST", "/webhooks", json={**wish, "name": name})["id"]
        for name in ("Bookkeeping", "Harbour display")
    )
    time.sleep(1.5)  # every thread has heard of them then
    for number in range(8):
        program.call("POST", "/folders", json={"name": f"Berth {number + 1}", "parent_id": folder})
    wait_until(lambda: program.call("GET", f"/webhooks/{failing}/health")["next_try_at"], about="a shut lane")
    program.call("PATCH", f"/webhooks/{paused}", json={"enabled": False})
    held = program.call("GET", f"/webhooks/{paused}/deliveries?state=held")["items"]
    return {
        "webhooks": "/admin/webhooks",
        "new-webhook": "/admin/webhooks/new",
        "failing-webhook": f"/admin/webhooks/{failing}",
        "paused-webhook": f"/admin/webhooks/{paused}",
        "held-job": f"/jobs/{held[0]['job_id']}" if held else "/jobs",
    }


def photograph(
    browser: Browser, vault: RunningVault, paths: Paths, enter: Callable[[Page, RunningVault], None] | None
) -> list[str]:
    """Every page in every size and theme; returns what the pages complained about."""
    complaints: list[str] = []
    if not paths:
        return complaints
    for theme in THEMES:
        for size, (width, height) in SIZES.items():
            visitor = watched(
                browser,
                color_scheme=theme,
                viewport={"width": width, "height": height},
                reduced_motion="reduce",
                is_mobile=size == "phone",
                has_touch=size == "phone",
            )
            visitor.allow(404)
            visitor.allow(410)  # links that are over
            visitor.allow(503)
            page = visitor.page()
            if enter:
                enter(page, vault)
            for name in (name for name in paths if " " not in name):
                page.goto(vault.url + paths.get(f"{name} {theme}-{size}", paths[name]), wait_until="networkidle")
                if name in ACTS:
                    ACTS[name](page)
                keep(page.screenshot(), name, theme, size)
            visitor.context.close()
            complaints += visitor.complaints
    return complaints


def show_uploads(page: Page) -> None:
    """Some files on their way, one there."""
    drop(page, {"Chart of the bay.pdf": ("application/pdf", document("Chart of the bay"))})
    expect(page.locator("#tray .bar-good")).to_have_count(1)
    line = page.context.new_cdp_session(page)
    slow = {"offline": False, "latency": 0, "downloadThroughput": -1, "uploadThroughput": 3 * 1024**2}
    line.send("Network.emulateNetworkConditions", slow)
    noise = bytes(range(256)) * 40_000
    drop(
        page,
        {
            "Drone film.mov": ("video/quicktime", noise),
            "Panorama.tif": ("image/tiff", noise[: len(noise) // 2]),
            "Depths.csv": ("text/csv", b"depth,at\n" * 300_000),
        },
    )
    page.wait_for_function(
        "() => [...document.querySelectorAll('#tray .bar')].some((bar) => bar.value > 250 && bar.value < 1000)"
    )


def select_some(page: Page) -> None:
    """Two rows chosen: the bar over the list."""
    for number in (4, 5):  # phones show no boxes: there a long press ticks them
        page.locator("#rows tr[data-id] input[type=checkbox]").nth(number).evaluate("(box) => box.click()")


def wait_for_operations(page: Page) -> None:
    """The page of the API draws itself."""
    expect(page.locator(".opblock").first).to_be_visible(timeout=30_000)


ACTS: dict[str, Callable[[Page], None]] = {
    "upload": show_uploads,
    "selection": select_some,
    "api": wait_for_operations,
}


def keep(png: bytes, name: str, theme: str, size: str) -> None:
    """Write the picture, and a copy of at most 200 kB where it is published."""
    ALL.mkdir(parents=True, exist_ok=True)
    (ALL / f"{name}-{theme}-{size}.png").write_bytes(png)
    published = PUBLISHED.get((name, theme, size))
    if published:
        SHOWN.mkdir(parents=True, exist_ok=True)
        (SHOWN / f"{published}.png").write_bytes(small(png))
        print(f"docs/screenshots/{published}.png")


def small(png: bytes) -> bytes:
    """The same picture with 256 colours, which pages do not need more than."""
    image = Image.open(io.BytesIO(png)).convert("RGB").quantize(256, dither=Image.Dither.NONE)
    out = io.BytesIO()
    image.save(out, "PNG", optimize=True)
    data = out.getvalue()
    assert len(data) < MOST_BYTES, f"{len(data)} bytes"
    return data


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
