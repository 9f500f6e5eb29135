"""The first minutes of a vault, as a person has them: from the set-up link to restoring what she trashed."""

import hashlib
import re
import time
import zipfile
from collections.abc import Callable
from pathlib import Path

import pytest
from playwright.sync_api import Page, Route, StorageState, expect

from tests.browser.stage import NAME, RunningVault, Watched, document, drop, picture, set_up, table

pytestmark = [pytest.mark.browser]
PHOTO, REPORT, SHEET = picture(), document("Harbour report"), table()


def row(page: Page, name: str) -> object:
    return page.locator(f'#rows tr[data-name="{name}"]')


def pick(page: Page, name: str, deed: str) -> None:
    """Open the menu of a row and choose."""
    page.locator(f'#rows tr[data-name="{name}"] [data-row-menu]').click()
    page.locator(f'#row-panel [data-do="{deed}"]').click()


def test_the_first_minutes(fresh_vault: RunningVault, visit: Callable[..., Watched], tmp_path: Path) -> None:
    page = visit().page()
    set_up(page, fresh_vault)
    expect(page.get_by_role("heading", name="Files", exact=True)).to_be_visible()
    expect(page.locator(".user-menu summary")).to_have_attribute("title", NAME)

    drop(page, {"photo.jpg": ("image/jpeg", PHOTO), "report.pdf": ("application/pdf", REPORT)})
    expect(page.locator("#tray .bar-good")).to_have_count(2)
    sheet = tmp_path / "berths.xlsx"
    sheet.write_bytes(SHEET)
    with page.expect_file_chooser() as chooser:
        page.locator("[data-upload] > summary").click()
    chooser.value.set_files(sheet)
    expect(page.locator("#rows tr[data-id]")).to_have_count(3)

    for name in ("photo.jpg", "report.pdf"):  # the page looks again by itself until the worker has made them
        thumbnail = page.locator(f'#rows tr[data-name="{name}"] .tile img')
        expect(thumbnail).to_be_visible(timeout=30_000)
        assert thumbnail.evaluate("async (image) => { await image.decode(); return image.naturalWidth }") > 0
    expect(page.locator("#rows .chip-busy")).to_have_count(0, timeout=30_000)

    for name, data in (("photo.jpg", PHOTO), ("report.pdf", REPORT), ("berths.xlsx", SHEET)):
        with page.expect_download() as download:
            pick(page, name, "download")
        assert download.value.suggested_filename == name
        assert hashlib.sha256(Path(download.value.path()).read_bytes()).digest() == hashlib.sha256(data).digest()

    pick(page, "report.pdf", "rename")
    page.locator("#dialog [name=name]").fill("Harbour report 2026.pdf")
    page.locator("#dialog button[type=submit]").click()
    expect(row(page, "Harbour report 2026.pdf")).to_be_visible()

    page.locator("[data-new-folder] > summary").click()
    page.locator("#folder-name").fill("Reports")
    page.get_by_role("button", name="Create folder").click()
    page.wait_for_url("**/files") if page.url.endswith("/files") else page.goto(f"{fresh_vault.url}/files")
    pick(page, "Harbour report 2026.pdf", "move")
    page.locator("#dialog .browse-item", has_text="Reports").click()
    expect(page.locator("#dialog [aria-current=true]")).to_have_text("Reports")
    page.locator("#dialog").get_by_role("button", name="Move here").click()
    expect(row(page, "Harbour report 2026.pdf")).to_have_count(0)
    page.goto(f"{fresh_vault.url}/files")
    page.locator('#rows tr[data-name="Reports"] a.entry').click()
    expect(row(page, "Harbour report 2026.pdf")).to_be_visible()

    pick(page, "Harbour report 2026.pdf", "trash")
    expect(row(page, "Harbour report 2026.pdf")).to_have_count(0)
    page.locator("#toasts").get_by_role("button", name="Undo").click()
    expect(row(page, "Harbour report 2026.pdf")).to_be_visible()

    pick(page, "Harbour report 2026.pdf", "trash")
    expect(row(page, "Harbour report 2026.pdf")).to_have_count(0)
    page.goto(f"{fresh_vault.url}/trash")
    page.get_by_role("button", name="Restore Harbour report 2026.pdf").click()
    expect(page.locator("#toasts")).to_contain_text("Harbour report 2026.pdf")
    page.goto(f"{fresh_vault.url}/files")
    page.locator('#rows tr[data-name="Reports"] a.entry').click()
    expect(row(page, "Harbour report 2026.pdf")).to_be_visible()


def test_the_set_up_link_works_once(vault: RunningVault, visit: Callable[..., Watched]) -> None:
    visitor = visit()
    visitor.allow(404)
    answer = visitor.page().goto(vault.setup_link)
    assert answer is not None
    assert answer.status == 404


def test_bars_move_while_a_large_file_is_sent(page: Page) -> None:
    slow = page.context.new_cdp_session(page)
    line = {"offline": False, "latency": 0, "downloadThroughput": -1, "uploadThroughput": 2 * 1024**2}
    slow.send("Network.emulateNetworkConditions", line)
    drop(page, {"slow.bin": ("application/octet-stream", bytes(range(256)) * 16384)})
    page.wait_for_function(
        "() => [...document.querySelectorAll('#tray .bar')].some((bar) => bar.value > 0 && bar.value < 1000)"
    )
    expect(page.locator("#tray .tray-text")).to_contain_text(re.compile(r"\d+ ?%"))
    expect(page.locator("#tray .bar-good")).to_have_count(1)
    expect(row(page, "slow.bin")).to_be_visible()


def test_uploads_wait_as_long_as_a_busy_server_asks_for(
    vault: RunningVault, visit: Callable[..., Watched], cookies: StorageState
) -> None:
    visitor = visit(storage_state=cookies)
    visitor.allow(429)
    page = visitor.page()
    page.goto(f"{vault.url}/files")
    refused: list[float] = []

    def answer(route: Route) -> None:
        if len(refused) < 2:
            refused.append(time.monotonic())
            route.fulfill(status=429, headers={"Retry-After": "1"}, json={"status": 429, "detail": "Too fast."})
        else:
            refused.append(time.monotonic())
            route.continue_()

    page.route("**/api/v1/files?*", answer)
    drop(page, {"patient.txt": ("text/plain", b"I can wait")})
    expect(page.locator("#tray .tray-text")).to_contain_text("Goes on in")
    expect(page.locator("#tray .bar-good")).to_have_count(1, timeout=15_000)
    assert refused[-1] - refused[0] >= 2


def test_a_taken_name_is_kept_both_ways_when_she_says_so(
    vault: RunningVault, visit: Callable[..., Watched], cookies: StorageState
) -> None:
    visitor = visit(storage_state=cookies)
    visitor.allow(409)
    page = visitor.page()
    page.goto(f"{vault.url}/files")
    twice = {"twice.txt": ("text/plain", b"one")}
    drop(page, twice)
    expect(row(page, "twice.txt")).to_be_visible()
    page.locator("#tray [data-close]").click()
    drop(page, {"twice.txt": ("text/plain", b"two")})
    page.locator("#tray [data-fix=rename]").click()
    expect(row(page, "twice (1).txt")).to_be_visible()


def test_a_selection_and_a_folder_are_downloaded_as_a_zip(page: Page, vault: RunningVault) -> None:
    page.locator("[data-new-folder] > summary").click()
    page.locator("#folder-name").fill("Packed")
    page.get_by_role("button", name="Create folder").click()
    page.locator('#rows tr[data-name="Packed"] a.entry').click()
    drop(page, {"packed.txt": ("text/plain", b"packed")})
    expect(row(page, "packed.txt")).to_be_visible()
    page.goto(f"{vault.url}/files")
    drop(page, {"loose.txt": ("text/plain", b"loose")})
    expect(row(page, "loose.txt")).to_be_visible()
    for name in ("Packed", "loose.txt"):
        row(page, name).locator("input[type=checkbox]").check()
    with page.expect_download() as download:
        page.locator('#selection [data-do="download"]').click()
    with zipfile.ZipFile(download.value.path()) as archive:
        assert {name: archive.read(name) for name in archive.namelist()}.keys() >= {"Packed/", "loose.txt"}
    assert download.value.suggested_filename == "Files.zip"
    with page.expect_download() as download:
        pick(page, "Packed", "download")
    assert download.value.suggested_filename == "Packed.zip"
    page.locator('#rows tr[data-name="Packed"] a.entry').click()
    page.get_by_text("More about this folder").locator("..").click()
    with page.expect_download() as download:
        page.get_by_role("link", name="Download as zip").click()
    assert download.value.suggested_filename == "Packed.zip"
