"""Looking at files: by the keyboard alone, in a dialog over the list, page by page, and without scripts."""

from collections.abc import Callable, Iterator

import pytest
from playwright.sync_api import Browser, Page, StorageState, expect

from tests.browser.stage import Program, RunningVault, Watched, axe_faults, document, running_vault, set_up, watched

NAMES = ["arrivals.csv", "plan.md", "report.pdf", "run.py"]


@pytest.fixture(scope="module")
def vault(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningVault]:
    with running_vault(tmp_path_factory.mktemp("previews")) as started:
        yield started


@pytest.fixture(scope="module")
def cookies(vault: RunningVault, browser: Browser) -> StorageState:
    visitor = watched(browser)
    set_up(visitor.page(), vault)
    state = visitor.context.storage_state()
    visitor.context.close()
    return state


@pytest.fixture(scope="module")
def files(vault: RunningVault, cookies: StorageState) -> dict[str, str]:
    """Addresses by name."""
    program = Program(vault)
    contents = (b"Ship,Berth\nNorth Star,4\n", b"# Plan\n\n- dredge [here](https://example.org)\n",
                document("Report", 3), b"a = 1\nb = 2\n")  # fmt: skip
    made = {name: program.upload(name, data)["id"] for name, data in zip(NAMES, contents, strict=True)}
    program.wait_for_jobs()
    return {name: f"{vault.url}/files/{number}" for name, number in made.items()}


@pytest.fixture
def page(
    visit: Callable[..., Watched], vault: RunningVault, cookies: StorageState, files: dict[str, str]
) -> Iterator[Page]:
    opened = visit(storage_state=cookies).page()
    opened.goto(f"{vault.url}/files")
    return opened


def test_the_list_is_walked_and_looked_at_by_keys_alone(page: Page, files: dict[str, str]) -> None:
    focused = page.locator(".entry:focus")
    for name in NAMES:
        page.keyboard.press("ArrowDown")
        expect(focused).to_contain_text(name)
    page.keyboard.press("ArrowUp")
    page.keyboard.press("ArrowUp")
    dialog = page.locator("#dialog")
    page.keyboard.press("Space")
    expect(dialog.get_by_role("heading", name="Plan", exact=True)).to_be_visible()
    assert not axe_faults(page)
    page.keyboard.press("Escape")
    expect(dialog).to_be_hidden()
    expect(focused).to_contain_text("plan.md")
    page.keyboard.press("Control+a")
    expect(page.locator("#rows .is-selected")).to_have_count(len(NAMES))
    page.keyboard.press("Escape")
    expect(page.locator("#rows .is-selected")).to_have_count(0)
    page.keyboard.press("?")
    keys = page.locator("#keys")
    for word in ("Space", "F2", "Esc"):
        expect(keys).to_contain_text(word)
    page.keyboard.press("Escape")
    page.locator("tr[data-name='run.py'] .entry").focus()
    page.keyboard.press("F2")
    expect(dialog.locator("input[name=name]")).to_have_value("run.py")
    page.keyboard.press("Escape")
    page.locator("tr[data-name='report.pdf'] .entry").focus()
    page.keyboard.press("Enter")
    page.wait_for_url(files["report.pdf"])


def test_a_pdf_is_read_page_by_page(page: Page, files: dict[str, str]) -> None:
    page.goto(files["report.pdf"])
    for number in (2, 3):
        page.get_by_role("link", name="Next").click()
        expect(page.get_by_text(f"Page {number} of 3")).to_be_visible()
        picture = page.locator(".preview img")
        expect(picture).to_have_js_property("complete", True)
        assert picture.evaluate("(img) => img.naturalHeight") > 1000
    expect(page.get_by_role("link", name="Next")).to_have_count(0)


@pytest.mark.parametrize("name", NAMES)
def test_every_preview_is_there_without_scripts(
    visit: Callable[..., Watched], cookies: StorageState, files: dict[str, str], name: str
) -> None:
    page = visit(storage_state=cookies, java_script_enabled=False).page()
    page.goto(files[name])
    shown = {"arrivals.csv": "td:has-text('North Star')", "plan.md": ".prose li", "report.pdf": ".preview img",
             "run.py": ".preview-numbers"}[name]  # fmt: skip
    expect(page.locator(shown)).to_be_visible()
