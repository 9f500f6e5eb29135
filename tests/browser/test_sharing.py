"""Two people and a folder: one shares it, the other sees it, changes it once that is allowed, and loses it again."""

from collections.abc import Callable

import pytest
from playwright.sync_api import Page, expect

from tests.browser.stage import AXE, Program, RunningVault, Watched, axe_faults
from tests.servers import wait_until

pytestmark = [pytest.mark.browser]
EMAIL, PASSWORD = "noor.lund@harbour.example", "Correct-Horse-7-Battery"


@pytest.fixture
def other(vault: RunningVault, visit: Callable[..., Watched]) -> Page:
    """The browser of another person."""
    wish = {"name": "Noor Lund", "email": EMAIL, "password": PASSWORD}
    Program(vault).call("POST", "/users", json=wish)
    visitor = visit()
    visitor.allow(404)
    page = visitor.page()
    page.goto(f"{vault.url}/sign-in")
    page.fill("[name=email]", EMAIL)
    page.fill("[name=password]", PASSWORD)
    page.click("form button[type=submit]:not(.reveal)")
    page.wait_for_url("**/files")
    return page


def share(page: Page, level: str) -> None:
    page.get_by_label("E-mail").fill(EMAIL)
    page.locator("#field-level").select_option(level)
    page.locator("form:has(#field-email) button[type=submit]").click()
    expect(page.locator(".list-grants tbody tr")).to_have_count(1)


def test_a_folder_is_shared_used_and_taken_back(page: Page, other: Page, vault: RunningVault) -> None:
    program = Program(vault)
    outer = program.call("POST", "/folders", json={"name": "Private"})["id"]
    folder = program.call("POST", "/folders", json={"name": "Charts", "parent_id": outer})["id"]
    program.upload("north.txt", b"depths", folder)
    page.goto(f"{vault.url}/folders/{folder}")
    page.get_by_text("More about this folder").locator("..").click()
    page.get_by_role("link", name="Access and sharing").click()
    share(page, "viewer")

    other.get_by_role("link", name="Shared", exact=True).click()
    other.get_by_role("link", name="Charts").click()
    expect(other.locator(".crumbs")).to_contain_text("Shared")
    expect(other.locator(".crumbs")).not_to_contain_text("Private")
    expect(other.get_by_text("north.txt")).to_be_visible()
    expect(other.get_by_text("New folder")).to_have_count(0)
    expect(other.locator("[data-upload]")).to_have_count(0)
    if AXE.exists():
        assert axe_faults(other) == []
    other.get_by_role("link", name="north.txt").first.click()
    expect(other.get_by_role("heading", name="Who has access, and why")).to_be_visible()
    expect(other.locator(".person", has_text="You")).to_contain_text("on the folder Charts")
    expect(other.get_by_role("link", name="Rename")).to_have_count(0)

    share(page, "editor")
    other.goto(f"{vault.url}/folders/{folder}")
    other.locator("[data-new-folder] > summary").click()
    other.get_by_label("Name of the folder").fill("Soundings")
    other.get_by_role("button", name="Create folder").click()
    expect(other.locator(".crumbs")).to_contain_text("Charts")
    names = [each["name"] for each in program.call("GET", f"/folders?parent_id={folder}")["items"]]
    assert names == ["Soundings"]
    other.locator("#rows tr", has_text="north.txt").locator("[data-row-menu]").click()
    other.get_by_role("menuitem", name="Move to trash").click()
    expect(other.locator(".toasts")).to_contain_text("north.txt")
    expect(other.locator(".toasts").get_by_role("button", name="Undo")).to_have_count(0)
    wait_until(lambda: "north.txt" in [f["name"] for f in program.call("GET", "/trash")["items"]], about="the trash")

    page.locator(".list-grants").get_by_role("button").click()
    expect(page.get_by_text("Not shared yet")).to_be_visible()
    other.goto(f"{vault.url}/folders/{folder}")
    expect(other.get_by_role("heading", name="Not found")).to_be_visible()
    other.goto(f"{vault.url}/shared")
    expect(other.get_by_role("heading", name="Shared with me")).to_be_visible()
    expect(other.get_by_role("link", name="Charts")).to_have_count(0)
