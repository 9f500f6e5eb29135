"""Uploads by people: large files in parts by tus-js-client unchanged, folders, pauses, reloads, taken names."""

import hashlib
import os
import re
from collections.abc import Callable
from pathlib import Path

import pytest
from playwright.sync_api import Page, StorageState, expect

from tests.browser.stage import Program, RunningVault, Watched, drop

pytestmark = [pytest.mark.browser]


def choose(page: Page, path: Path) -> None:
    with page.expect_file_chooser() as chooser:
        page.locator("[data-upload] > summary").click()
    chooser.value.set_files(path)


def slow_down(page: Page, rate: int) -> None:
    line = {"offline": False, "latency": 0, "downloadThroughput": -1, "uploadThroughput": rate}
    page.context.new_cdp_session(page).send("Network.emulateNetworkConditions", line)


def sum_of(vault: RunningVault, name: str) -> str:
    files = Program(vault).call("GET", "/files?limit=100")["items"]
    return next(str(file["sha256"]) for file in files if file["name"] == name)


@pytest.fixture
def large(tmp_path: Path) -> Path:
    path = tmp_path / f"tide-{os.urandom(3).hex()}.bin"
    path.write_bytes(os.urandom(12 * 1024**2))
    return path


def test_a_large_file_pauses_and_goes_on_also_after_a_reload(
    vault: RunningVault, visit: Callable[..., Watched], cookies: StorageState, large: Path
) -> None:
    page = visit(storage_state=cookies).page()
    page.on("dialog", lambda dialog: dialog.accept())  # leave the page in the middle
    page.goto(f"{vault.url}/files")
    slow_down(page, 3 * 1024**2)
    choose(page, large)
    expect(page.locator("#tray .tray-text").last).to_contain_text(re.compile(r"[1-9]\d? ?%"))
    page.get_by_role("button", name=f"Pause {large.name}").click()
    expect(page.locator("#tray .tray-text").last).to_contain_text("Paused at")
    page.get_by_role("button", name=f"Go on with {large.name}").click()
    expect(page.locator("#tray .tray-text").last).to_contain_text(re.compile(r"[3-9]\d ?%"))
    page.reload()
    with page.expect_response(lambda answer: answer.request.method == "HEAD") as seen:
        choose(page, large)
    assert int(seen.value.headers["upload-offset"]) > 1024**2
    expect(page.locator("#tray .bar-good")).to_have_count(1, timeout=30_000)
    assert sum_of(vault, large.name) == hashlib.sha256(large.read_bytes()).hexdigest()


def test_a_folder_comes_with_what_is_in_it(page: Page, vault: RunningVault, tmp_path: Path) -> None:
    folder = tmp_path / f"Pier {os.urandom(3).hex()}"
    (folder / "North").mkdir(parents=True)
    (folder / "a.txt").write_text("a")
    (folder / "North/b.txt").write_text("b")
    with page.expect_file_chooser() as chooser:
        page.locator("[data-pick-folder]").first.dispatch_event("click")
    chooser.value.set_files(folder)
    expect(page.locator("#tray .bar-good")).to_have_count(2)
    page.locator(f'#rows tr[data-name="{folder.name}"] a.entry').click()
    expect(page.locator('#rows tr[data-name="a.txt"]')).to_be_visible()
    page.locator('#rows tr[data-name="North"] a.entry').click()
    expect(page.locator('#rows tr[data-name="b.txt"]')).to_be_visible()


def test_taken_names_are_settled_once_for_all(
    vault: RunningVault, visit: Callable[..., Watched], cookies: StorageState
) -> None:
    visitor = visit(storage_state=cookies)
    visitor.allow(409)
    page = visitor.page()
    page.goto(f"{vault.url}/files")
    mark = os.urandom(3).hex()
    names = [f"{mark}-{number}.txt" for number in range(3)]
    drop(page, dict.fromkeys(names, ("text/plain", b"one")))
    expect(page.locator("#tray .bar-good")).to_have_count(3)
    page.locator("#tray [data-close]").click()
    drop(page, dict.fromkeys(names, ("text/plain", b"two")))
    expect(page.locator("#tray .is-bad")).to_have_count(3)
    page.get_by_label("Do this for all").check()
    page.locator("#tray [data-fix=replace]").first.click()
    expect(page.locator("#tray .bar-good")).to_have_count(3)
    for name in names:
        assert sum_of(vault, name) == hashlib.sha256(b"two").hexdigest()
