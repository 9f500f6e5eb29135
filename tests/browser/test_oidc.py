"""Signing in by a provider in a real browser: a new person, then one who has an account and links it both ways."""

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Browser, Page, expect

from tests.browser.stage import AXE, EMAIL, PASSWORD, RunningVault, Watched, axe_faults, running_vault, set_up, watched
from tests.providers import independent_provider, introduce

pytestmark = [pytest.mark.browser]


@pytest.fixture(scope="module")
def provider() -> Iterator[str]:
    with independent_provider() as url:
        introduce(url, "nora", email="nora@harbour.example", email_verified=True, name="Nora Quay")
        introduce(url, "mira", email=EMAIL, email_verified=True, name="Mira")
        introduce(url, "second", email="mira@home.example", email_verified=True, name="Mira")
        yield url


@pytest.fixture(scope="module")
def joined(tmp_path_factory: pytest.TempPathFactory, browser: Browser, provider: str) -> Iterator[RunningVault]:
    """A vault whose sign-in page offers the provider."""
    extra = {"OIDC_ISSUERS": "harbour-id", "OIDC_HARBOUR_ID_URL": provider, "OIDC_HARBOUR_ID_CLIENT_ID": "vault",
             "OIDC_HARBOUR_ID_CLIENT_SECRET": "hush", "OIDC_HARBOUR_ID_TITLE": "Harbour ID",
             "OIDC_HARBOUR_ID_AUTO_CREATE": "true"}  # fmt: skip
    with running_vault(tmp_path_factory.mktemp("joined"), **extra) as started:
        visitor = watched(browser)
        set_up(visitor.page(), started)
        visitor.context.close()
        yield started


@pytest.fixture
def guest(visit: Callable[..., Watched]) -> Callable[..., Watched]:
    """Makes browsing contexts in which the provider's page finds the style sheet that it takes from elsewhere."""

    def make(**options: object) -> Watched:
        visitor = visit(**options)
        style = "https://cdn.jsdelivr.net/**"
        visitor.context.route(style, lambda route: route.fulfill(content_type="text/css", body=""))
        return visitor

    return make


def agree(page: Page, subject: str) -> None:
    """At the provider's own page."""
    page.locator("input[name=sub]").fill(subject)
    page.locator("form:has(input[name=sub]) button:not([value=deny])").first.click()


def continue_with(page: Page, vault: RunningVault, subject: str, onward: str = "") -> None:
    page.goto(f"{vault.url}/sign-in{onward}")
    page.get_by_role("link", name="Continue with Harbour ID").click()
    agree(page, subject)


@pytest.mark.parametrize("scripts", [True, False])
def test_a_new_person_comes_in_and_goes_where_she_wanted(
    joined: RunningVault, guest: Callable[..., Watched], scripts: bool
) -> None:
    page = guest(java_script_enabled=scripts).page()
    continue_with(page, joined, "nora", "?next=/trash")
    page.wait_for_url("**/trash")
    expect(page.locator(".user-menu summary")).to_have_attribute("title", "Nora Quay")


def test_an_account_is_linked_by_its_password_and_unlinked_again(
    joined: RunningVault, guest: Callable[..., Watched]
) -> None:
    visitor = guest()
    visitor.allow(401)
    page = visitor.page()
    continue_with(page, joined, "mira")
    expect(page.get_by_role("heading", name="Link Harbour ID")).to_be_visible()
    assert not Path(AXE).exists() or axe_faults(page) == []
    page.fill("[name=password]", "not this one")
    page.get_by_role("button", name="Link and sign in").click()
    expect(page.get_by_role("alert")).to_contain_text("wrong")
    page.fill("[name=password]", PASSWORD)
    page.get_by_role("button", name="Link and sign in").click()
    page.wait_for_url("**/files")

    page.goto(f"{joined.url}/account/security")
    page.get_by_role("link", name="Link Harbour ID").click()
    agree(page, "second")
    expect(page.get_by_text("mira@home.example")).to_be_visible()
    assert not Path(AXE).exists() or axe_faults(page) == []
    page.get_by_role("button", name="Link", exact=True).click()
    page.wait_for_url("**/account/security")
    expect(page.locator(".way")).to_have_count(2)
    assert not Path(AXE).exists() or axe_faults(page) == []
    page.get_by_role("button", name="Unlink Harbour ID mira@home.example").click()
    expect(page.locator(".way")).to_have_count(1)


def test_who_says_no_there_is_told_here(joined: RunningVault, guest: Callable[..., Watched]) -> None:
    visitor = guest()
    visitor.allow(403)
    page = visitor.page()
    page.goto(f"{joined.url}/sign-in")
    page.get_by_role("link", name="Continue with Harbour ID").click()
    page.locator("button[value=deny]").first.click()
    expect(page.get_by_role("alert")).to_contain_text("You did not agree")
    assert not Path(AXE).exists() or axe_faults(page) == []
    page.get_by_role("link", name="Sign in another way").click()
    expect(page.get_by_role("heading", name="Sign in")).to_be_visible()
