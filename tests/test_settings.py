"""Settings that administrators edit: what is accepted, what is fixed, who may, and that it acts at once."""

import re
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from html import unescape
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from flask import Flask
from flask.testing import FlaskClient
from sqlalchemy import update
from sqlalchemy.exc import OperationalError

from tests.conftest import csrf_of, make_settings
from tests.vault import Vault, good
from webapp.config import Settings, use_settings
from webapp.db import db, transaction
from webapp.errors import Unavailable
from webapp.infra.clock import now
from webapp.models.audit import AuditEntry
from webapp.models.files import File
from webapp.models.record import any_state
from webapp.models.settings import SettingsRow
from webapp.policies import Actor
from webapp.services import purges, settings
from webapp.services.settings import SETTINGS, Values, forget_values, in_force, read_values

Bearer = Callable[[Actor], dict[str, str]]
PATH = "/api/v1/settings"


@pytest.fixture(autouse=True)
def nothing_known() -> Iterator[None]:
    """The database was emptied behind the memory's back."""
    forget_values()
    yield
    forget_values()


@pytest.fixture
def office(client: FlaskClient, admin: Actor, bearer: Bearer) -> Callable[..., Any]:
    headers = bearer(admin)

    def call(method: str = "GET", version: int | None = None, **wish: Any) -> Any:
        match = {} if version is None else {"If-Match": f'"{version}"'}
        body = {} if method == "GET" else {"json": wish}
        return client.open(PATH, method=method, headers={**headers, **match}, **body)

    return call


def shown(office: Callable[..., Any], name: str) -> dict[str, Any]:
    return next(item for item in office().json["items"] if item["name"] == name)


def entries() -> list[Any]:
    return list(db.session.scalars(any_state(AuditEntry).where(AuditEntry.event == "settings.changed")))


def test_every_setting_is_declared_once_and_has_words() -> None:
    assert list(SETTINGS) == list(Values.model_fields)
    assert all(setting.title and setting.about and setting.group for setting in SETTINGS.values())
    for name, setting in SETTINGS.items():
        assert (name in Settings.model_fields) == (setting.share is None), name


def test_defaults_come_from_the_environment_or_are_shares_of_other_limits(office: Callable[..., Any]) -> None:
    answer = office()
    assert (answer.status_code, answer.headers["ETag"], answer.json["updated_at"]) == (200, '"1"', None)
    writes = shown(office, "writes_rate_limit")
    assert (writes["value"], writes["source"], writes["variable"]) == ("500000 per minute", "default", None)
    trash = shown(office, "trash_retention_days")
    assert (trash["value"], trash["default"], trash["source"]) == (30, 30, "default")
    assert trash["variable"] == "TRASH_RETENTION_DAYS"
    fixed = shown(office, "rate_limit")
    assert (fixed["value"], fixed["source"], fixed["chosen"]) == ("1000000 per minute", "environment", None)


def test_a_change_acts_at_once_is_versioned_and_audited(office: Callable[..., Any], admin: Actor) -> None:
    assert in_force().writes_rate_limit == "500000 per minute"
    answer = office("PATCH", 1, writes_rate_limit="90 per minute", trash_retention_days=7)
    assert (answer.status_code, answer.headers["ETag"]) == (200, '"2"')
    assert (in_force().writes_rate_limit, in_force().trash_retention_days) == ("90 per minute", 7)
    assert office("PATCH", 2, writes_rate_limit=None).headers["ETag"] == '"3"'
    assert in_force().writes_rate_limit == "500000 per minute"
    first, second = entries()
    assert first.changes == {"trash_retention_days": [30, 7],
                             "writes_rate_limit": ["500000 per minute", "90 per minute"]}  # fmt: skip
    assert second.changes == {"writes_rate_limit": ["90 per minute", "500000 per minute"]}
    assert first.actor_id == admin.id
    assert first.request_id


def test_a_wish_that_changes_nothing_leaves_no_trace(office: Callable[..., Any]) -> None:
    office("PATCH", trash_retention_days=7)
    assert office("PATCH", trash_retention_days=7).headers["ETag"] == '"2"'
    assert office("PATCH").headers["ETag"] == '"2"'
    assert len(entries()) == 1


def test_a_stale_change_is_412_and_changes_nothing(office: Callable[..., Any]) -> None:
    office("PATCH", 1, trash_retention_days=7)
    answer = office("PATCH", 1, trash_retention_days=8)
    assert (answer.status_code, answer.json["code"]) == (412, "stale_version")
    assert shown(office, "trash_retention_days")["value"] == 7
    assert office("PATCH", trash_retention_days=9).status_code == 200


def test_of_twenty_first_changes_at_once_one_wins_and_the_others_are_412(
    app: Flask, admin: Actor, bearer: Bearer
) -> None:
    """Promise 11, also while there is no row yet."""
    headers = {**bearer(admin), "If-Match": '"1"'}

    def change(days: int) -> int:
        return app.test_client().patch(PATH, json={"trash_retention_days": days}, headers=headers).status_code

    with ThreadPoolExecutor(20) as pool:
        codes = Counter(pool.map(change, range(1, 21)))
    assert codes == {200: 1, 412: 19}
    assert len(entries()) == 1


def test_who_knows_the_version_is_told_304(client: FlaskClient, admin: Actor, bearer: Bearer) -> None:
    headers = bearer(admin)
    assert client.get(PATH, headers={**headers, "If-None-Match": '"1"'}).status_code == 304


@pytest.mark.parametrize(("wish", "code"), [
    ({"writes_rate_limit": "a lot"}, "rate"),
    ({"writes_rate_limit": "600 per minute; 5 per second"}, "rate"),
    ({"writes_rate_limit": "600 per fortnight"}, "rate"),
    ({"writes_rate_limit": "-5 per minute"}, "rate"),
    ({"writes_rate_limit": "90000 per day"}, "rate_window"),
    ({"writes_rate_limit": "29 per minute"}, "rate_too_low"),
    ({"writes_rate_limit": "1799 per hour"}, "rate_too_low"),
    ({"writes_rate_limit": "1 per second"}, "rate_too_low"),
    ({"writes_rate_limit": "9999999999 per second"}, "rate_too_high"),
    ({"writes_rate_limit": "60 per minute" + " " * 50 + "x"}, "string_too_long"),
    ({"writes_rate_limit": "60 per\n minute"}, "rate"),
    ({"writes_rate_limit": ""}, "string_too_short"),
    ({"writes_rate_limit": 600}, "string_type"),
    ({"trash_retention_days": "7"}, "int_type"),
    ({"trash_retention_days": True}, "int_type"),
    ({"trash_retention_days": 1.5}, "int_type"),
    ({"trash_retention_days": -1}, "greater_than_equal"),
    ({"trash_retention_days": 10**30}, "less_than_equal"),
    ({"job_retention_days": 0}, "greater_than_equal"),
    ({"favourite_colour": "teal"}, "extra_forbidden"),
    ({"rate_limit": "600 per minute"}, "fixed"),
])  # fmt: skip
def test_what_cannot_be_is_422_with_the_field_and_changes_nothing(
    office: Callable[..., Any], wish: dict[str, Any], code: str
) -> None:
    answer = office("PATCH", **{"webhook_log_days": 5, **wish})
    assert answer.status_code == 422, answer.text
    assert [(fault["field"], fault["code"]) for fault in answer.json["errors"]] == [(next(iter(wish)), code)]
    assert office().headers["ETag"] == '"1"'
    assert entries() == []


@pytest.mark.parametrize(
    "rate", ["30 per minute", "30/second", "1800 per hour", "600 per 5 minute", "1000000000 per minute"]
)
def test_rates_are_written_as_the_limits_library_reads_them(office: Callable[..., Any], rate: str) -> None:
    assert office("PATCH", writes_rate_limit=rate).status_code == 200
    assert in_force().writes_rate_limit == rate


def test_what_the_environment_fixes_names_its_variable(office: Callable[..., Any]) -> None:
    answer = office("PATCH", rate_limit="600 per minute")
    assert "RATE_LIMIT" in answer.json["errors"][0]["message"]


def test_a_variable_that_is_set_later_stands_above_what_was_chosen(office: Callable[..., Any], app: Flask) -> None:
    office("PATCH", trash_retention_days=7)
    before = app.config["HOLDFAST_SETTINGS"]
    use_settings(before.model_copy(update={"trash_retention_days": 3}))
    try:
        assert in_force().trash_retention_days == 3
        item = shown(office, "trash_retention_days")
        assert (item["value"], item["source"], item["chosen"]) == (3, "environment", None)
        assert office("PATCH", trash_retention_days=7).status_code == 422
    finally:
        use_settings(before)
    assert in_force().trash_retention_days == 7


def test_members_neither_see_nor_change_settings(
    client: FlaskClient, member: Actor, bearer: Bearer, signed_in: Callable[[Actor], FlaskClient]
) -> None:
    headers = bearer(member)
    assert client.get(PATH, headers=headers).status_code == 403
    assert client.patch(PATH, json={"trash_retention_days": 1}, headers=headers).status_code == 403
    assert client.get(PATH).status_code == 401
    browser = signed_in(member)
    assert browser.get("/admin/settings").status_code == 404
    token = csrf_of(browser.get("/account").text)
    assert browser.post("/admin/settings", data={"csrf_token": token}).status_code == 404
    assert "/admin/settings" not in browser.get("/files").text


def test_what_this_version_does_not_take_counts_as_not_chosen(office: Callable[..., Any]) -> None:
    office("PATCH", trash_retention_days=7, job_retention_days=8)
    chosen = {"trash_retention_days": "soon", "job_retention_days": 8, "of_a_newer_version": 1}
    with transaction():
        db.session.execute(update(SettingsRow).values(chosen=chosen))
    forget_values()
    assert (in_force().trash_retention_days, in_force().job_retention_days) == (30, 8)
    assert shown(office, "trash_retention_days")["source"] == "default"
    office("PATCH", dead_letter_days=9)
    assert db.session.scalars(any_state(SettingsRow, SettingsRow.chosen)).one() == {
        **chosen, "dead_letter_days": 9
    }  # fmt: skip


def test_a_database_that_is_away_leaves_what_was_known_and_decides_no_deed(
    office: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    office("PATCH", trash_retention_days=365)
    assert in_force().trash_retention_days == 365
    monkeypatch.setattr(settings, "FRESH", 0.0)
    forget_values()

    def away(*_: object) -> None:
        raise Unavailable("gone")

    monkeypatch.setattr(settings, "read_row", away)
    assert in_force().trash_retention_days == 365
    with pytest.raises(Unavailable):
        read_values()


def test_a_database_without_the_table_serves_the_defaults(tmp_path: Path, app: Flask) -> None:
    use_settings(make_settings(tmp_path, RATE_LIMIT="", TRASH_RETENTION_DAYS="3"))
    db.session.rollback()
    try:
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(settings, "read_row", _no_such_table)
            assert (in_force().rate_limit, in_force().trash_retention_days) == ("1200 per minute", 3)
    finally:
        use_settings(app.config["HOLDFAST_SETTINGS"])


def _no_such_table(*_: object) -> None:
    raise OperationalError("select", {}, Exception("no such table: settings"))


def test_warm_reads_ask_nobody(app: Flask, monkeypatch: pytest.MonkeyPatch) -> None:
    first = in_force()
    monkeypatch.setattr(settings, "read_row", lambda *_: pytest.fail("asked"))
    assert in_force() is first


def test_an_unchanged_table_gives_the_same_object(app: Flask) -> None:
    first = in_force()
    settings._Known.until = 0.0
    assert in_force() is first


def test_the_trash_is_kept_as_long_as_the_settings_say(
    office: Callable[..., Any], vault: Vault, signed_in: Callable[[Actor], FlaskClient], member: Actor
) -> None:
    good(vault.call("DELETE", f"/files/{vault.upload()['id']}"), 204)
    with transaction():
        db.session.execute(update(File).values(deleted_at=now() - timedelta(days=8)))
    job: Any = SimpleNamespace(request_id=None, progress=lambda *_: None)
    assert purges.purge_old(job)["files"] == 0
    office("PATCH", trash_retention_days=0)
    assert purges.purge_old(job)["files"] == 0
    office("PATCH", trash_retention_days=7)
    assert "7 days" in signed_in(member).get("/trash").text
    assert purges.purge_old(job)["files"] == 1


# The page -------------------------------------------------------------------------------------------------------------


@pytest.fixture
def desk(admin: Actor, signed_in: Callable[[Actor], FlaskClient]) -> FlaskClient:
    return signed_in(admin)


def save(desk: FlaskClient, version: int, **fields: str) -> Any:
    token = csrf_of(desk.get("/admin/settings").text)
    return desk.post("/admin/settings", data={"csrf_token": token, "version": str(version), **fields})


def test_the_page_shows_saves_and_takes_back(desk: FlaskClient) -> None:
    page = desk.get("/admin/settings").text
    assert "Fixed by the variable RATE_LIMIT" in page
    assert 'name="rate_limit"' not in page
    assert 'placeholder="500000 per minute"' in page
    assert 'href="/admin/settings"' in desk.get("/files").text
    assert save(desk, 1, writes_rate_limit="90 per minute", trash_retention_days="7").status_code == 302
    page = desk.get("/admin/settings").text
    assert 'value="90 per minute"' in page
    assert "In force everywhere" in page
    assert save(desk, 2, writes_rate_limit="", trash_retention_days="7").status_code == 302
    assert (in_force().writes_rate_limit, in_force().trash_retention_days) == ("500000 per minute", 7)


def test_a_refused_form_comes_back_with_what_was_typed_and_why(desk: FlaskClient) -> None:
    answer = save(desk, 1, writes_rate_limit="2 per minute", trash_retention_days="soon")
    assert answer.status_code == 422
    assert 'value="2 per minute"' in answer.text
    assert "locked out" in answer.text
    assert answer.text.count("is-wrong") == 2


def test_a_fixed_setting_is_refused_by_the_page_too(desk: FlaskClient) -> None:
    answer = save(desk, 1, rate_limit="600 per minute")
    assert answer.status_code == 422
    assert "The variable RATE_LIMIT fixes this" in answer.text


def test_a_stale_form_meets_the_merge_page_with_what_differs(desk: FlaskClient) -> None:
    assert save(desk, 1, writes_rate_limit="90 per minute", webhook_log_days="5").status_code == 302
    answer = save(desk, 1, writes_rate_limit="95 per minute", webhook_log_days="5", job_retention_days="9")
    assert answer.status_code == 409
    for text in ("90 per minute", "95 per minute", 'name="job_retention_days"', 'name="version" value="2"'):
        assert text in answer.text
    assert 'type="hidden" name="webhook_log_days" value="5"' in answer.text, "both say the same: nothing to choose"
    assert in_force().writes_rate_limit == "90 per minute"
    assert save(desk, 2, writes_rate_limit="95 per minute").status_code == 302
    assert in_force().webhook_log_days == 5


def opened(page: str) -> dict[str, str]:
    """All fields of the form as a browser would send them back."""
    main = page.partition("<main")[2]
    return {name: unescape(value) for name, value in re.findall(r'name="([a-z_.]+)"[^>]*?value="([^"]*)"', main)}


def test_two_windows_with_different_fields_are_both_saved_without_a_question(desk: FlaskClient) -> None:
    mine, theirs = opened(desk.get("/admin/settings").text), opened(desk.get("/admin/settings").text)
    assert desk.post("/admin/settings", data=theirs | {"writes_rate_limit": "90 per minute"}).status_code == 302
    answer = desk.post("/admin/settings", data=mine | {"job_retention_days": "9"}, follow_redirects=True)
    assert answer.status_code == 200
    assert "Both changes stand" in answer.text
    assert (in_force().writes_rate_limit, in_force().job_retention_days) == ("90 per minute", 9)


def test_of_two_windows_only_the_field_that_both_changed_is_asked(desk: FlaskClient) -> None:
    mine, theirs = opened(desk.get("/admin/settings").text), opened(desk.get("/admin/settings").text)
    theirs |= {"writes_rate_limit": "90 per minute", "webhook_log_days": "5"}
    assert desk.post("/admin/settings", data=theirs).status_code == 302
    mine |= {"writes_rate_limit": "95 per minute", "job_retention_days": "9"}
    answer = desk.post("/admin/settings", data=mine)
    assert answer.status_code == 409
    assert answer.text.count('fieldset class="choice"') == 1
    chosen = opened(answer.text) | {"writes_rate_limit": "95 per minute"}
    assert desk.post("/admin/settings", data=chosen).status_code == 302
    values = in_force()
    assert (values.writes_rate_limit, values.webhook_log_days, values.job_retention_days) == ("95 per minute", 5, 9)


def test_a_form_that_came_back_with_a_fault_still_knows_what_it_began_with(desk: FlaskClient) -> None:
    mine = opened(desk.get("/admin/settings").text)
    assert save(desk, 1, webhook_log_days="5").status_code == 302
    refused = desk.post("/admin/settings", data=mine | {"job_retention_days": "soon"})
    assert refused.status_code == 422
    assert desk.post("/admin/settings", data=opened(refused.text) | {"job_retention_days": "9"}).status_code == 302
    assert (in_force().webhook_log_days, in_force().job_retention_days) == (5, 9)


def test_a_window_that_changed_nothing_takes_nothing_back(desk: FlaskClient) -> None:
    mine = opened(desk.get("/admin/settings").text)
    assert save(desk, 1, webhook_log_days="5").status_code == 302
    assert desk.post("/admin/settings", data=mine).status_code == 302
    assert in_force().webhook_log_days == 5


def test_the_document_describes_the_operations(client: FlaskClient) -> None:
    document = client.get("/api/v1/openapi.json").json
    operations = document["paths"]["/settings"]
    assert operations["get"]["x-permission"] == "settings.read"
    assert operations["patch"]["x-permission"] == "settings.write"
    assert "412" in operations["patch"]["responses"]
    wish = document["components"]["schemas"]["SettingsChange"]["properties"]
    assert set(wish) == set(SETTINGS)
