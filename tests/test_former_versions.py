"""Versions of files: listed, read, restored, named, deleted, pruned, compared; quota and references stay true."""

import io
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from typing import Any

import pytest
from flask import Flask
from flask.testing import FlaskClient
from PIL import Image
from sqlalchemy import update

from tests.conftest import csrf_of
from tests.vault import Vault, differences, good, problem, raw
from webapp.config import use_settings
from webapp.db import db
from webapp.infra import comparing
from webapp.infra.clock import now
from webapp.models.files import Blob
from webapp.policies import Actor
from webapp.services.quotas import show_use
from webapp.services.retentions import prune_versions
from webapp.services.settings import forget_values


def file_of(vault: Vault, *contents: bytes, name: str = "note.txt") -> str:
    """A file that has had these contents."""
    first, *later = contents
    file = vault.upload(name, first)["id"]
    for content in later:
        good(vault.call("PUT", f"/files/{file}/content", **raw(content)))
    return str(file)


def numbers(vault: Vault, file: str) -> list[int]:
    return [each["number"] for each in vault.get(f"/files/{file}/versions")["items"]]


def write(statement: Any) -> None:
    with db.engine.connect().execution_options(write=True) as connection, connection.begin():
        connection.execute(statement)


def share(vault: Vault, file: str, who: Actor, level: str) -> None:
    good(vault.call("PUT", f"/files/{file}/grants", json={"email": who.email, "level": level}))


def test_versions_are_listed_newest_first_page_by_page(vault: Vault) -> None:
    file = file_of(vault, b"one", b"second", b"three")
    page = vault.get(f"/files/{file}/versions")
    newest = page["items"][0]
    assert page["next_cursor"] is None
    assert [each["number"] for each in page["items"]] == [3, 2, 1]
    assert (newest["size"], newest["mime"], newest["author"], newest["label"]) == (5, "text/plain", "Mira", None)
    assert [each["current"] for each in page["items"]] == [True, False, False]
    assert newest["sha256"] == vault.get(f"/files/{file}")["sha256"]
    assert vault.every(f"/files/{file}/versions", limit=1) == page["items"]
    assert vault.get(f"/files/{file}/versions/2") == page["items"][1]
    problem(vault.call("GET", f"/files/{file}/versions/9"), 404)
    problem(vault.call("GET", f"/files/{file}/versions?cursor=x"), 422)


def test_the_content_of_a_version_takes_ranges_and_conditions(vault: Vault) -> None:
    path = f"/files/{file_of(vault, b'first one', b'second')}/versions/1/content"
    answer = good(vault.call("GET", path))
    assert (answer.data, answer.headers["Content-Disposition"][:10]) == (b"first one", "attachment")
    part = vault.call("GET", path, headers={"Range": "bytes=2-4"})
    assert (part.status_code, part.data) == (206, b"rst")
    assert vault.call("GET", path, headers={"If-None-Match": answer.headers["ETag"]}).status_code == 304
    shown = vault.call("GET", f"{path}?inline=1")
    assert shown.headers["Content-Disposition"].startswith("inline")
    problem(vault.call("GET", path, headers={"Range": "bytes=99-"}), 416)
    problem(vault.call("GET", path.replace("/1/", "/8/")), 404)


def test_restoring_makes_a_new_version_of_the_old_content_charged_once(vault: Vault, member: Actor) -> None:
    file = file_of(vault, b"first one", b"second")
    before = show_use(member).used
    path = f"/files/{file}/versions/1/restoration"
    problem(vault.call("POST", path, headers={"If-Match": '"1"'}), 412)
    answer = good(vault.call("POST", path, headers={"If-Match": '"2"', "Idempotency-Key": "once"})).json
    assert (answer["number"], answer["size"], answer["version"]) == (3, 9, 3)
    again = good(vault.call("POST", path, headers={"If-Match": '"2"', "Idempotency-Key": "once"})).json
    assert again == answer
    assert vault.content(file).data == b"first one"
    assert numbers(vault, file) == [3, 2, 1]
    assert show_use(member).used == before + 9
    assert (
        good(vault.call("POST", f"/files/{file}/versions/3/restoration")).json["number"] == 3
    )  # it is the present one
    assert differences() == []


def test_restoring_over_quota_or_damaged_bytes_changes_nothing(
    vault: Vault, member: Actor, quota: Callable[[Actor, int], None]
) -> None:
    file = file_of(vault, b"first one", b"second")
    quota(member, show_use(member).used + 8)
    problem(vault.call("POST", f"/files/{file}/versions/1/restoration"), 413, "quota_exceeded")
    quota(member, 10**6)
    write(update(Blob).where(Blob.size == 9).values(damaged_at=now()))
    problem(vault.call("POST", f"/files/{file}/versions/1/restoration"), 409, "damaged")
    problem(vault.call("GET", f"/files/{file}/versions/1/content"), 409, "damaged")
    assert vault.get(f"/files/{file}/versions/1")["damaged"]
    assert numbers(vault, file) == [2, 1]
    assert differences() == []


def test_twenty_restorations_at_once_make_versions_one_after_the_other(vault: Vault) -> None:
    file = file_of(vault, b"first", b"second")

    def restore(_: int) -> int:
        answer = vault.twin().call("POST", f"/files/{file}/versions/1/restoration", headers={"If-Match": '"2"'})
        return answer.status_code

    with ThreadPoolExecutor(20) as pool:
        statuses = sorted(pool.map(restore, range(20)))
    assert statuses[0] == 200
    assert set(statuses[1:]) <= {412, 503}
    assert numbers(vault, file) == [3, 2, 1]
    assert differences() == []


def test_a_version_is_named_and_unnamed(vault: Vault) -> None:
    path = f"/files/{file_of(vault, b'first', b'second')}/versions/1"
    named = vault.change(path, 1, label="  As sent to the board ")
    assert (named.json["label"], named.json["version"], named.headers["ETag"]) == ("As sent to the board", 2, '"2"')
    assert vault.change(path, 2, label="As sent to the board").json["version"] == 2
    assert vault.change(path).json["label"] == "As sent to the board"
    problem(vault.change(path, 1, label="Mine"), 412)
    assert vault.change(path, label=None).json["label"] is None
    for bad in ("", "x" * 101, "a\nb", "a\0b", 7):
        problem(vault.change(path, label=bad), 422)
    problem(vault.change(path.replace("/1", "/7"), label="x"), 404)


def test_a_former_version_is_deleted_and_its_room_given_back(vault: Vault, member: Actor) -> None:
    file = file_of(vault, b"first one", b"second", b"third")
    before = show_use(member).used
    problem(vault.call("DELETE", f"/files/{file}/versions/3"), 409, "current")
    good(vault.call("DELETE", f"/files/{file}/versions/1"), 204)
    problem(vault.call("DELETE", f"/files/{file}/versions/1"), 404)
    assert numbers(vault, file) == [3, 2]
    assert show_use(member).used == before - 9


def test_levels_say_what_one_may_do_with_versions(vault: Vault, other_vault: Vault, stranger: Actor) -> None:
    file = file_of(vault, b"first", b"second", b"third")
    path = f"/files/{file}/versions/1"
    for method, rest in (("GET", ""), ("GET", "/content"), ("GET", "/differences"), ("POST", "/restoration")):
        problem(other_vault.call(method, path + rest), 404)
    share(vault, file, stranger, "viewer")
    assert numbers(other_vault, file) == [3, 2, 1]
    assert good(other_vault.call("GET", f"{path}/content")).data == b"first"
    for answer in (other_vault.call("POST", f"{path}/restoration"), other_vault.change(path, label="x")):
        problem(answer, 403)
    share(vault, file, stranger, "editor")
    good(other_vault.call("POST", f"{path}/restoration"))
    good(other_vault.change(path, label="x"))
    problem(other_vault.call("DELETE", path), 403, "level")
    share(vault, file, stranger, "manager")
    good(other_vault.call("DELETE", path), 204)
    assert show_use(stranger).used == 0


def test_a_token_limited_to_a_folder_sees_versions_inside_alone(vault: Vault, app: Flask) -> None:
    folder = vault.folder("Inside")["id"]
    inside, outside = vault.upload("in.txt", folder_id=folder)["id"], vault.upload("out.txt")["id"]
    wish = {"name": "Script", "scopes": ["files.read", "files.write"], "folder_id": folder}
    token = good(vault.call("POST", "/tokens", json=wish), 201).json["token"]
    script = Vault(app, {"Authorization": f"Bearer {token}"}, vault.actor)
    assert numbers(script, inside) == [1]
    for method, rest in (("GET", ""), ("GET", "/1"), ("GET", "/1/content"), ("POST", "/1/restoration")):
        problem(script.call(method, f"/files/{outside}/versions{rest}"), 404)


@pytest.fixture
def keeping(app: Flask) -> Any:
    """Sets how many versions stay, and for how long."""
    before = app.config["HOLDFAST_SETTINGS"]

    def keep(count: int, days: int) -> None:
        use_settings(before.model_copy(update={"versions_kept": count, "version_retention_days": days}))
        forget_values()

    yield keep
    use_settings(before)
    forget_values()


def test_pruning_keeps_the_present_the_named_and_as_many_as_the_settings_say(
    vault: Vault, keeping: Callable[[int, int], None], member: Actor
) -> None:
    file = file_of(vault, *(f"content {n}".encode() for n in range(1, 8)))
    other = file_of(vault, b"content 1", name="other.txt")
    good(vault.change(f"/files/{file}/versions/2", label="Kept"))
    keeping(0, 0)
    assert prune_versions() == 0
    keeping(3, 0)
    assert prune_versions() == 2
    assert numbers(vault, file) == [7, 6, 5, 4, 2]
    assert prune_versions() == 0
    assert numbers(vault, other) == [1]
    assert show_use(member).used == 6 * 9
    assert vault.content(other).data == b"content 1"


def test_pruning_by_age_counts_from_when_a_version_was_replaced(
    vault: Vault, keeping: Callable[[int, int], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    file = file_of(vault, b"1", b"2", b"3")
    keeping(0, 10)
    assert prune_versions() == 0
    later = now() + timedelta(days=11)
    monkeypatch.setattr("webapp.services.retentions.now", lambda: later)
    assert prune_versions() == 2
    assert numbers(vault, file) == [3]


def test_two_texts_are_compared_from_the_older_to_the_newer(vault: Vault) -> None:
    lines = [f"line {n}" for n in range(1, 31)]
    changed = [*lines[:4], "five", *lines[5:20], *lines[21:], "more"]
    file = file_of(vault, "\n".join(lines).encode(), "\n".join(changed).encode(), name="plan.md")
    found = vault.get(f"/files/{file}/versions/1/differences")
    assert found == vault.get(f"/files/{file}/versions/2/differences?with=1")
    assert (found["old"], found["new"], found["added"], found["removed"]) == (1, 2, 2, 2)
    first = found["hunks"][0]
    assert (first["old_start"], first["old_lines"], first["new_start"], first["new_lines"]) == (2, 7, 2, 7)
    assert [(line["kind"], line["old"], line["new"], line["text"]) for line in first["lines"]][3:5] == [
        ("removed", 5, None, "line 5"), ("added", None, 5, "five")]  # fmt: skip
    assert len(found["hunks"]) == 3
    assert vault.get(f"/files/{file}/versions/1/differences?with=1")["hunks"] == []
    problem(vault.call("GET", f"/files/{file}/versions/1/differences?with=9"), 404)
    problem(vault.call("GET", f"/files/{file}/versions/1/differences?with=x"), 422)


def test_what_is_no_text_or_too_large_is_not_compared(vault: Vault) -> None:
    picture = io.BytesIO()
    Image.new("RGB", (8, 8)).save(picture, "PNG")
    file = file_of(vault, b"text", picture.getvalue(), name="a.png")
    problem(vault.call("GET", f"/files/{file}/versions/1/differences"), 409, "not_text")
    large = file_of(vault, b"x\n" * 600_000, b"y", name="large.txt")
    problem(vault.call("GET", f"/files/{large}/versions/1/differences"), 409, "too_large_to_compare")


def test_comparing_is_bounded_whatever_the_texts(vault: Vault) -> None:
    one, other = (b"".join(b"%d\n" % (n * factor % 97) for n in range(200_000)) for factor in (7, 11))
    file = file_of(vault, one, other)
    start = time.perf_counter()
    found = vault.get(f"/files/{file}/versions/1/differences")
    assert time.perf_counter() - start < 20
    assert found["smallest"] is False


def test_blocks_lead_from_one_list_to_the_other() -> None:
    for old, new in [("", "ab"), ("ab", ""), ("abcabba", "cbabac"), ("same", "same"), ("xaxbx", "ab"), ("ab", "xaxbx")]:
        blocks, smallest = comparing.compare(list(old), list(new))
        made, at = "", 0
        for block in blocks:
            made += old[at : block.start] + new[block.first : block.last]
            at = block.end
        assert (made + old[at:], smallest) == (new, True)


def test_pages_list_compare_restore_name_and_delete(
    vault: Vault, signed_in: Callable[[Actor], FlaskClient], member: Actor
) -> None:
    file = file_of(vault, b"one\ntwo\n", b"one\nthree\n", b"four\n")
    browser, here = signed_in(member), f"/files/{file}/versions"
    assert f'href="{here}"' in browser.get(f"/files/{file}").text
    page = browser.get(here).text
    assert page.count(f'action="{here}') == 2
    token = csrf_of(page)
    assert "two" in browser.get(f"{here}/1/differences?with=2").text
    assert "three" in browser.get(f"{here}/2/differences").text

    def post(path: str, **form: str) -> Any:
        return browser.post(f"{here}{path}", data={"csrf_token": token, **form})

    assert post("/1/restoration", version="3").status_code == 302
    assert vault.content(file).data == b"one\ntwo\n"
    assert browser.get(f"{here}/2/label").status_code == 200
    assert post("/2/label", label="Sent", version="1").status_code == 302
    assert "Sent" in browser.get(here).text
    assert post("/2/label", label="x" * 101, version="2").status_code == 422
    assert browser.get(f"{here}/1/removal").status_code == 200
    assert post("/1/removal", version="1").status_code == 302
    assert numbers(vault, file) == [4, 3, 2]
    assert post("/4/removal", version="1").status_code == 302
    assert "present content" in browser.get(here).text
    assert browser.get(f"{here}/9/label").status_code == 404
