"""Features that administrators switch: for all, for some, for a time; off means that nothing of it is there."""

import time
import uuid
from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest
from flask import Flask
from flask.testing import FlaskClient
from sqlalchemy import update

from tests.conftest import csrf_of
from tests.vault import Vault, good, problem
from webapp.db import db, read_row
from webapp.infra.clock import now
from webapp.models.flags import Flag
from webapp.models.record import live
from webapp.policies import Actor
from webapp.services import features, flags
from webapp.services.features import FEATURES, State, counts, forget_states, is_on, share_of


@pytest.fixture(autouse=True)
def unknown() -> None:
    features._Known.states = None
    features._Known.noted.clear()


@pytest.fixture
def office(app: Flask, admin: Actor, bearer: Callable[[Actor], dict[str, str]]) -> Vault:
    return Vault(app, bearer(admin), admin)


def switch(office: Vault, **wish: Any) -> Any:
    return good(office.call("PATCH", "/flags/passkeys", json=wish)).json


def state(**given: Any) -> State:
    usual: dict[str, Any] = {"enabled": True, "percentage": 100, "people": frozenset(), "groups": frozenset(),
                             "starts_at": None, "ends_at": None, "asked_at": None}  # fmt: skip
    return State(**usual | given)


def somebody(number: int = 1, groups: frozenset[int] = frozenset()) -> Actor:
    return Actor(number, uuid.uuid5(uuid.NAMESPACE_DNS, str(number)), "a@b.example", "A", groups=groups)


def test_off_is_off_for_everybody_whoever_is_named() -> None:
    assert not counts("passkeys", state(enabled=False, people=frozenset({1})), somebody(1), now())
    assert counts("passkeys", state(), None, now())


def test_people_and_groups_have_it_beside_the_share() -> None:
    some = state(percentage=0, people=frozenset({1}), groups=frozenset({7}))
    assert counts("passkeys", some, somebody(1), now())
    assert counts("passkeys", some, somebody(2, frozenset({7, 8})), now())
    assert not counts("passkeys", some, somebody(3), now())
    assert not counts("passkeys", some, None, now())


def test_the_share_is_sticky_even_and_grows_without_losing_anybody() -> None:
    people = [somebody(number) for number in range(4000)]
    at = {
        share: {p.id for p in people if counts("passkeys", state(percentage=share), p, now())} for share in (10, 50, 99)
    }
    assert at[10] < at[50] < at[99]
    assert 300 < len(at[10]) < 500
    assert 1850 < len(at[50]) < 2150
    assert share_of("passkeys", people[0].uuid) != share_of("other", people[0].uuid), "not the same people for each"


def test_it_begins_and_ends_at_its_times() -> None:
    moment = now()
    planned = state(starts_at=moment, ends_at=moment + timedelta(hours=1))
    assert not counts("passkeys", planned, somebody(), moment - timedelta(seconds=1))
    assert counts("passkeys", planned, somebody(), moment)
    assert not counts("passkeys", planned, somebody(), moment + timedelta(hours=1))


def test_a_feature_nobody_changed_is_as_declared_and_an_unknown_name_is_an_error(app: Flask, member: Actor) -> None:
    assert is_on("passkeys", member) is FEATURES["passkeys"].default
    with pytest.raises(KeyError):
        is_on("passkey", member)  # type: ignore[arg-type]


def test_templates_and_guards_name_only_features_that_are_declared(app: Flask) -> None:
    import re
    from pathlib import Path

    root = Path(__file__).parent.parent
    files = [*root.glob("webapp/**/*.py"), *root.glob("templates/**/*.html")]
    named = {name for file in files for name in re.findall(r'feature(?:=|\()"(\w+)"', file.read_text())}
    assert named == set(FEATURES), "each is declared, and each switches something"


def test_off_means_that_nothing_of_it_is_there(
    office: Vault, vault: Vault, member: Actor, signed_in: Callable[[Actor], FlaskClient]
) -> None:
    browser = signed_in(member)
    assert "Passkeys" in browser.get("/account/security").text
    switch(office, enabled=False)
    assert "Passkeys" not in browser.get("/account/security").text
    assert browser.get("/account/security/passkey").status_code == 404
    problem(vault.call("POST", "/factors/passkeys"), 404)
    switch(office, enabled=True, percentage=0, people=[member.email])
    assert browser.get("/account/security/passkey").status_code != 404


def test_a_change_is_in_force_in_another_process_within_two_seconds(office: Vault, member: Actor) -> None:
    assert is_on("passkeys", member)
    end = time.monotonic() + 5
    while read_row(live(Flag)) is None and time.monotonic() < end:  # the note that it was asked for
        time.sleep(0.05)
    with db.engine.connect().execution_options(write=True) as connection, connection.begin():  # as another process does
        connection.execute(update(Flag).values(enabled=False))
    end = time.monotonic() + 2
    while is_on("passkeys", member) and time.monotonic() < end:
        time.sleep(0.05)
    assert not is_on("passkeys", member)


def test_while_the_database_is_away_what_was_known_counts(
    office: Vault, member: Actor, monkeypatch: pytest.MonkeyPatch
) -> None:
    switch(office, enabled=False)
    assert not is_on("passkeys", member)

    def away(*_: Any) -> Any:
        from webapp.errors import Unavailable

        raise Unavailable("away")

    monkeypatch.setattr(features, "read_rows", away)
    forget_states()
    assert not is_on("passkeys", member)


def test_who_switched_what_is_in_the_trail_and_when_it_was_asked_for_on_the_page(office: Vault, member: Actor) -> None:
    view = switch(office, percentage=25, people=[member.email.upper()], notes="Trial")
    assert (view["how"], view["people"][0]["email"]) == ("partly", member.email)
    newest = office.get("/audit?event=flag.changed")["items"][0]
    assert newest["changes"]["percentage"] == [100, 25]
    is_on("passkeys", member)
    end = time.monotonic() + 5
    while office.get("/flags/passkeys")["asked_at"] is None and time.monotonic() < end:
        time.sleep(0.05)
    shown = office.get("/flags/passkeys")
    assert shown["asked_at"] is not None
    assert shown["version"] == view["version"], "what code does is no change"


@pytest.mark.parametrize(
    ("wish", "field"),
    [
        ({"people": ["ghost@harbour.example"]}, "people"),
        ({"groups": [str(uuid.uuid4())]}, "groups"),
        ({"percentage": 101}, "percentage"),
        ({"percentage": -1}, "percentage"),
        ({"starts_at": "2026-01-02T00:00:00Z", "ends_at": "2026-01-01T00:00:00Z"}, "ends_at"),
        ({"starts_at": "2026-01-02T00:00:00"}, "starts_at"),
        ({"colour": "red"}, "colour"),
    ],
)
def test_a_wish_that_means_nothing_is_refused_and_changes_nothing(office: Vault, wish: Any, field: str) -> None:
    before = office.get("/flags/passkeys")
    answer = problem(office.call("PATCH", "/flags/passkeys", json=wish), 422)
    assert answer["errors"][0]["field"].startswith(field)
    assert office.get("/flags/passkeys") == before
    problem(office.call("PATCH", "/flags/teleport", json={"enabled": True}), 404)


def test_the_form_empties_what_is_left_empty(
    office: Vault, admin: Actor, member: Actor, signed_in: Callable[[Actor], FlaskClient]
) -> None:
    group = good(office.call("POST", "/groups", json={"name": "Pilots"}), 201).json["id"]
    switch(office, percentage=0, people=[member.email], groups=[group], notes="Trial")
    browser = signed_in(admin)
    page = browser.get("/admin/flags/passkeys").text
    assert member.email in page
    form = {"csrf_token": csrf_of(page), "enabled": "true", "percentage": "10", "people": "", "groups": "", "notes": ""}
    assert browser.post("/admin/flags/passkeys", data=form).status_code == 302
    view = office.get("/flags/passkeys")
    assert (view["percentage"], view["people"], view["groups"], view["notes"]) == (10, [], [], "")
    assert "10 % of everybody" in browser.get("/admin/flags").text
    refused = browser.post("/admin/flags/passkeys", data=form | {"people": "ghost@harbour.example"})
    assert refused.status_code == 422
    assert "ghost@harbour.example" in refused.text


def test_two_who_switch_at_once_do_not_overwrite_one_another(office: Vault) -> None:
    view = switch(office, percentage=20)
    headers = {"If-Match": f'"{view["version"]}"'}
    good(office.call("PATCH", "/flags/passkeys", json={"percentage": 30}, headers=headers))
    problem(office.call("PATCH", "/flags/passkeys", json={"percentage": 40}, headers=headers), 412)
    assert db.session.scalars(live(Flag)).one().percentage == 30
    assert flags.UNCHANGED == 1


def test_public_links_that_are_off_open_for_nobody_and_open_again(
    office: Vault, vault: Vault, app: Flask, member: Actor, signed_in: Callable[[Actor], FlaskClient]
) -> None:
    file = vault.upload("chart.txt", b"depths")
    share = good(vault.call("POST", "/shares", json={"file_id": file["id"]}), 201).json
    stranger = app.test_client()
    path = "/s/" + share["url"].rsplit("/s/", 1)[1]
    assert "chart.txt" in stranger.get(path).text
    good(office.call("PATCH", "/flags/public_links", json={"enabled": False}))
    assert stranger.get(path).status_code == 404
    problem(vault.call("GET", "/shares"), 404)
    browser = signed_in(member)
    assert browser.get("/shares").status_code == 404
    assert "public link" not in browser.get(f"/files/{file['id']}/access").text
    good(office.call("PATCH", "/flags/public_links", json={"enabled": True}))
    assert "chart.txt" in stranger.get(path).text
