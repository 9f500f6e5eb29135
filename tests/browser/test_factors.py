"""Second factors in a real browser: an app, codes to keep, passkeys of a virtual authenticator (CDP, WebAuthn)."""

import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any
from uuid import uuid4

import pyotp
import pytest
from playwright.sync_api import Browser, CDPSession, Page, expect

from tests.browser.stage import (
    AXE,
    PASSWORD,
    Program,
    RunningVault,
    Watched,
    axe_faults,
    running_vault,
    set_up,
    watched,
)

pytestmark = [pytest.mark.browser]
SUBMIT = "form:not([data-passkey]) button[type=submit]:not(.reveal)"


@dataclass
class Key:
    """A virtual authenticator plugged into a page."""

    line: CDPSession
    id: str

    def verify(self, yes: bool) -> None:
        """Whether its owner's finger is recognised from now on."""
        self.line.send("WebAuthn.setUserVerified", {"authenticatorId": self.id, "isUserVerified": yes})

    def exchange(self, credential: dict[str, Any], count: int) -> None:
        """Put a copy of a passkey in its place, which was used so often."""
        place = {"authenticatorId": self.id}
        self.line.send("WebAuthn.removeCredential", {**place, "credentialId": credential["credentialId"]})
        self.line.send("WebAuthn.addCredential", {**place, "credential": {**credential, "signCount": count}})

    @property
    def credentials(self) -> list[dict[str, Any]]:
        return self.line.send("WebAuthn.getCredentials", {"authenticatorId": self.id})["credentials"]


def plug_in(page: Page, **options: Any) -> Key:
    """A key of the device itself that keeps passkeys and knows its owner, unless options say otherwise."""
    line = page.context.new_cdp_session(page)
    line.send("WebAuthn.enable")
    wish = {"protocol": "ctap2", "transport": "internal", "hasResidentKey": True, "hasUserVerification": True,
            "isUserVerified": True, "automaticPresenceSimulation": True, **options}  # fmt: skip
    return Key(line, line.send("WebAuthn.addVirtualAuthenticator", {"options": wish})["authenticatorId"])


@pytest.fixture(scope="module")
def named_vault(tmp_path_factory: pytest.TempPathFactory, browser: Browser) -> Iterator[RunningVault]:
    """A vault at a name, with its administrator."""
    with running_vault(tmp_path_factory.mktemp("named"), "localhost") as started:
        visitor = watched(browser)
        set_up(visitor.page(), started)
        visitor.context.close()
        yield started


@pytest.fixture
def guest(visit: Callable[..., Watched]) -> Page:
    """A page on which nobody is signed in; wrong proofs are answered 401."""
    visitor = visit()
    visitor.allow(401)
    visitor.allow(422)
    return visitor.page()


@pytest.fixture
def email(named_vault: RunningVault) -> str:
    """An account of this test alone."""
    wish = {"name": "Noor", "email": f"{uuid4().hex[:8]}@harbour.example", "password": PASSWORD}
    return str(Program(named_vault).call("POST", "/users", json=wish)["email"])


def give_password(page: Page, vault: RunningVault, email: str) -> None:
    page.goto(f"{vault.url}/sign-in")
    page.fill("[name=email]", email)
    page.fill("[name=password]", PASSWORD)
    page.click(SUBMIT)


def sign_out(page: Page) -> None:
    page.locator(".user-menu > summary").click()
    page.get_by_role("button", name="Sign out").click()
    expect(page.get_by_role("heading", name="Sign in")).to_be_visible()


def accessible(page: Page) -> None:
    assert not AXE.exists() or axe_faults(page) == []


def remove(page: Page, name: str) -> None:
    page.get_by_role("button", name=f"Remove {name}").click()
    expect(page.get_by_text("Removed. It no longer proves that it is you.")).to_be_visible()


def test_passkeys_are_made_sign_in_alone_and_as_second_step_and_are_removed(
    named_vault: RunningVault, guest: Page, email: str
) -> None:
    page = guest
    give_password(page, named_vault, email)
    page.wait_for_url("**/files")
    key = plug_in(page)
    page.goto(f"{named_vault.url}/account/security")
    page.get_by_role("link", name="Add a passkey").click()
    accessible(page)
    page.fill("[name=name]", "Blue laptop")
    page.get_by_role("button", name="Make the passkey").click()
    expect(page.get_by_role("heading", name="Keep these codes")).to_be_visible()
    accessible(page)
    expect(page.locator(".codes li")).to_have_count(10)
    page.get_by_role("link", name="I have kept them").click()
    expect(page.get_by_text("Blue laptop")).to_be_visible()
    accessible(page)
    page.get_by_role("button", name="Set up an app").click()
    expect(page.get_by_role("img", name="QR code")).to_be_visible()
    accessible(page)
    page.get_by_role("link", name="Cancel").click()
    assert [one["isResidentCredential"] for one in key.credentials] == [True]

    sign_out(page)
    page.get_by_role("button", name="Sign in with a passkey").click()
    page.wait_for_url("**/files")
    sign_out(page)
    key.verify(False)  # somebody else's finger: the passkey alone opens nothing
    page.get_by_role("button", name="Sign in with a passkey").click()
    expect(page.get_by_text("The passkey was not used")).to_be_visible()
    key.verify(True)

    give_password(page, named_vault, email)
    expect(page.get_by_role("heading", name="Second step")).to_be_visible()
    accessible(page)
    page.get_by_role("button", name="Use a passkey").click()
    page.wait_for_url("**/files")
    assert key.credentials[0]["signCount"] >= 3

    page.goto(f"{named_vault.url}/confirm-identity?next=/trash")
    accessible(page)
    page.get_by_role("button", name="Use a passkey").click()
    page.wait_for_url(f"{named_vault.url}/trash")

    page.goto(f"{named_vault.url}/account/security")
    page.locator(".way summary").click()
    page.locator(".popup-form [name=name]").fill("Old laptop")
    page.get_by_role("button", name="Save").click()
    expect(page.get_by_text("Old laptop")).to_be_visible()
    remove(page, "Old laptop")
    sign_out(page)
    page.get_by_role("button", name="Sign in with a passkey").click()
    expect(page.get_by_text("This passkey does not belong here")).to_be_visible()
    give_password(page, named_vault, email)
    page.wait_for_url("**/files")


def test_a_copied_passkey_is_found_out(named_vault: RunningVault, guest: Page, email: str) -> None:
    page = guest
    give_password(page, named_vault, email)
    page.wait_for_url("**/files")
    key = plug_in(page)
    page.goto(f"{named_vault.url}/account/security/passkey")
    page.fill("[name=name]", "Copied")
    page.get_by_role("button", name="Make the passkey").click()
    expect(page.get_by_role("heading", name="Keep these codes")).to_be_visible()
    copy = key.credentials[0]
    sign_out(page)
    page.get_by_role("button", name="Sign in with a passkey").click()
    page.wait_for_url("**/files")
    sign_out(page)
    key.exchange(copy, 0)
    page.get_by_role("button", name="Sign in with a passkey").click()
    expect(page.get_by_text("This passkey seems to have a copy")).to_be_visible()
    give_password(page, named_vault, email)
    key.exchange(copy, 50)
    page.get_by_role("button", name="Use a passkey").click()
    page.wait_for_url("**/files")
    page.goto(f"{named_vault.url}/account/security")
    remove(page, "Copied")


def test_an_app_is_scanned_or_typed_and_signs_in_without_scripts(
    named_vault: RunningVault, visit: Callable[..., Watched], email: str
) -> None:
    visitor = visit(java_script_enabled=False)
    visitor.allow(401)
    visitor.allow(422)
    page = visitor.page()
    give_password(page, named_vault, email)
    page.wait_for_url("**/files")
    page.goto(f"{named_vault.url}/account/security")
    page.get_by_role("button", name="Set up an app").click()
    expect(page.get_by_role("img", name="QR code")).to_be_visible()
    page.get_by_text("Type it instead").click()
    app = pyotp.TOTP("".join(page.locator(".app-groups span").all_inner_texts()))
    page.fill("[name=code]", "1")
    page.get_by_role("button", name="Confirm").click()
    expect(page.get_by_role("alert")).to_contain_text("This code is wrong.")
    page.fill("[name=code]", app.now())
    page.get_by_role("button", name="Confirm").click()
    codes = page.locator(".codes li").all_inner_texts()
    with page.expect_download() as download:
        page.get_by_role("link", name="Download").click()
    assert set(codes) < set(download.value.path().read_text().splitlines())
    page.get_by_role("link", name="I have kept them").click()
    page.locator(".user-menu > summary").click()
    page.get_by_role("button", name="Sign out").click()
    give_password(page, named_vault, email)
    page.fill("[name=code] >> nth=0", app.at(time.time(), counter_offset=1))  # the present one is used
    page.get_by_role("button", name="Go on").click()
    page.wait_for_url("**/files")
    page.locator(".user-menu > summary").click()
    page.get_by_role("button", name="Sign out").click()
    give_password(page, named_vault, email)
    page.get_by_text("Use a recovery code").first.click()
    page.get_by_label("Recovery code").fill(codes[0])
    page.get_by_role("button", name="Use the recovery code").click()
    page.wait_for_url("**/files")
    page.goto(f"{named_vault.url}/account/security")
    expect(page.get_by_text("9 left")).to_be_visible()
    page.get_by_role("button", name="Remove Authenticator app").click()
    expect(page.get_by_text("Removed. It no longer proves that it is you.")).to_be_visible()
