"""Times as people read them."""

import re
from collections.abc import Callable
from datetime import UTC, datetime, timedelta

import pytest
from flask import Flask
from flask.testing import FlaskClient

from tests.conftest import csrf_of
from tests.vault import Vault, good
from webapp.http.formats import ago, due, isolated, on_day
from webapp.infra.clock import now
from webapp.policies import Actor


@pytest.mark.parametrize(
    ("seconds", "words"),
    [(4, "just now"), (30, "30 seconds ago"), (59.8, "1 minute ago"), (68, "1 minute ago"), (100, "2 minutes ago"),
     (3500, "58 minutes ago"), (3590, "1 hour ago"), (86_000, "1 day ago"), (86_400 * 6, "6 days ago"),
     (-4, "just now"), (-68, "in 1 minute"), (-7200, "in 2 hours")],
)  # fmt: skip
def test_a_span_is_told_in_the_unit_in_which_people_think(app: Flask, seconds: float, words: str) -> None:
    with app.test_request_context():
        assert ago(now() - timedelta(seconds=seconds)) == words


@pytest.mark.parametrize(
    ("seconds", "words"), [(-24, "due now"), (-0.1, "due now"), (5, "in 5 seconds"), (68, "in 1 minute")]
)
def test_what_is_to_come_is_due_once_its_time_has_passed(app: Flask, seconds: float, words: str) -> None:
    with app.test_request_context():
        assert due(now() + timedelta(seconds=seconds)) == words


def test_a_day_is_told_with_its_weekday(app: Flask) -> None:
    with app.test_request_context(headers={"Accept-Language": "en"}):
        assert on_day(datetime(2026, 11, 30, 7, tzinfo=UTC)).startswith("Mon, Nov 30, 2026, 7:00")


@pytest.mark.parametrize("name", ["plain.txt", "Ødegård.txt", "報告.pdf", "🚢.png"])
def test_names_that_turn_nothing_stay_to_the_letter(name: str) -> None:
    assert isolated(name) == name


@pytest.mark.parametrize(
    "name", ["evil\u202egpj.exe", "דוח.pdf", "\u2067x", "\u2069\u202eout", "\u2069\u2069\u202eout", "\u2066\u2066x"]
)
def test_a_name_that_turns_letters_around_turns_only_its_own(name: str) -> None:
    wrapped = isolated(name)
    depth, closed_early = 0, False
    for place, character in enumerate(wrapped):  # UAX 9, BD9: where each isolate ends
        depth += (character in "\u2066\u2067\u2068") - (character == "\u2069" and depth > 0)
        closed_early = closed_early or (depth == 0 and character != "\u2069" and place < len(wrapped))
    assert name in wrapped
    assert not closed_early
    assert depth == 0


def test_pages_keep_a_name_that_turns_letters_around_to_itself(
    vault: Vault, signed_in: Callable[[Actor], FlaskClient]
) -> None:
    name = "evil\u202egpj.exe"
    folder = vault.folder(name)
    file = vault.upload(name, b"x", folder_id=folder["id"])
    gone = vault.upload(name + "2")
    good(vault.call("DELETE", f"/files/{gone['id']}"), 204)
    browser = signed_in(vault.actor)
    for page in ("/files", f"/folders/{folder['id']}", f"/files/{file['id']}", f"/files/{file['id']}/folder",
                 f"/files/{file['id']}/name", "/trash", f"/trash/{gone['id']}/removal", "/jobs"):  # fmt: skip
        text = re.sub(r"<[^>]*>", lambda tag: "" if name in tag[0] else tag[0], browser.get(page).text)  # attributes
        before = {text[max(0, m.start() - 5) : m.start()][-5:] for m in re.finditer(re.escape(name), text)}
        assert before, page
        assert all(start == "<bdi>" or start.endswith("\u2068") for start in before), (page, before)
    token = csrf_of(browser.get("/files").text)
    browser.post(f"/files/{file['id']}/trash", data={"csrf_token": token})
    assert f"\u2068{name}\u2069” moved to trash" in browser.get("/files").text
