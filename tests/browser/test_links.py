"""A public link from one browser to another: with a password, for a stranger; files handed in."""

from collections.abc import Callable
from pathlib import Path

import pytest
from playwright.sync_api import Page, expect

from tests.browser.stage import AXE, Program, RunningVault, Watched, axe_faults

pytestmark = [pytest.mark.browser]
PASSWORD = "boats and buoys"


@pytest.fixture
def stranger(visit: Callable[..., Watched]) -> Page:
    """The browser of somebody without an account."""
    visitor = visit()
    for status in (404, 422):
        visitor.allow(status)
    return visitor.page()


def test_a_link_with_a_password_is_made_opened_and_revoked(page: Page, stranger: Page, vault: RunningVault) -> None:
    file = Program(vault).upload("north.txt", b"depths of the north")["id"]
    page.goto(f"{vault.url}/files/{file}/access")
    making = page.locator("form:has([name=download_limit])")
    making.get_by_label("Label").fill("For the pilots")
    making.locator("[name=password]").fill(PASSWORD)
    making.get_by_role("button", name="Make the link").click()
    address = page.get_by_label("Address of the link").input_value()

    stranger.goto(address)
    expect(stranger.get_by_text("north.txt")).to_have_count(0)
    stranger.locator("[name=password]").fill("something else")
    stranger.get_by_role("button", name="Open").click()
    expect(stranger.get_by_role("alert")).to_contain_text("not the password")
    stranger.locator("[name=password]").fill(PASSWORD)
    stranger.get_by_role("button", name="Open").click()
    expect(stranger.get_by_role("heading", name="north.txt")).to_be_visible()
    expect(stranger.locator(".preview")).to_contain_text("depths of the north")
    if AXE.exists():
        assert axe_faults(stranger) == []
    with stranger.expect_download() as download:
        stranger.get_by_role("link", name="Download").click()
    assert Path(download.value.path()).read_bytes() == b"depths of the north"

    page.reload()
    expect(page.locator(".list-visits")).to_contain_text("north.txt")
    page.get_by_role("button", name="Revoke").click()
    stranger.reload()
    expect(stranger.get_by_text("There is no such link")).to_be_visible()
    expect(stranger.get_by_text("north.txt")).to_have_count(0)


def test_a_stranger_walks_a_folder(stranger: Page, vault: RunningVault) -> None:
    program = Program(vault)
    outer = program.call("POST", "/folders", json={"name": "Links private"})["id"]
    folder = program.call("POST", "/folders", json={"name": "Charts for all", "parent_id": outer})["id"]
    inner = program.call("POST", "/folders", json={"name": "South", "parent_id": folder})["id"]
    program.upload("south.txt", b"depths", inner)
    share = program.call("POST", "/shares", json={"folder_id": folder})
    stranger.goto(share["url"])
    stranger.get_by_role("link", name="South").click()
    stranger.get_by_role("link", name="south.txt", exact=True).click()
    expect(stranger.get_by_role("heading", name="south.txt")).to_be_visible()
    stranger.get_by_role("link", name="Charts for all").click()
    expect(stranger.get_by_role("heading", name="Charts for all")).to_be_visible()
    expect(stranger.get_by_text("Links private")).to_have_count(0)


@pytest.mark.parametrize("scripts", [True, False])
def test_files_are_handed_in_with_and_without_scripts(
    visit: Callable[..., Watched], vault: RunningVault, scripts: bool, tmp_path: Path
) -> None:
    program = Program(vault)
    folder = program.call("POST", "/folders", json={"name": f"Inbox {scripts}"})["id"]
    share = program.call("POST", "/shares", json={"folder_id": folder, "upload_only": True})
    sent = tmp_path / "report.txt"
    sent.write_text("all well")
    page = visit(java_script_enabled=scripts).page()
    page.goto(share["url"])
    for _ in range(2):
        page.locator("[name=file]").set_input_files(sent)
        page.get_by_role("button", name="Send").click()
        expect(page.get_by_text("“report.txt” has arrived")).to_be_visible()
    items = program.call("GET", f"/files?folder_id={folder}")["items"]
    assert {item["name"] for item in items} == {"report.txt", "report (1).txt"}
