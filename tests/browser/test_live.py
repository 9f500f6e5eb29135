"""Pages change by themselves: told by the event stream, asking by the clock only where there is none."""

from collections.abc import Callable

import pytest
from playwright.sync_api import Page, StorageState, expect

from tests.browser.stage import RunningVault, Watched
from tests.servers import wait_until
from webapp.services.events import SUBSCRIPTIONS

pytestmark = [pytest.mark.browser]
UPLOAD = """async ([name, token]) => (await fetch(`/api/v1/files?name=${name}`, {method: "POST", body: "berth 7",
  headers: {"Content-Type": "text/plain", "X-CSRF-Token": token}})).status"""
CSRF = "document.querySelector('meta[name=csrf-token]').content"

JOBS = len(SUBSCRIPTIONS["file.created"]) - 1  # of each upload: without a scanner, no scan


def upload(page: Page, name: str) -> None:
    """As a program would, in the person's name; the page's own scripts know nothing of it."""
    assert page.evaluate(UPLOAD, [name, page.evaluate(CSRF)]) == 201


def listening(page: Page) -> None:
    """Until the page hears events."""
    wait_until(lambda: page.evaluate("Boolean(window.holdfast?.hears?.())"), about="an event stream")


@pytest.fixture
def elsewhere(visit: Callable[..., Watched], vault: RunningVault, cookies: StorageState) -> Page:
    """The same person in another browser, on a page that hears nothing."""
    page = visit(storage_state=cookies).page()
    page.goto(f"{vault.url}/account")
    return page


def test_a_job_shows_on_the_jobs_page_as_it_ends_and_nothing_is_asked_by_the_clock(
    page: Page, elsewhere: Page, vault: RunningVault
) -> None:
    page.goto(f"{vault.url}/jobs")
    listening(page)
    page.wait_for_timeout(500)  # the first look after the stream opened
    asked: list[str] = []
    page.on("request", lambda request: asked.append(request.url))
    page.wait_for_timeout(4_500)
    assert [url for url in asked if "/jobs" in url] == []
    upload(elsewhere, "live-jobs.txt")
    rows = page.locator("#rows tr", has_text="live-jobs.txt")
    expect(rows).to_have_count(JOBS)
    expect(rows.locator(".chip", has_text="Done")).to_have_count(JOBS)


def test_a_file_from_elsewhere_appears_in_the_list(page: Page, elsewhere: Page) -> None:
    listening(page)
    upload(elsewhere, "live-files.txt")
    expect(page.locator('#rows tr[data-name="live-files.txt"]')).to_be_visible()


def test_without_a_stream_the_jobs_page_polls(page: Page, elsewhere: Page, vault: RunningVault) -> None:
    page.route("**/events", lambda route: route.abort())
    page.add_init_script("delete window.EventSource")
    page.goto(f"{vault.url}/jobs")
    upload(elsewhere, "polled.txt")
    expect(page.locator("#rows tr", has_text="polled.txt").locator(".chip", has_text="Done")).to_have_count(
        JOBS, timeout=30_000
    )


def test_a_page_out_of_sight_gives_its_stream_back(page: Page) -> None:
    listening(page)
    page.evaluate("""() => {
      Object.defineProperty(document, "hidden", {value: true, configurable: true});
      document.dispatchEvent(new Event("visibilitychange"));
    }""")
    assert page.evaluate("window.holdfast.hears()") is False
    page.evaluate("""() => {
      Object.defineProperty(document, "hidden", {value: false});
      document.dispatchEvent(new Event("visibilitychange"));
    }""")
    listening(page)
