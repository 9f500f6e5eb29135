"""Every page, in both themes and on a phone: no fault found by axe-core, no broken policy, no sideways scrolling."""

from collections.abc import Callable, Iterator
from typing import Any

import pytest
from playwright.sync_api import Browser, Page, StorageState, expect

from tests.browser.stage import (
    AXE,
    ELSEWHERE,
    Program,
    RunningVault,
    Watched,
    axe_faults,
    picture,
    running_vault,
    watched,
)
from tests.servers import absent

pytestmark = [pytest.mark.browser]
THEMES = ("light", "dark")
SIZES = {"desktop": (1440, 900), "phone": (390, 844)}


def public(share: Any) -> str:
    """Where a stranger opens a link."""
    return "/s/" + str(share["url"]).rsplit("/", 1)[1]


@pytest.fixture(scope="module")
def addresses(vault: RunningVault) -> dict[str, str]:
    """One address of every kind of page, with something to show on it."""
    program = Program(vault)
    folder = program.call("POST", "/folders", json={"name": "Harbour"})["id"]
    program.call("POST", "/folders", json={"name": "Quay"})
    photo = program.upload("quay.jpg", picture(800, 533), folder)["id"]
    note = program.upload(
        "A note with a long name that has to be cut somewhere on a small screen, or wrapped.txt", b"text\n"
    )["id"]
    draft = program.upload("draft.txt", b"one\ntwo\n")["id"]
    program.call("PUT", f"/files/{draft}/content", data=b"one\nthree\n",
                 headers={"Content-Type": "application/octet-stream"})  # fmt: skip
    program.upload("broken.pdf", b"%PDF-1.7\nno pages", folder)
    gone = program.upload("gone.txt", b"gone\n")["id"]
    program.call("DELETE", f"/files/{gone}")
    program.wait_for_jobs()
    job = program.call("GET", "/jobs")["items"][0]["id"]
    schedule = program.call("GET", "/schedules")["items"][0]["id"]
    wish = {"name": "Ledger", "url": "https://93.184.215.14/hook", "events": ["user.changed"]}  # nothing is sent
    hook = program.call("POST", "/webhooks", json=wish)["id"]
    paused = program.call("POST", "/webhooks", json={**wish, "name": "Paused"})["id"]
    program.call("PATCH", f"/webhooks/{paused}", json={"enabled": False})
    program.call("POST", "/test-mails")
    other = {"name": "Noor", "email": "noor@harbour.example", "roles": ["member", "manager"]}
    user = program.call("POST", "/users", json=other)["id"]
    program.call("POST", "/invitations", json={"email": "bo@harbour.example"})
    wish = {"name": "Auditors", "about": "Look, touch nothing", "permissions": ["files.read"]}
    role = program.call("POST", "/roles", json=wish)["id"]
    group = program.call("POST", "/groups", json={"name": "Pilots", "about": "Who brings the ships in"})["id"]
    program.call("PUT", f"/groups/{group}/members/{user}", json={"manager": True})
    for wish in ({"email": other["email"], "level": "editor"}, {"group_id": group, "level": "viewer"}):
        program.call("PUT", f"/folders/{folder}/grants", json=wish)
    wish = {"name": "Backup of the office", "scopes": ["files.read"], "folder_id": folder}
    program.call("POST", "/tokens", json=wish)
    share = program.call("POST", "/shares", json={"folder_id": folder, "label": "For the pilots"})
    locked = program.call("POST", "/shares", json={"file_id": photo, "password": "tell nobody"})
    box = program.call("POST", "/shares", json={"folder_id": folder, "upload_only": True})
    asks = program.call("POST", "/shares", json={"file_id": note, "recipients": ["bo@harbour.example"]})
    paths = {
        "links": "/shares",
        "link": f"/shares/{share['id']}",
        "everybody's links": "/admin/shares",
        "public folder": public(share),
        "public file": f"{public(share)}/files/{photo}",
        "public link with a password": public(locked),
        "public link with a code": public(asks),
        "public box": public(box),
        "public link that is over": "/s/nothing",
        "access to a folder": f"/folders/{folder}/access",
        "access to a file": f"/files/{photo}/access",
        "shared": "/shared",
        "search": "/search?q=harbour",
        "groups": "/admin/groups",
        "new group": "/admin/groups/new",
        "group": f"/groups/{group}",
        "my groups": "/groups",
        "tokens": "/account/tokens",
        "new token": "/account/tokens/new",
        "roles": "/admin/roles",
        "new role": "/admin/roles/new",
        "role": f"/admin/roles/{role}",
        "mail": "/admin/mail",
        "quarantine": "/admin/quarantine",
        "users": "/admin/users",
        "no users": "/admin/users?q=nobody-of-this-name",
        "new user": "/admin/users/new",
        "user": f"/admin/users/{user}",
        "invitations": "/admin/invitations",
        "security": "/account/security",
        "new passkey": "/account/security/passkey",
        "confirm who it is": "/confirm-identity?next=/account",
        "change e-mail": "/account/email",
        "data": "/account/data",
        "webhooks": "/admin/webhooks",
        "new webhook": "/admin/webhooks/new",
        "webhook": f"/admin/webhooks/{hook}",
        "paused webhook": f"/admin/webhooks/{paused}",
        "change webhook": f"/admin/webhooks/{hook}/settings",
        "files": "/files",
        "folder": f"/folders/{folder}",
        "picture": f"/files/{photo}",
        "text": f"/files/{note}",
        "versions": f"/files/{draft}/versions",
        "compare versions": f"/files/{draft}/versions/1/differences",
        "name a version": f"/files/{draft}/versions/1/label",
        "delete a version": f"/files/{draft}/versions/1/removal",
        "back in time": "/history",
        "before all of this": "/history?at=2020-01-01T00:00:00",
        "rename file": f"/files/{photo}/name",
        "describe file": f"/files/{photo}/description",
        "move file": f"/files/{photo}/folder",
        "rename folder": f"/folders/{folder}/name",
        "move folder": f"/folders/{folder}/parent",
        "trash": "/trash",
        "remove for good": f"/trash/{gone}/removal",
        "empty trash": "/trash/removal",
        "audit": "/admin/audit",
        "flags": "/admin/flags",
        "flag": "/admin/flags/passkeys",
        "schedules": "/admin/schedules",
        "health": "/admin/health",
        "schedule": f"/admin/schedules/{schedule}",
        "all jobs": "/admin/jobs",
        "failed jobs": "/admin/jobs?state=failed",
        "settings": "/admin/settings",
        "jobs": "/jobs",
        "job": f"/jobs/{job}",
        "account": "/account",
        "sessions": "/account/sessions",
        "provider that is away": "/auth/oidc/harbour-id",
        "missing": "/files/00000000-0000-7000-8000-000000000000",
    }
    return {name: vault.url + path for name, path in paths.items()}


@pytest.fixture(scope="module")
def axe() -> None:
    if not AXE.exists():
        absent(f"axe-core is not installed ({AXE})")


@pytest.fixture(scope="module")
def unused_vault(tmp_path_factory: pytest.TempPathFactory, browser: Browser) -> Iterator[RunningVault]:
    with running_vault(tmp_path_factory.mktemp("unused"), **ELSEWHERE) as started:
        yield started


@pytest.fixture
def member(visit: Callable[..., Watched], vault: RunningVault, cookies: StorageState) -> Callable[..., Page]:
    """Opens the files page in this theme and size."""

    def opened(theme: str, size: str = "desktop") -> Page:
        width, height = SIZES[size]
        visitor = visit(
            storage_state=cookies,
            color_scheme=theme,
            viewport={"width": width, "height": height},
            reduced_motion="reduce",
            has_touch=size == "phone",
            is_mobile=size == "phone",
        )
        visitor.allow(404)  # the page that is missing
        visitor.allow(503)  # a provider that does not answer
        page = visitor.page()
        page.goto(f"{vault.url}/files")
        return page

    return opened


@pytest.mark.parametrize("theme", THEMES)
def test_axe_finds_nothing_on_any_page(
    theme: str, axe: None, member: Callable[..., Page], addresses: dict[str, str]
) -> None:
    page, faults = member(theme), {}
    for name, address in addresses.items():
        page.goto(address)
        faults[name] = axe_faults(page)
    page.goto(addresses["files"])
    page.locator("#rows tr[data-id] input[type=checkbox]").first.check()
    faults["selection"] = axe_faults(page)
    page.locator("#rows [data-row-menu]").first.click()
    faults["menu of a row"] = axe_faults(page)
    page.keyboard.press("Escape")
    page.locator(".user-menu > summary").click()
    faults["menu of the person"] = axe_faults(page)
    assert {name: found for name, found in faults.items() if found} == {}


@pytest.mark.parametrize("theme", THEMES)
def test_axe_finds_nothing_before_signing_in(
    theme: str, axe: None, visit: Callable[..., Watched], unused_vault: RunningVault
) -> None:
    visitor = visit(color_scheme=theme, reduced_motion="reduce")
    visitor.allow(401)
    page = visitor.page()
    page.goto(unused_vault.setup_link)
    assert axe_faults(page) == []
    visitor.allow(410)
    for path in ("/sign-in", "/register", "/forgot-password", "/reset-password?token=x", "/verify-email?token=x",
                 "/invitations/x"):  # fmt: skip
        page.goto(unused_vault.url + path)
        assert axe_faults(page) == [], path
    page.goto(f"{unused_vault.url}/forgot-password")
    page.fill("[name=email]", "nobody@harbour.example")
    page.click("form button[type=submit]")
    expect(page.get_by_role("heading", name="Look into your mailbox")).to_be_visible()
    assert axe_faults(page) == []
    page.goto(f"{unused_vault.url}/sign-in")
    page.fill("[name=email]", "nobody@harbour.example")
    page.fill("[name=password]", "nothing of the kind")
    page.click("form button[type=submit]:not(.reveal)")
    expect(page.get_by_role("alert")).to_be_visible()
    assert axe_faults(page) == []


def test_the_banner_of_who_acts_as_somebody_else_is_sound_on_every_size(
    axe: None, member: Callable[..., Page], addresses: dict[str, str]
) -> None:
    for size in SIZES:
        page = member("dark", size)
        page.goto(addresses["user"])
        page.fill("[name=reason]", "They cannot find their files")
        page.get_by_role("button", name="Act as Noor").click()
        expect(page.get_by_text("you act as Noor")).to_be_visible()
        assert axe_faults(page) == []
        assert page.evaluate("() => document.documentElement.scrollWidth") <= SIZES[size][0]
        page.get_by_role("button", name="Stop").click()
        expect(page.get_by_text("You are yourself again")).to_be_visible()


def test_the_page_of_the_api_works_under_the_same_policy(page: Page, vault: RunningVault) -> None:
    page.goto(f"{vault.url}/api/docs")
    expect(page.locator(".opblock").first).to_be_visible(timeout=30_000)


def test_nothing_scrolls_sideways_on_a_phone(member: Callable[..., Page], addresses: dict[str, str]) -> None:
    page, wide = member("light", "phone"), {}
    for name, address in addresses.items():
        page.goto(address)
        width = page.evaluate("() => document.documentElement.scrollWidth")
        if width > 390:
            wide[name] = width
    assert wide == {}


def test_the_rail_is_a_bar_at_the_foot_of_a_phone(member: Callable[..., Page]) -> None:
    page = member("light", "phone")
    box = page.locator("nav.rail").bounding_box()
    assert box is not None
    assert box["width"] == 390
    assert round(box["y"] + box["height"]) == 844
    page.locator("nav.rail").get_by_role("link", name="Trash").click()
    expect(page.get_by_role("heading", name="Trash", exact=True)).to_be_visible()


def test_a_dark_system_gets_the_dark_theme_and_a_choice_outlives_the_page(member: Callable[..., Page]) -> None:
    page = member("dark")
    ground = "() => getComputedStyle(document.body).backgroundColor"
    assert page.evaluate(ground) == "rgb(15, 20, 24)"
    page.locator(".user-menu > summary").click()
    page.locator("#theme").get_by_text("Light").click()
    page.reload()
    assert page.evaluate(ground) == "rgb(247, 248, 249)"


def test_a_stranger_is_sent_to_sign_in_and_then_to_where_she_wanted(
    browser: Browser, vault: RunningVault, addresses: dict[str, str]
) -> None:
    visitor = watched(browser)
    page = visitor.page()
    page.goto(addresses["jobs"])
    expect(page.get_by_role("heading", name="Sign in")).to_be_visible()
    page.fill("[name=email]", "mira@harbour.example")
    page.fill("[name=password]", "Correct-Horse-7-Battery")
    page.click("form button[type=submit]:not(.reveal)")
    page.wait_for_url(addresses["jobs"])
    visitor.context.close()


def test_everything_on_the_files_page_can_be_done_by_keyboard(
    page: Page, vault: RunningVault, addresses: dict[str, str]
) -> None:
    Program(vault).upload("keys.txt", b"keys\n")
    page.goto(addresses["files"])
    row = page.locator('#rows tr[data-name="keys.txt"]')
    row.locator("a.entry").focus()
    page.keyboard.press("F2")
    expect(page.locator("#dialog [name=name]")).to_be_focused()
    page.keyboard.type("renamed")  # the ending stays: only what comes before it was marked
    page.keyboard.press("Enter")
    renamed = page.locator('#rows tr[data-name="renamed.txt"]')
    expect(renamed).to_be_visible()
    renamed.locator("a.entry").focus()
    page.keyboard.press("Delete")
    expect(renamed).to_have_count(0)
    page.keyboard.press("?")
    expect(page.locator("#keys")).to_be_visible()
    page.keyboard.press("Escape")
    expect(page.locator("#keys")).to_be_hidden()
