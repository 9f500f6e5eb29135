"""Files over the API: listed by key, shown, changed without losing anybody's change."""

import random
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime
from typing import Any
from uuid import uuid4

import pytest

from tests.test_folders import statements
from tests.vault import Vault, differences, good, problem, traces
from webapp.db import db
from webapp.infra.storage import store
from webapp.models.audit import AuditEntry
from webapp.services import files
from webapp.services.files import NewFile
from webapp.services.names import sort_key

SORTS = ("name", "-name", "updated_at", "-updated_at", "size", "-size")
FIELDS = {"id", "name", "folder_id", "mime", "size", "sha256", "number", "description", "tags",
          "created_at", "updated_at", "deleted_at", "version"}  # fmt: skip


def fill(vault: Vault, count: int) -> list[str]:
    """Many files in one transaction, their names in an order that is not the sorted one, sizes with repetitions."""
    names = [f"{word} {number}.txt" for number in range(count // 5) for word in ("Äpfel", "apfel", "Zebra", "10", "9")]
    random.Random(7).shuffle(names)
    uploads = []
    for number, name in enumerate(names):
        draft = store().draft()
        draft.write(b"x" * (number % 7))
        uploads.append((NewFile(name=name), draft))
    with vault.app.app_context():
        files.create_files(vault.actor, uploads)
    return names


def queries_of(answer: Any) -> int:
    return int(answer.headers["Server-Timing"].rsplit('desc="', 1)[1].rstrip('"'))


def test_a_file_has_these_fields_and_an_etag_of_its_version(vault: Vault) -> None:
    file = vault.upload("note.txt", b"hello")
    assert file.keys() == FIELDS
    assert (file["size"], file["number"], file["version"], file["mime"]) == (5, 1, 1, "text/plain")
    answer = vault.call("GET", f"/files/{file['id']}")
    assert answer.json == file
    assert answer.headers["ETag"] == '"1"'
    assert file["created_at"].endswith("Z")
    for known in ('"1"', 'W/"1"', '"7", "1"', "*"):
        unchanged = good(vault.call("GET", f"/files/{file['id']}", headers={"If-None-Match": known}), 304)
        assert unchanged.data == b""
        assert unchanged.headers["ETag"] == '"1"'
    good(vault.call("GET", f"/files/{file['id']}", headers={"If-None-Match": '"2"'}))


def test_every_order_visits_each_of_250_files_once_while_others_come_in(vault: Vault) -> None:
    names = fill(vault, 250)
    for sort in SORTS:
        seen: list[Any] = []
        query = {"sort": sort, "limit": "40"}
        while True:
            page = vault.get("/files", query_string=query)
            seen += page["items"]
            vault.upload(f"~ added during {sort} {len(seen)}", b"")
            vault.upload(f"! added during {sort} {len(seen)}", b"y" * 99)
            if page["next_cursor"] is None:
                break
            query["cursor"] = page["next_cursor"]
        found = [item["name"] for item in seen]
        assert len(found) == len(set(found)), sort
        assert set(names) <= set(found), sort
        assert_ordered(seen, sort)


def assert_ordered(items: list[Any], sort: str) -> None:
    """In the order that Python gives: the same on every database."""
    field = sort.removeprefix("-")
    read = {"name": lambda item: sort_key(item["name"]), "size": lambda item: item["size"],
            "updated_at": lambda item: datetime.fromisoformat(item["updated_at"])}[field]  # fmt: skip
    keys = [read(item) for item in items]
    assert keys == sorted(keys, reverse=sort.startswith("-"))


def test_a_page_costs_as_many_queries_for_100_rows_as_for_1(vault: Vault) -> None:
    folder = vault.folder("Inside")["id"]
    vault.upload("x.txt", b"x", folder_id=folder)
    fill(vault, 100)
    # Three times each: now and then a request also reads anew who asks.
    one = [vault.call("GET", "/files", query_string={"folder_id": folder}) for _ in range(3)]
    many = [vault.call("GET", "/files", query_string={"limit": "100"}) for _ in range(3)]
    assert (len(one[0].json["items"]), len(many[0].json["items"])) == (1, 100)
    assert min(map(queries_of, many)) <= min(map(queries_of, one)) <= 3


def test_lists_are_filtered_by_folder_type_tag_and_part_of_the_name(vault: Vault) -> None:
    folder = vault.folder("Inside")["id"]
    inside = vault.upload("inside 100%.txt", b"x", folder_id=folder)
    tagged = vault.upload("a_b.png", b"\x89PNG\r\n\x1a\n" + b"\0" * 20)
    vault.upload("axb.csv", b"a,b\n1,2\n")
    good(vault.change(f"/files/{tagged['id']}", tags=["Red", "rot & blau", "%"]))
    everything = {"inside 100%.txt", "a_b.png", "axb.csv"}
    for query, wanted in (
        ({}, everything),
        ({"folder_id": folder}, {"inside 100%.txt"}),
        ({"folder_id": "root"}, {"a_b.png", "axb.csv"}),
        ({"type": "image"}, {"a_b.png"}),
        ({"type": "image/png"}, {"a_b.png"}),
        ({"type": "image/pn"}, set()),
        ({"type": "imag"}, set()),
        ({"type": "text"}, {"inside 100%.txt", "axb.csv"}),
        ({"tag": "Red"}, {"a_b.png"}),
        ({"tag": "rot & blau"}, {"a_b.png"}),
        ({"tag": "Re"}, set()),
        ({"tag": "%"}, {"a_b.png"}),
        ({"q": "a_b"}, {"a_b.png"}),
        ({"q": "%"}, {"inside 100%.txt"}),
        ({"q": "_"}, {"a_b.png"}),
        ({"q": "\\"}, set()),
        ({"q": "INSIDE"}, {"inside 100%.txt"}),
        ({"q": "a", "type": "text", "folder_id": "root"}, {"axb.csv"}),
        ({"trashed": "true"}, set()),
    ):
        found = vault.get("/files", query_string=query)["items"]
        assert {item["name"] for item in found} == wanted, query
    good(vault.call("DELETE", f"/files/{inside['id']}"), 204)
    assert [item["id"] for item in vault.get("/files", query_string={"trashed": "true"})["items"]] == [inside["id"]]
    assert vault.get("/files", query_string={"folder_id": folder})["items"] == []


def test_a_cursor_serves_the_list_it_came_from_and_no_other(vault: Vault) -> None:
    fill(vault, 10)
    for number in range(3):
        vault.folder(f"folder {number}")
    lists = [("/files", {"sort": sort}) for sort in SORTS] + [("/folders", {}), ("/trash", {})]
    for number in range(3):
        good(vault.call("DELETE", f"/files/{vault.upload(f'bin {number}')['id']}"), 204)
    cursors = [vault.get(path, query_string={**query, "limit": "2"})["next_cursor"] for path, query in lists]
    assert None not in cursors
    for path, query in lists:
        for (other, others_query), cursor in zip(lists, cursors, strict=True):
            answer = vault.call("GET", path, query_string={**query, "cursor": cursor})
            if (other, others_query) == (path, query):
                good(answer)
            else:
                assert problem(answer, 422)["errors"][0]["field"] == "cursor", (path, query, other, others_query)


@pytest.mark.parametrize(
    "query",
    [
        {"limit": "0"}, {"limit": "101"}, {"limit": "-1"}, {"limit": "ten"}, {"limit": "1e1"}, {"limit": "9" * 400},
        {"sort": "mime"}, {"sort": "name; drop"}, {"page": "2"}, {"offset": "3"}, {"folder_id": "top"},
        {"folder_id": "1"},
        {"type": "image/%"}, {"type": "a" * 200}, {"trashed": "perhaps"}, {"trashed": "true", "q": "x"},
        {"q": "x" * 201},
    ],
    ids=str,
)  # fmt: skip
def test_a_query_nobody_understands_is_422_and_names_the_parameter(vault: Vault, query: dict[str, str]) -> None:
    document = problem(vault.call("GET", "/files", query_string=query), 422)
    assert document["errors"][0]["field"] in {*query, "trashed"}


def test_a_parameter_given_twice_is_refused(vault: Vault) -> None:
    problem(vault.call("GET", "/files?limit=1&limit=2"), 422)


def test_a_file_is_renamed_moved_described_and_tagged_in_one_change(vault: Vault) -> None:
    folder, file = vault.folder("Inside")["id"], vault.upload("old.txt")
    wish = {"name": "new.txt", "folder_id": folder, "description": "What it is\nin two lines", "tags": ["b", "a", "b"]}
    changed = good(vault.change(f"/files/{file['id']}", version=1, **wish)).json
    assert (changed["name"], changed["folder_id"], changed["tags"]) == ("new.txt", folder, ["a", "b"])
    assert changed["description"] == wish["description"]
    assert changed["version"] == 2, "one change, one version"
    assert vault.get(f"/files/{file['id']}") == changed


def test_nothing_to_change_changes_nothing(vault: Vault) -> None:
    file = vault.upload("same.txt")
    before = traces()
    assert (
        good(vault.change(f"/files/{file['id']}", name="same.txt", tags=[], description="", folder_id=None)).json
        == file
    )
    assert good(vault.change(f"/files/{file['id']}")).json == file
    assert traces() == before


def test_a_change_is_audited_with_what_was_and_what_is(vault: Vault) -> None:
    file = vault.upload("old.txt")
    answer = good(vault.change(f"/files/{file['id']}", name="new.txt"))
    with db.engine.connect() as connection:
        entries = connection.execute(db.select(AuditEntry.__table__).order_by(AuditEntry.id.desc()).limit(1)).all()
    entry = entries[0]
    assert (entry.event, str(entry.target_uuid), entry.actor_id) == ("file.renamed", file["id"], vault.actor.id)
    assert entry.changes == {"name": ["old.txt", "new.txt"]}
    assert entry.request_id == answer.headers["X-Request-ID"]


@pytest.mark.parametrize("tag", ['"2"', '"0"', '"99999999999999999"', '"x"', "1", 'W/"2"'])
def test_a_stale_or_foreign_version_is_412_and_changes_nothing(vault: Vault, tag: str) -> None:
    file = vault.upload("kept.txt")
    path, header = f"/files/{file['id']}", {"If-Match": tag}
    before = traces()
    for answer in (
        vault.call("PATCH", path, json={"name": "other.txt"}, headers=header),
        vault.call("DELETE", path, headers=header),
        vault.call("PUT", f"{path}/content", data=b"other", headers=header),
    ):
        problem(answer, 412, "stale_version")
    assert traces() == before
    assert vault.get(path) == file
    assert vault.content(file["id"]).data == b"hello"


def test_of_twenty_programs_that_name_a_version_one_wins_and_no_change_is_lost(vault: Vault) -> None:
    """Promise 11. Each adds its own tag to what it read, and tries again when somebody was faster."""
    path = f"/files/{vault.upload('shared.txt')['id']}"

    def add(number: int) -> list[tuple[int, int]]:
        program, tries = vault.twin(), []
        while not tries or tries[-1][1] != 200:
            assert len(tries) < 200
            seen = program.get(path)
            answer = program.change(path, seen["version"], tags=[*seen["tags"], f"tag {number:02}"])
            if answer.status_code != 503:  # the database was busy: told so, nothing happened
                tries.append((seen["version"], answer.status_code))
        return tries

    with ThreadPoolExecutor(20) as pool:
        tries = [one for many in pool.map(add, range(20)) for one in many]
    assert {status for _, status in tries} <= {200, 412}
    won = sorted(version for version, status in tries if status == 200)
    assert won == list(range(1, 21)), "exactly one 200 for each version"
    assert any(status == 412 for _, status in tries), "they did meet"
    file = vault.get(path)
    assert file["version"] == 21
    assert file["tags"] == [f"tag {number:02}" for number in range(20)]


def test_twenty_changes_that_name_one_version_at_once_give_one_200_and_nineteen_412(vault: Vault) -> None:
    file, folder = vault.upload("shared.txt"), vault.folder("Shared")
    for path in (f"/files/{file['id']}", f"/folders/{folder['id']}"):
        with ThreadPoolExecutor(20) as pool:
            wishes = [pool.submit(vault.twin().change, path, 1, name=f"{path[1:5]} {number}") for number in range(20)]
            statuses = sorted(wish.result().status_code for wish in wishes)
        assert statuses == [200] + [412] * 19
        assert vault.get(path)["version"] == 2


def test_changes_without_a_version_all_happen_one_after_the_other(vault: Vault) -> None:
    path = f"/files/{vault.upload('shared.txt')['id']}"
    with ThreadPoolExecutor(20) as pool:
        wishes = [pool.submit(vault.twin().change, path, description=f"text {number}") for number in range(20)]
        statuses = [wish.result().status_code for wish in wishes]
    assert set(statuses) <= {200, 409, 503}
    assert vault.get(path)["version"] == 1 + statuses.count(200) > 1


def test_new_contents_at_once_get_numbers_of_their_own(vault: Vault) -> None:
    file = vault.upload("shared.txt", b"first")
    with ThreadPoolExecutor(10) as pool:
        path = f"/files/{file['id']}/content"
        wishes = [pool.submit(vault.twin().call, "PUT", path, data=b"content %d" % number) for number in range(10)]
        statuses = [wish.result().status_code for wish in wishes]
    assert set(statuses) <= {200, 423, 503}  # 423: somebody else is just sending one
    assert vault.get(f"/files/{file['id']}")["number"] == 1 + statuses.count(200)
    assert differences() == []


def test_a_file_of_somebody_else_is_404_on_every_route(vault: Vault, other_vault: Vault) -> None:
    """And looks exactly like one that is not there: same words, nothing changed, nothing learnt."""
    file, folder = other_vault.upload("secret.txt", b"their bytes"), other_vault.folder("Secret")
    good(other_vault.call("DELETE", f"/files/{other_vault.upload('gone.txt')['id']}"), 204)
    before = traces()
    for rule in vault.app.url_map.iter_rules():
        if not rule.rule.startswith(("/api/v1/files/<", "/api/v1/folders/<")):
            continue
        theirs = file["id"] if "file_id" in rule.arguments else folder["id"]
        for method in sorted((rule.methods or set()) - {"OPTIONS", "HEAD"}):
            grant = {"email": vault.actor.email, "level": "manager"}
            options: dict[str, Any] = {
                "PATCH": {"json": {} if "<int:number>" in rule.rule else {"name": "mine.txt"}},
                "PUT": {"json": grant} if rule.rule.endswith("/grants") else {"data": b"mine"},
                "DELETE": {"query_string": {"email": vault.actor.email}} if rule.rule.endswith("/grants") else {},
            }.get(method, {})
            told = []
            for number in (theirs, str(uuid4())):
                path = rule.rule.replace("/api/v1", "")
                path = path.replace("<uuid:file_id>", number).replace("<uuid:folder_id>", number)
                path = path.replace("<int:number>", "1")
                assert "<" not in path, f"teach this test about {rule.rule}"
                document = problem(vault.call(method, path, **options), 404, "not_found")
                told.append((document["title"], document["detail"]))
            assert told[0] == told[1], rule.rule
    assert traces() == before
    assert vault.get("/files")["items"] == vault.get("/trash")["items"] == vault.get("/folders")["items"] == []


def test_a_change_takes_few_statements(vault: Vault) -> None:
    file = vault.upload("a.txt")
    assert statements(f"/files/{file['id']}", vault, name="b.txt") <= 15
