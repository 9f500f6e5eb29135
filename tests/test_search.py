"""Search: words, prefixes, filters, only what one may see, and an index that follows every change by itself."""

from collections.abc import Callable

import pytest
from flask import Flask
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sqlalchemy import func, select, text

from tests.naughty import TEXTS
from tests.vault import Vault, good, problem
from webapp.db import db, tally
from webapp.infra.terms import fold
from webapp.models.search import SearchEntry, sqlite_parts
from webapp.policies import Actor
from webapp.services.search import SearchQuery, search

Run = Callable[[], int]


def found(vault: Vault, q: str | None = None, **query: str) -> list[str]:
    """Names, in the order in which they are answered."""
    wish = {**({} if q is None else {"q": q}), **query}
    return [hit["name"] for hit in vault.get("/search", query_string={"limit": "100", **wish})["items"]]


def test_words_and_their_beginnings_are_found_whatever_their_case_and_accents(vault: Vault) -> None:
    vault.upload("Übersicht Hafengebühren_2026.pdf.txt")
    vault.folder("Crème brûlée")
    for words in ("ubersicht", "ÜBERSICHT", "hafengebuhren", "hafengeb", "2026 uber", "Hafengebühren-2026", "txt pdf"):
        assert found(vault, words) == ["Übersicht Hafengebühren_2026.pdf.txt"], words
    assert found(vault, "creme BRUL") == ["Crème brûlée"]
    assert found(vault, "gebühren") == [], "a word is found by its beginning"
    assert found(vault, "ubersicht anders") == [], "every word counts"
    assert found(vault, "?!") == []


def test_names_come_first_then_content_and_of_each_the_newest(vault: Vault, run_jobs: Run) -> None:
    vault.upload("first tide.txt", b"nothing")
    vault.upload("letter.txt", b"Der Gezeitenpegel stieg; the tide came <b>in</b> & out.")
    vault.upload("tide tables.txt", b"tide tide tide")
    run_jobs()
    assert found(vault, "tide") == ["tide tables.txt", "first tide.txt", "letter.txt"]
    hit = vault.get("/search", query_string={"q": "gezeiten tide"})["items"][0]
    assert (hit["name"], hit["found_in"]) == ("letter.txt", "content")
    assert [piece["text"] for piece in hit["snippet"] if piece["marked"]] == ["Gezeiten", "tide"]
    assert "".join(piece["text"] for piece in hit["snippet"]) == (
        "Der Gezeitenpegel stieg; the tide came <b>in</b> & out."
    )
    assert found(vault, "letter gezeiten") == ["letter.txt"], "words may stand in name and text"


def test_pages_go_on_from_names_to_content(vault: Vault, run_jobs: Run) -> None:
    for number in range(4):
        vault.upload(f"quay {number}.txt", b"")
        vault.upload(f"log {number}.txt", f"quay {number}".encode())
    run_jobs()
    names = [hit["name"] for hit in vault.every("/search", 3, q="quay")]
    assert names == [*(f"quay {n}.txt" for n in (3, 2, 1, 0)), *(f"log {n}.txt" for n in (3, 2, 1, 0))]
    problem(vault.call("GET", "/search", query_string={"q": "quay", "cursor": "x"}), 422)


def test_filters_narrow_and_stand_alone(vault: Vault, run_jobs: Run) -> None:
    folder = vault.folder("Harbour")
    below = vault.folder("Below", folder["id"])
    vault.upload("plan.txt", b"x" * 100, folder_id=below["id"])
    tagged = vault.upload("plan two.txt", b"y", folder_id=folder["id"])
    vault.upload("plan.csv", b"a,b\n1,2\n")
    good(vault.change(f"/files/{tagged['id']}", tags=["Year 2026", "pier"], description="Draft for the board"))
    run_jobs()
    assert found(vault, "plan", folder_id=folder["id"]) == ["plan two.txt", "plan.txt"]
    assert found(vault, folder_id=folder["id"]) == ["plan two.txt", "plan.txt", "Below"]
    assert found(vault, "plan", tag="Year 2026") == found(vault, tag="pier") == ["plan two.txt"]
    assert found(vault, tag="Year") == [], "a tag is a tag, not its words"
    assert found(vault, "board pier") == ["plan two.txt"]
    assert found(vault, "plan", min_size="50") == ["plan.txt"]
    assert found(vault, "plan", max_size="1") == ["plan two.txt"]
    assert found(vault, type="folder") == ["Below", "Harbour"]
    assert found(vault, "plan", type="spreadsheet") == found(vault, "plan", type="text/csv") == ["plan.csv"]
    assert found(vault, "plan", owner="others") == []
    assert len(found(vault, "plan", owner="me")) == len(found(vault, "plan", owner=str(vault.actor.uuid))) == 3
    assert found(vault, "plan", since="2000-01-01", until="2000-01-02") == []
    assert len(found(vault, "plan", since="2000-01-01")) == 3
    for wrong in ({"since": "yesterday"}, {"type": "Image!"}, {"min_size": "-1"}, {"owner": "nobody"}, {"page": "2"}):
        problem(vault.call("GET", "/search", query_string={"q": "plan", **wrong}), 422)
    problem(vault.call("GET", "/search", query_string={"folder_id": str(vault.actor.uuid)}), 404)
    assert found(vault) == []


def test_the_index_follows_every_change(vault: Vault, run_jobs: Run) -> None:
    file = vault.upload("harbour.txt", b"mooring")
    run_jobs()
    path = f"/files/{file['id']}"
    assert found(vault, "mooring") == ["harbour.txt"]
    good(vault.change(path, name="pilot.txt"))
    assert (found(vault, "harbour"), found(vault, "pilot mooring")) == ([], ["pilot.txt"])
    good(vault.change(path, description="Ebb", tags=["spring"]))
    assert found(vault, "ebb mooring spring") == ["pilot.txt"]
    good(vault.call("PUT", f"{path}/content", data=b"anchor"))
    assert found(vault, "mooring") == [], "what an earlier version held is not its text any more"
    run_jobs()
    assert found(vault, "anchor ebb") == ["pilot.txt"]
    good(vault.call("DELETE", path), 204)
    assert found(vault, "pilot") == found(vault, "anchor") == []
    good(vault.call("POST", f"{path}/restoration"))
    assert found(vault, "anchor") == ["pilot.txt"]
    copy = vault.upload("copy.txt", b"anchor")
    assert found(vault, "anchor") == ["copy.txt", "pilot.txt"], "its content was read before"
    good(vault.call("DELETE", f"/files/{copy['id']}"), 204)
    good(vault.call("DELETE", f"/trash/{copy['id']}"), 204)
    folder = vault.folder("Rope locker")
    good(vault.change(f"/folders/{folder['id']}", name="Sail locker"))
    assert (found(vault, "rope"), found(vault, "sail")) == ([], ["Sail locker"])
    good(vault.change(path, folder_id=folder["id"]))
    assert found(vault, folder_id=folder["id"]) == ["pilot.txt"]
    assert entries() == 2


def entries() -> int:
    db.session.rollback()
    return int(db.session.execute(select(func.count()).select_from(SearchEntry)).scalar_one())


def test_each_sees_what_they_may_see_and_the_parts_of_words_tell_nothing(
    app: Flask, vault: Vault, other_vault: Vault, person: Callable[..., Actor], bearer: Callable[..., dict[str, str]]
) -> None:
    admin = person("root", role="admin")
    admin_vault = Vault(app, bearer(admin), admin)
    folder = vault.folder("Chart room")
    deep = vault.folder("Charts of the north", vault.folder("Middle", folder["id"])["id"])
    vault.upload("chart north.txt", b"1", folder_id=deep["id"])
    alone = vault.upload("chart alone.txt", b"2")
    vault.upload("chart secret.txt", b"3")
    assert found(other_vault, "chart") == []
    who = {"email": other_vault.actor.email, "level": "viewer"}
    good(vault.call("PUT", f"/folders/{folder['id']}/grants", json=who))
    good(vault.call("PUT", f"/files/{alone['id']}/grants", json=who))
    assert found(other_vault, "chart") == ["chart alone.txt", "chart north.txt", "Charts of the north", "Chart room"]
    assert found(other_vault, "chart", folder_id=deep["id"]) == ["chart north.txt"]
    assert found(other_vault, "chart", owner="me") == []
    assert found(admin_vault, "chart secret") == ["chart secret.txt"], "who may see everybody's files"
    places = {h["name"]: h["folder_name"] for h in other_vault.get("/search", query_string={"q": "chart"})["items"]}
    assert places["Chart room"] is None
    assert places["chart north.txt"] == "Charts of the north"
    wish = {"name": "Reader", "scopes": ["files.read"], "folder_id": deep["id"]}
    secret = good(vault.call("POST", "/tokens", json=wish), 201).json["token"]
    limited = Vault(vault.app, {"Authorization": f"Bearer {secret}"}, vault.actor)
    assert found(limited, "chart") == ["chart north.txt", "Charts of the north"]
    problem(limited.call("GET", "/search", query_string={"q": "chart", "folder_id": folder["id"]}), 404)


def test_whatever_is_asked_is_answered(vault: Vault) -> None:
    vault.upload("plain.txt")
    for words in [*TEXTS, "a*b", "NEAR(a b)", "{named} : x", "'x' & 'y' | !z:*", "a AND OR NOT", '"', "owner_id : 1"]:
        answer = vault.call("GET", "/search", query_string={"q": words.encode("utf-8", "surrogatepass")})
        assert answer.status_code in {200, 400, 422}, (words[:50], answer.data[:500])


@settings(max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(st.text(max_size=40), max_size=12))
def test_the_database_folds_as_python_does(app: Flask, texts: list[str]) -> None:
    if db.engine.dialect.name != "postgresql":
        pytest.skip("SQLite's tokenizer folds by itself")
    for given_text in texts:
        clean = "".join(c for c in given_text if c != "\0" and not "\ud800" <= c <= "\udfff")
        told = db.session.execute(text("SELECT search_fold(:t)"), {"t": clean}).scalar_one()
        assert told.split() == fold(clean).split()


def test_a_search_costs_three_statements_at_most(vault: Vault, other_vault: Vault) -> None:
    folder = vault.folder("Deep")
    for number in range(5):
        folder = vault.folder(f"Deep {number}", folder["id"])
        vault.upload(f"deep {number}.txt", b"", folder_id=folder["id"])
    for asks in ({"q": "deep"}, {"q": "nowhere"}, {"q": "deep", "folder_id": folder["id"]}, {"type": "folder"}):
        tally.reset()
        search(vault.actor, SearchQuery.model_validate(asks))
        assert tally.count <= 3


def test_migrations_and_models_make_the_same_triggers(app: Flask) -> None:
    if db.engine.dialect.name == "sqlite":
        made = db.session.execute(text("SELECT name FROM sqlite_master WHERE type = 'trigger' AND name LIKE 'search%'"))
        wanted = {part.split("EXISTS ")[1].split()[0] for part in sqlite_parts() if "TRIGGER" in part}
        assert set(made.scalars()) == wanted, "a batch that copies a table loses its triggers: make them again after it"
