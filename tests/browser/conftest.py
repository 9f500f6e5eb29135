"""One vault and one Chromium for all browser tests; each test has a browsing context of its own."""

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Browser, Page, StorageState, expect

from tests.browser.stage import (
    CHROMIUM,
    ELSEWHERE,
    RunningVault,
    Watched,
    chromium,
    running_vault,
    set_up,
    sign_in,
    watched,
)
from tests.servers import absent

expect.set_options(timeout=15_000)  # a hang limit: several suites may share two cores


def _need(path: Path, what: str) -> None:
    if not path.exists():
        absent(f"{what} is not installed ({path})")


@pytest.fixture(scope="session")
def browser() -> Iterator[Browser]:
    _need(Path(CHROMIUM), "Chromium")
    with chromium() as started:
        yield started


@pytest.fixture(scope="session")
def fresh_vault(tmp_path_factory: pytest.TempPathFactory, browser: Browser) -> Iterator[RunningVault]:
    """A vault that nobody has set up; only the test of its first minutes takes it."""
    with running_vault(tmp_path_factory.mktemp("fresh")) as started:
        yield started


@pytest.fixture(scope="session")
def vault(tmp_path_factory: pytest.TempPathFactory, browser: Browser) -> Iterator[RunningVault]:
    """A vault with its administrator."""
    with running_vault(tmp_path_factory.mktemp("vault"), **ELSEWHERE) as started:
        visitor = watched(browser)
        set_up(visitor.page(), started)
        visitor.context.close()
        yield started


@pytest.fixture(scope="session")
def cookies(vault: RunningVault, browser: Browser) -> StorageState:
    """Those of the administrator, signed in once by the form: a password hashed for each test would cost more."""
    visitor = watched(browser)
    sign_in(visitor.page(), vault)
    state = visitor.context.storage_state()
    visitor.context.close()
    return state


@pytest.fixture
def visit(browser: Browser) -> Iterator[Callable[..., Watched]]:
    """Makes browsing contexts; a page that complained (policy, script, missing part) fails the test at its end."""
    opened: list[Watched] = []

    def make(**options: object) -> Watched:
        opened.append(watched(browser, **options))
        return opened[-1]

    yield make
    complaints = [complaint for one in opened for complaint in one.complaints]
    for one in opened:
        one.context.close()
    assert complaints == []


@pytest.fixture
def page(visit: Callable[..., Watched], vault: RunningVault, cookies: StorageState) -> Page:
    """The files page of the signed-in administrator, on a desktop."""
    opened = visit(storage_state=cookies).page()
    opened.goto(f"{vault.url}/files")
    return opened


@pytest.fixture
def plain_page(visit: Callable[..., Watched], vault: RunningVault, cookies: StorageState) -> Page:
    """The same without scripts."""
    opened = visit(java_script_enabled=False, storage_state=cookies).page()
    opened.goto(f"{vault.url}/files")
    return opened
