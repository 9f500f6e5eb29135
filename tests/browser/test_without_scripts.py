"""The same deeds by links and forms alone: scripts only improve the pages."""

from collections.abc import Callable
from pathlib import Path

import pytest
from playwright.sync_api import Page, StorageState, expect

from tests.browser.stage import RunningVault, Watched

pytestmark = [pytest.mark.browser]


def entry(page: Page, name: str) -> object:
    return page.locator("a.entry", has_text=name)


def test_a_file_goes_in_moves_and_comes_back_from_the_trash_by_forms(
    plain_page: Page, vault: RunningVault, tmp_path: Path
) -> None:
    page = plain_page
    note = tmp_path / "tide table.txt"
    note.write_text("High water 04:12\n")

    page.locator("[data-upload] > summary").click()
    page.locator("#upload-files").set_input_files(note)
    page.locator("[data-upload] button[type=submit]").click()
    expect(entry(page, "tide table.txt")).to_be_visible()
    expect(page.locator(".flash")).to_contain_text("uploaded")

    page.locator("[data-new-folder] > summary").click()
    page.locator("#folder-name").fill("Tides")
    page.get_by_role("button", name="Create folder").click()

    page.goto(f"{vault.url}/files")
    entry(page, "tide table.txt").click()
    expect(page.locator(".preview pre")).to_have_text("High water 04:12\n")
    page.get_by_role("link", name="Rename").click()
    page.locator("[name=name]").fill("Tides of March.txt")
    page.locator("main form button[type=submit]").click()
    expect(entry(page, "Tides of March.txt")).to_be_visible()

    entry(page, "Tides of March.txt").click()
    page.get_by_role("link", name="Move", exact=True).click()
    page.locator(".browse-item", has_text="Tides").click()
    page.get_by_role("button", name="Move here").click()
    expect(page.get_by_role("heading", name="Tides", exact=True)).to_be_visible()
    entry(page, "Tides of March.txt").click()
    with page.expect_download() as download:
        page.get_by_role("link", name="Download").click()
    assert Path(download.value.path()).read_text() == "High water 04:12\n"

    page.get_by_role("button", name="Move to trash").click()
    expect(entry(page, "Tides of March.txt")).to_have_count(0)
    page.locator(".flash").get_by_role("button", name="Undo").click()
    page.goto(f"{vault.url}/files")
    entry(page, "Tides").click()
    entry(page, "Tides of March.txt").click()
    page.get_by_role("button", name="Move to trash").click()
    page.goto(f"{vault.url}/trash")
    page.get_by_role("button", name="Restore Tides of March.txt").click()
    page.goto(f"{vault.url}/trash")
    expect(page.get_by_text("Tides of March.txt")).to_have_count(0)


def test_a_stale_form_meets_the_merge_page_and_the_chosen_name_is_saved(
    visit: Callable[..., Watched], vault: RunningVault, cookies: StorageState, tmp_path: Path
) -> None:
    draft = tmp_path / "draft.txt"
    draft.write_text("x")
    visitor = visit(java_script_enabled=False, storage_state=cookies)
    visitor.allow(409)
    page = visitor.page()
    page.goto(f"{vault.url}/files")
    page.locator("[data-upload] > summary").click()
    page.locator("#upload-files").set_input_files(draft)
    page.locator("[data-upload] button[type=submit]").click()
    entry(page, "draft.txt").click()
    page.get_by_role("link", name="Rename").click()
    other = page.context.new_page()
    other.goto(page.url)
    other.locator("[name=name]").fill("theirs.txt")
    other.locator("main form button[type=submit]").click()
    page.locator("[name=name]").fill("yours.txt")
    page.locator("main form button[type=submit]").click()
    expect(page.locator("main")).to_contain_text("theirs.txt")
    page.get_by_label("Yours").check()
    page.get_by_role("button", name="Save this choice").click()
    expect(entry(page, "yours.txt")).to_be_visible()
    expect(entry(page, "theirs.txt")).to_have_count(0)


def test_settings_are_saved_refused_and_merged_by_forms(
    visit: Callable[..., Watched], vault: RunningVault, cookies: StorageState
) -> None:
    visitor = visit(java_script_enabled=False, storage_state=cookies)
    visitor.allow(409)
    visitor.allow(422)
    page, other = visitor.page(), visitor.page()
    page.goto(f"{vault.url}/files")
    page.get_by_role("link", name="Settings").first.click()
    page.get_by_label("Webhook deliveries (days)").fill("99999")
    page.get_by_role("button", name="Save").click()
    expect(page.locator(".field-error")).to_contain_text("3650")
    other.goto(f"{vault.url}/admin/settings")
    other.get_by_label("Webhook deliveries (days)").fill("40")
    other.get_by_role("button", name="Save").click()
    expect(other.locator(".flash")).to_contain_text("Saved")
    page.get_by_label("Webhook deliveries (days)").fill("50")
    page.get_by_role("button", name="Save").click()
    expect(page.locator(".conflict")).to_contain_text("40")
    page.get_by_role("button", name="Save this choice").click()
    expect(page.get_by_label("Webhook deliveries (days)")).to_have_value("50")


@pytest.mark.parametrize("scripts", [True, False])
def test_on_a_phone_the_bar_leads_to_administration(
    visit: Callable[..., Watched], vault: RunningVault, cookies: StorageState, scripts: bool
) -> None:
    page = visit(java_script_enabled=scripts, storage_state=cookies, viewport={"width": 390, "height": 844}).page()
    page.goto(f"{vault.url}/files")
    bar = page.get_by_role("navigation", name="Main")
    bar.get_by_text("Admin", exact=True).click()
    bar.get_by_role("link", name="Settings").click()
    expect(page.get_by_role("heading", name="Settings", exact=True)).to_be_visible()
    expect(bar.locator("summary")).to_have_attribute("aria-current", "true")


def test_a_wrong_password_is_said_beside_the_form_and_the_address_is_kept(
    visit: Callable[..., Watched], vault: RunningVault
) -> None:
    visitor = visit(java_script_enabled=False)
    visitor.allow(401)
    page = visitor.page()
    page.goto(f"{vault.url}/sign-in")
    page.fill("[name=email]", "mira@harbour.example")
    page.fill("[name=password]", "not this one")
    page.click("form button[type=submit]:not(.reveal)")
    expect(page.get_by_role("alert")).to_be_visible()
    expect(page.locator("[name=email]")).to_have_value("mira@harbour.example")
    expect(page.locator("[name=password]")).to_have_value("")
