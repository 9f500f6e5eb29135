"""How a person comes to an account and back into it: register, confirm, sign in, reset; by the mails that arrive."""

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from aiosmtpd.controller import Controller
from playwright.sync_api import Browser, Page, expect

from tests.browser.stage import RunningVault, Watched, running_vault
from tests.letters import link_of
from tests.servers import free_port, wait_until
from tests.test_mail import Mailbox

pytestmark = [pytest.mark.browser]
EMAIL, FIRST, SECOND = "noor@harbour.example", "Correct-Horse-7-Battery", "Another-Horse-8-Battery"
SUBMIT = ".gate form button[type=submit]:not(.reveal)"


@pytest.fixture(scope="module")
def box() -> Iterator[tuple[Mailbox, int]]:
    """A mail server's mailbox and its port."""
    kept, port = Mailbox(), free_port()
    server = Controller(kept, hostname="127.0.0.1", port=port)
    server.start()
    yield kept, port
    server.stop()


@pytest.fixture(scope="module")
def open_vault(
    tmp_path_factory: pytest.TempPathFactory, browser: Browser, box: tuple[Mailbox, int]
) -> Iterator[RunningVault]:
    home: Path = tmp_path_factory.mktemp("open")
    with running_vault(home, REGISTRATION="open", MAIL_URL=f"smtp://127.0.0.1:{box[1]}") as started:
        yield started


def next_link(box: Mailbox, seen: int) -> str:
    wait_until(lambda: len(box.kept) > seen, about="the mail")
    return link_of(box.kept[seen])


def sign_in(page: Page, vault: RunningVault, password: str) -> None:
    page.goto(f"{vault.url}/sign-in")
    page.fill("[name=email]", EMAIL)
    page.fill("[name=password]", password)
    page.click(SUBMIT)


def test_register_confirm_sign_out_and_set_a_forgotten_password(
    open_vault: RunningVault, visit: Callable[..., Watched], box: tuple[Mailbox, int]
) -> None:
    visitor = visit()
    visitor.allow(401)
    page, mails = visitor.page(), box[0]
    page.goto(f"{open_vault.url}/sign-in")
    page.get_by_role("link", name="Create an account").click()
    page.fill("[name=name]", "Noor")
    page.fill("[name=email]", EMAIL)
    page.fill("[name=password]", FIRST)
    page.click(SUBMIT)
    expect(page.get_by_role("heading", name="Look into your mailbox")).to_be_visible()
    page.goto(next_link(mails, 0))
    page.fill("[name=password]", FIRST)
    page.click(SUBMIT)
    page.wait_for_url("**/files")
    expect(page.locator(".user-menu summary")).to_have_attribute("title", "Noor")
    page.locator(".user-menu > summary").click()
    page.get_by_role("button", name="Sign out").click()

    page.get_by_role("link", name="Forgotten your password?").click()
    page.fill("[name=email]", EMAIL)
    page.click(SUBMIT)
    expect(page.get_by_role("heading", name="Look into your mailbox")).to_be_visible()
    page.goto(next_link(mails, 1))
    page.fill("[name=password]", SECOND)
    page.click(SUBMIT)
    expect(page.get_by_text("Your password is changed")).to_be_visible()
    sign_in(page, open_vault, FIRST)
    expect(page.get_by_role("alert")).to_contain_text("E-mail or password is wrong")
    sign_in(page, open_vault, SECOND)
    page.wait_for_url("**/files")
