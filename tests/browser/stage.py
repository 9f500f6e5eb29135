"""What browser tests and screenshots stand on: a vault of its own, Chromium, files to put in."""

import contextlib
import io
import json
import os
import random
import re
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from playwright.sync_api import Browser, BrowserContext, ConsoleMessage, Page, sync_playwright

from tests.servers import free_port, wait_until

ROOT = Path(__file__).resolve().parent.parent.parent
CHROMIUM = os.environ.get("CHROMIUM", "/usr/bin/chromium")
AXE = ROOT / "node_modules/axe-core/axe.min.js"
NAME, EMAIL, PASSWORD = "Mira Adebayo", "mira@harbour.example", "Correct-Horse-7-Battery"
# A provider that people see offered; nothing listens there.
ELSEWHERE = {"OIDC_ISSUERS": "harbour-id", "OIDC_HARBOUR_ID_URL": "http://127.0.0.1:9",
             "OIDC_HARBOUR_ID_CLIENT_ID": "vault",
             "OIDC_HARBOUR_ID_TITLE": "Harbour ID"}  # fmt: skip
KEEP = ("PATH", "HOME", "LANG", "TMPDIR", "VIRTUAL_ENV", "COVERAGE_PROCESS_START", "COVERAGE_PROCESS_CONFIG")
# A policy that is broken says so to the page; the console is where a test can hear it.
LISTEN = """
addEventListener("securitypolicyviolation", (event) => {
  console.error(`CSP ${event.effectiveDirective} ${event.blockedURI} ${event.sourceFile}:${event.lineNumber}`);
});
"""


@dataclass(frozen=True, slots=True)
class RunningVault:
    """Where it answers, and the link of its first start, where nobody has an account."""

    url: str
    setup_link: str
    log: Path


@contextlib.contextmanager
def running_vault(home: Path, named: str = "", **extra: str) -> Iterator[RunningVault]:
    """`python -m tasks.serve` with everything under `home`, on a free port, nothing taken from the surroundings.

    `named` is the host in its PUBLIC_URL: passkeys need one, and localhost is the one that needs no https.
    """
    port, log = free_port(), home / "serve.log"
    url = f"http://{named or '127.0.0.1'}:{port}"
    environ = {**{name: os.environ[name] for name in KEEP if name in os.environ}, "APP_ENV": "test",
               "VAR_DIR": str(home / "var"), "PORT": str(port), **extra,
               **({"PUBLIC_URL": url} if named else {})}  # fmt: skip
    with log.open("wb") as file:
        process = subprocess.Popen(
            [sys.executable, "-m", "tasks.serve"], cwd=ROOT, env=environ, stdout=file, stderr=file
        )
    try:
        wait_until(lambda: process.poll() is not None or _answers(url), about="the vault")
        story = log.read_text()
        assert process.poll() is None, story[-3000:]
        found = re.search(r"http://\S+/setup\?token=\S+", story)
        yield RunningVault(url, found[0] if found else "", log)
    finally:
        process.send_signal(signal.SIGTERM)
        process.wait(60)


def _answers(url: str) -> bool:
    import requests

    with contextlib.suppress(requests.RequestException):
        return requests.get(f"{url}/sign-in", timeout=2).status_code == 200
    return False


@contextlib.contextmanager
def chromium() -> Iterator[Browser]:
    """Headless Chromium of the system."""
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(
            executable_path=CHROMIUM, args=["--no-sandbox", "--font-render-hinting=none"]
        )
        yield browser
        browser.close()


@dataclass(slots=True)
class Watched:
    """A browsing context and every complaint of its pages: broken policy, script errors, parts that did not load."""

    context: BrowserContext
    complaints: list[str] = field(default_factory=list)
    allowed: set[int] = field(default_factory=set)

    def page(self) -> Page:
        """A new page, its complaints heard."""
        page = self.context.new_page()
        page.set_default_timeout(15_000)
        page.on("console", lambda message: self._hear(message))
        page.on("pageerror", lambda error: self.complaints.append(f"script: {error}"))
        return page

    def allow(self, status: int) -> None:
        """This test asks for something that is answered so; Chromium writes each such answer to the console."""
        self.allowed.add(status)

    def _hear(self, message: ConsoleMessage) -> None:
        refusal = re.search(r"the server responded with a status of (\d+)", message.text)
        stream = message.location.get("url", "").endswith("/events")
        full = stream and refusal and refusal[1] in {"429", "503"}  # the page polls
        if message.type == "error" and not full and not (refusal and int(refusal[1]) in self.allowed):
            self.complaints.append(f"{message.text} ({message.location.get('url', '')})")


def watched(browser: Browser, **options: Any) -> Watched:
    """A fresh context: no cookies of others."""
    context = browser.new_context(**{"viewport": {"width": 1440, "height": 900}, "locale": "en-GB", **options})
    if options.get("java_script_enabled", True):
        context.add_init_script(LISTEN)
    return Watched(context)


def set_up(page: Page, vault: RunningVault) -> None:
    """Open the set-up link and become the administrator."""
    page.goto(vault.setup_link)
    page.fill("[name=name]", NAME)
    page.fill("[name=email]", EMAIL)
    page.fill("[name=password]", PASSWORD)
    page.click("form button[type=submit]:not(.reveal)")
    page.wait_for_url("**/files")


def sign_in(page: Page, vault: RunningVault) -> None:
    """Sign in by the form."""
    page.goto(f"{vault.url}/sign-in")
    page.fill("[name=email]", EMAIL)
    page.fill("[name=password]", PASSWORD)
    page.click("form button[type=submit]:not(.reveal)")
    page.wait_for_url("**/files")


def axe_faults(page: Page) -> list[str]:
    """What axe-core finds wrong on the page as it is now: rule, element, what to do."""
    page.evaluate(AXE.read_text())
    found = page.evaluate("axe.run(document, {resultTypes: ['violations']})")
    return [
        f"{fault['id']}: {node['html'][:200]} {node['failureSummary'][:300]}"
        for fault in found["violations"]
        for node in fault["nodes"]
    ]


def picture(width: int = 1600, height: int = 1067, hue: float = 0.55) -> bytes:
    """A JPEG with enough in it to recognise: sky, sun, sea."""
    from PIL import Image, ImageDraw, ImageFilter

    def mix(low: tuple[int, int, int], high: tuple[int, int, int], part: float) -> tuple[int, ...]:
        return tuple(round(a + (b - a) * part) for a, b in zip(low, high, strict=True))

    shift = round(90 * hue)
    image = Image.new("RGB", (width, height))
    draw = ImageDraw.Draw(image)
    horizon = height * 6 // 10
    for line in range(height):
        if line < horizon:
            colour = mix((40 + shift, 90, 160), (250, 190 - shift, 140), line / horizon)
        else:
            colour = mix((20, 110 + shift // 2, 120), (8, 40, 60), (line - horizon) / (height - horizon))
        draw.line([(0, line), (width, line)], fill=colour)
    radius, middle = height // 9, width * 2 // 3
    draw.pieslice(
        [middle - radius, horizon - radius, middle + radius, horizon + radius], 180, 360, fill=(255, 236, 190)
    )
    chance = random.Random(width + shift)
    for _ in range(160):
        far = chance.random() ** 2
        left, top = chance.randrange(-60, width), horizon + 6 + far * (height - horizon)
        near = abs(left - middle) < radius * (1 + far * 2)
        shade = (230, 214, 176) if near else (60, 128 + shift // 2, 132)
        draw.line([(left, top), (left + 12 + far * 110, top)], fill=shade, width=1 + round(far * 3))
    out = io.BytesIO()
    image.filter(ImageFilter.GaussianBlur(1)).save(out, "JPEG", quality=86)
    return out.getvalue()


def document(title: str, pages: int = 3) -> bytes:
    """A PDF with a title and paragraphs."""
    from reportlab.lib.pagesizes import A4
    from reportlab.pdfgen.canvas import Canvas

    out = io.BytesIO()
    canvas = Canvas(out, pagesize=A4, invariant=True)
    for number in range(1, pages + 1):
        canvas.setFont("Helvetica-Bold", 22)
        canvas.drawString(72, 760, title)
        canvas.setFont("Helvetica", 11)
        for line in range(34):
            canvas.drawString(
                72, 720 - line * 18, f"{number}.{line + 1}  Berth, tide and cargo as agreed at the harbour office."
            )
        canvas.showPage()
    canvas.save()
    return out.getvalue()


def table() -> bytes:
    """A spreadsheet."""
    from openpyxl import Workbook

    book, out = Workbook(), io.BytesIO()
    for row in range(200):
        book.active.append([f"Berth {row}", row * 17 % 90, row * 3.5])
    book.save(out)
    return out.getvalue()


def archive() -> bytes:
    """A ZIP."""
    import zipfile

    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", zipfile.ZIP_DEFLATED) as file:
        for number in range(20):
            file.writestr(f"logs/2026-{number:02}.txt", f"tide {number}\n" * 500)
    return out.getvalue()


def drop(page: Page, files: dict[str, tuple[str, bytes]]) -> None:
    """Drop files (name: type, bytes) on the page as a person drags them in from her desktop."""
    import base64

    parts = [[name, mime, base64.b64encode(data).decode()] for name, (mime, data) in files.items()]
    page.evaluate(
        """(parts) => {
          const carried = new DataTransfer();
          for (const [name, type, data] of parts) {
            const bytes = Uint8Array.from(atob(data), (letter) => letter.charCodeAt(0));
            carried.items.add(new File([bytes], name, {type}));
          }
          const target = document.querySelector("main");
          for (const kind of ["dragenter", "dragover", "drop"]) {
            target.dispatchEvent(new DragEvent(kind, {dataTransfer: carried, bubbles: true, cancelable: true}));
          }
        }""",
        parts,
    )


class Program:
    """A script at the API of a running vault."""

    def __init__(self, vault: RunningVault, email: str = EMAIL, password: str = PASSWORD) -> None:
        import requests

        self.url, self.session = f"{vault.url}/api/v1", requests.Session()
        answer = self.session.post(f"{self.url}/auth/login", json={"email": email, "password": password}, timeout=30)
        assert answer.status_code == 200, answer.text
        self.session.headers["Authorization"] = f"Bearer {answer.json()['access_token']}"

    def call(self, method: str, path: str, **options: Any) -> Any:
        """The decoded answer; anything but 2xx fails."""
        answer = self.session.request(method, f"{self.url}{path}", timeout=60, **options)
        assert answer.ok, f"{method} {path}: {answer.status_code} {answer.text[:500]}"
        return json.loads(answer.content) if answer.content else None

    def upload(self, name: str, data: bytes, folder: str | None = None) -> Any:
        """A file by its raw bytes."""
        query = {"name": name, **({"folder_id": folder} if folder else {})}
        kind = {"Content-Type": "application/octet-stream"}
        return self.call("POST", "/files", params=query, data=data, headers=kind)

    def wait_for_jobs(self, limit: float = 60.0) -> None:
        """Return when nothing is queued or running."""
        deadline = time.monotonic() + limit
        while any(job["state"] in {"queued", "running"} for job in self.call("GET", "/jobs?limit=100")["items"]):
            assert time.monotonic() < deadline, "jobs do not end"
            time.sleep(0.2)
