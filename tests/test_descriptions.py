"""Describing and tagging a file by its page, without scripts."""

from collections.abc import Callable

from flask.testing import FlaskClient

from tests.conftest import csrf_of
from tests.vault import Vault, good
from webapp.policies import Actor

Browser = Callable[[Actor], FlaskClient]


def test_a_file_is_described_and_tagged_by_a_form(vault: Vault, signed_in: Browser) -> None:
    file, browser = vault.upload("note.txt"), signed_in(vault.actor)
    at = f"/files/{file['id']}"
    form = {"csrf_token": csrf_of(browser.get(f"{at}/description").text), "version": "1"}
    told = {"description": "<b>Two</b>\r\nlines", "tags": " sea,, harbour & boats , sea"}
    assert browser.post(f"{at}/description", data={**form, **told}).location == at
    saved = vault.get(at)
    assert (saved["description"], saved["tags"]) == ("<b>Two</b>\nlines", ["harbour & boats", "sea"])
    page = browser.get(at).text
    assert "&lt;b&gt;Two&lt;/b&gt;\nlines" in page
    assert 'href="/search?tag=sea"' in page
    assert "<bdi>#harbour &amp; boats</bdi>" in page
    emptied = {**form, "version": "2", "description": "", "tags": ""}
    assert browser.post(f"{at}/description", data=emptied).location == at
    assert (vault.get(at)["description"], vault.get(at)["tags"]) == ("", [])


def test_a_line_of_tags_that_nobody_touched_stays_as_it_was(vault: Vault, signed_in: Browser) -> None:
    file, browser = vault.upload("note.txt"), signed_in(vault.actor)
    at = f"/files/{file['id']}"
    good(vault.change(at, version=1, tags=["Oslo, Norway", "sea"]))
    form = {"csrf_token": csrf_of(browser.get(at).text), "version": "2", "tags": "Oslo, Norway, sea"}
    assert browser.post(f"{at}/description", data={**form, "description": "New"}).location == at
    assert (vault.get(at)["description"], vault.get(at)["tags"]) == ("New", ["Oslo, Norway", "sea"])


def test_what_is_too_long_comes_back_beside_its_field(vault: Vault, signed_in: Browser) -> None:
    file, browser = vault.upload("note.txt"), signed_in(vault.actor)
    at = f"/files/{file['id']}"
    form = {"csrf_token": csrf_of(browser.get(at).text), "version": "1", "description": "Kept", "tags": "kept"}
    most = "line\r\n" * 1000  # counted as people count: browsers send two characters for the end of a line
    assert browser.post(f"{at}/description", data={**form, "description": most}).status_code == 302
    wrong = (
        ("description", "d" * 5001),
        ("description", "a\0b"),
        ("tags", "t" * 51),
        ("tags", ",".join(map(str, range(51)))),
    )
    for name, text in wrong:
        answer = browser.post(f"{at}/description", data={**form, "version": "2", name: text})
        assert (answer.status_code, f'id="error-{name}"' in answer.text, "ept" in answer.text) == (422, True, True)
    assert vault.get(at)["version"] == 2


def test_two_people_who_describe_at_once_are_both_heard(vault: Vault, signed_in: Browser) -> None:
    file, browser = vault.upload("note.txt"), signed_in(vault.actor)
    at = f"/files/{file['id']}"
    good(vault.change(at, version=1, description="First\nline", tags=["a"]))
    form = {"csrf_token": csrf_of(browser.get(at).text), "version": "2", "opened.description": "First\r\nline",
            "opened.tags": "a", "description": "First\r\nline", "tags": "a, b"}  # fmt: skip
    good(vault.change(at, version=2, description="Theirs"))
    assert browser.post(f"{at}/description", data=form).location == at
    assert (vault.get(at)["description"], vault.get(at)["tags"]) == ("Theirs", ["a", "b"])
    clash = browser.post(f"{at}/description", data={**form, "description": "Mine"})
    assert (clash.status_code, "Theirs" in clash.text, "Mine" in clash.text) == (409, True, True)
    assert vault.get(at)["description"] == "Theirs"


def test_only_who_may_write_describes(vault: Vault, other_vault: Vault, signed_in: Browser) -> None:
    file, theirs = vault.upload("note.txt"), signed_in(other_vault.actor)
    at = f"/files/{file['id']}"
    form = {"csrf_token": csrf_of(theirs.get("/files").text), "version": "1", "description": "Theirs", "tags": "x"}
    assert theirs.get(f"{at}/description").status_code == 404
    assert theirs.post(f"{at}/description", data=form).status_code == 404
    grant = {"email": other_vault.actor.email, "level": "viewer"}
    good(vault.call("PUT", f"{at}/grants", json=grant))
    assert f"{at}/description" not in theirs.get(at).text
    assert theirs.get(f"{at}/description").status_code == 403
    assert theirs.post(f"{at}/description", data=form).status_code == 403
    assert vault.get(at)["description"] == ""
