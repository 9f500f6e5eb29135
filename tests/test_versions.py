"""Optimistic versions of every object: ETag and If-Match for programs, the merge page for people. From the URL map, so
that a new route without a row fails."""

import re
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from html import unescape
from types import SimpleNamespace
from typing import Any, NamedTuple

import pytest
from flask import Flask
from flask.testing import FlaskClient
from werkzeug.test import TestResponse

from tests.conftest import PASSWORD, csrf_of
from tests.factors import set_up_app
from tests.letters import ordered, token_of
from tests.oidc import link
from tests.vault import Vault, empty_store, good, problem, raw
from webapp.http.conditional import expected_content
from webapp.policies import Actor
from webapp.services.firings import fire_due, plant_schedules
from webapp.services.schedules import ScheduleFilter, list_schedules

FILE, FOLDER, TRASHED = "/files/<uuid:file_id>", "/folders/<uuid:folder_id>", "/trash/<uuid:file_id>"
SUNK = "/trash/folders/<uuid:folder_id>"
IDENTITY, FACTOR = "/identities/<uuid:identity_id>", "/factors/<uuid:factor_id>"
SCHEDULE, HOOK = "/schedules/<uuid:schedule_id>", "/webhooks/<uuid:webhook_id>"
USER, INVITATION = "/users/<uuid:user_id>", "/invitations/<uuid:invitation_id>"
ROLE = "/roles/<uuid:role_id>"
GROUP, MEMBER = "/groups/<uuid:group_id>", "/groups/<uuid:group_id>/members/<uuid:user_id>"
GRANTS: dict[str, dict[str, Any]] = {
    "PUT": {"json": {"email": "zoe@harbour.example", "level": "editor"}},
    "DELETE": {"query_string": {"email": "zoe@harbour.example"}},
}
TOKEN, FLAG = "/tokens/<uuid:token_id>", "/flags/<string:name>"
OLD = "/files/<uuid:file_id>/versions/<int:number>"
SHARE = "/shares/<uuid:share_id>"
# what a program can change: rule -> method -> options of a call that does change something
CHANGES: dict[str, dict[str, dict[str, Any]]] = {
    "/users/me": {"PATCH": {"json": {"name": "Other"}}},
    "/sessions/<uuid:session_id>": {"DELETE": {}},
    IDENTITY: {"DELETE": {}},
    FACTOR: {"PATCH": {"json": {"name": "Other"}}, "DELETE": {}},
    FILE: {"PATCH": {"json": {"name": "other.txt"}}, "DELETE": {}},
    f"{FILE}/content": {"PUT": raw(b"other")},
    OLD: {"PATCH": {"json": {"label": "Other"}}, "DELETE": {}},
    FOLDER: {"PATCH": {"json": {"name": "Other"}}, "DELETE": {}},
    TRASHED: {"DELETE": {}},
    SUNK: {"DELETE": {}},
    SCHEDULE: {"PATCH": {"json": {"cron": "1 2 * * *"}}},
    HOOK: {"PATCH": {"json": {"name": "Other"}}, "DELETE": {}},
    "/settings": {"PATCH": {"json": {"webhook_log_days": 5}}},
    FLAG: {"PATCH": {"json": {"percentage": 50}}},
    USER: {"PATCH": {"json": {"name": "Other"}}, "DELETE": {}},
    f"{USER}/sessions/<uuid:session_id>": {"DELETE": {}},
    INVITATION: {"DELETE": {}},
    ROLE: {"PATCH": {"json": {"name": "Other"}}, "DELETE": {}},
    f"{FILE}/grants": GRANTS,
    f"{FOLDER}/grants": GRANTS,
    GROUP: {"PATCH": {"json": {"name": "Other"}}, "DELETE": {}},
    MEMBER: {"PUT": {"json": {"manager": True}}, "DELETE": {}},
    TOKEN: {"PATCH": {"json": {"name": "Other"}}, "DELETE": {}},
    SHARE: {"PATCH": {"json": {"label": "Other"}}, "DELETE": {}},
}
CHANGED_ONCE = {TRASHED, SUNK, FACTOR}  # by going to the trash, by the first code of its app
WITHOUT_VERSION = {
    ("DELETE", f"{USER}/sessions"): "all of them, whichever there are by now",
    ("DELETE", f"{USER}/factors"): "all of them, whichever there are by now",
    ("DELETE", f"{USER}/tokens"): "all of them, whichever there are by now",
    ("DELETE", "/impersonation"): "the session that asks",
    ("PATCH", "/uploads/<uuid:upload_id>"): "its Upload-Offset says what was seen",
    ("DELETE", "/uploads/<uuid:upload_id>"): "its bytes so far, however many",
    ("DELETE", "/trash"): "all that is in it, whatever it is by now",
    ("DELETE", "/health/caches/<string:name>"): "what it holds comes back by itself",
}
READ = ["/users/me", FACTOR, FILE, FOLDER, "/jobs/<uuid:job_id>", "/mails/<uuid:mail_id>", SCHEDULE, HOOK, USER, ROLE,
        GROUP, MEMBER, TOKEN, FLAG, SHARE,
        INVITATION, "/exports/<uuid:export_id>", f"{HOOK}/deliveries/<uuid:delivery_id>"]  # fmt: skip
# deeds of pages that change no fields of what the person saw: its state alone decides, or it only makes something new
STATE_DECIDES = {
    "sessions_pages.end_session", "identities_pages.unlink_identity", "factors_pages.remove_factor",
    "factors_pages.reset_factors",
    "jobs_pages.replay_job", "jobs_pages.cancel_job", "schedules_pages.run_schedule",
    "webhooks_pages.rotate_secret", "webhooks_pages.ping_webhook", "webhooks_pages.replay_delivery",
    "webhooks_pages.replay_deliveries", "webhooks_pages.try_webhook",
    "accounts_pages.suspend_user", "accounts_pages.restore_user",
    "accounts_pages.send_reset", "accounts_pages.end_user_session", "accounts_pages.end_user_sessions",
    "invitations_pages.resend_invitation", "tokens_pages.revoke_token", "tokens_pages.revoke_user_tokens",
    "grants_pages.put_file_grant", "grants_pages.put_folder_grant", "impersonations_pages.impersonate_user",
    "grants_pages.delete_file_grant", "grants_pages.delete_folder_grant",
    "shares_pages.revoke_share", "shares_pages.restore_share", "shares_pages.revoke_vault_share",
    "shares_pages.restore_vault_share",
    "members_pages.add_member", "members_pages.set_member", "members_pages.remove_member",
}  # fmt: skip


class Objects(NamedTuple):
    """One of each kind, the administrator's, and their addresses by rule."""

    program: Vault
    browser: FlaskClient
    at: dict[str, str]

    def get(self, path: str) -> Any:
        return self.program.get(path)

    def post(self, page: str, **form: str) -> TestResponse:
        token = csrf_of(self.browser.get("/account").text)
        return self.browser.post(page, data={"csrf_token": token, **form})


@pytest.fixture
def objects(
    app: Flask, admin: Actor, bearer: Callable[[Actor], dict[str, str]], signed_in: Callable[[Actor], FlaskClient]
) -> Objects:
    empty_store()
    program = Vault(app, bearer(admin), admin)
    browser = signed_in(admin)
    file, trashed, folder = program.upload("mine.txt"), program.upload("old.txt"), program.folder("Mine")
    twice = program.upload("twice.txt")
    good(program.call("PUT", f"/files/{twice['id']}/content", **raw(b"second")))
    good(program.call("DELETE", f"/files/{trashed['id']}"), 204)
    sunk = program.folder("Old")
    good(program.call("DELETE", f"/folders/{sunk['id']}"), 204)
    plant_schedules()
    schedule = next(s for s in list_schedules(admin, ScheduleFilter()).items if s.name == "purge-trash")
    wish = {"name": "Harbour", "url": "https://8.8.8.8/hook", "events": ["folder.created"]}
    hook = good(program.call("POST", "/webhooks", json=wish), 201).json
    delivery = good(program.call("POST", f"/webhooks/{hook['id']}/tests"), 201).json
    session = next(s for s in program.get("/sessions")["items"] if not s["current"])
    linked = link(admin)
    factor = set_up_app(program)[1]["factor"]
    job = program.get(f"/files/{file['id']}/jobs")["items"][0]
    mail = good(program.call("POST", "/test-mails"), 201).json
    other = {"name": "Zoe", "email": "zoe@harbour.example", "password": PASSWORD}
    user = good(program.call("POST", "/users", json=other), 201).json
    good(app.test_client().post("/api/v1/auth/login", json={"email": other["email"], "password": PASSWORD}))
    theirs = program.get(f"/users/{user['id']}/sessions")["items"][0]
    export = good(program.call("POST", "/exports"), 201).json
    invitation = good(program.call("POST", "/invitations", json={"email": "bo@harbour.example"}), 201).json
    role = good(program.call("POST", "/roles", json={"name": "Mine", "permissions": ["files.read"]}), 201).json
    group = good(program.call("POST", "/groups", json={"name": "Mine"}), 201).json
    good(program.call("PUT", f"/groups/{group['id']}/members/{user['id']}", json={"manager": False}))
    for path in (f"/files/{file['id']}/grants", f"/folders/{folder['id']}/grants"):
        good(program.call("PUT", path, json={"email": other["email"], "level": "viewer"}))
    wish = {"name": "Mine", "scopes": ["files.read"]}
    token = good(program.call("POST", "/tokens", json=wish), 201).json
    share = good(program.call("POST", "/shares", json={"file_id": file["id"], "label": "Mine"}), 201).json
    at = {
        SHARE: f"/shares/{share['id']}",
        "/users/me": "/users/me", "/settings": "/settings", FILE: f"/files/{file['id']}",
        f"{FILE}/content": f"/files/{file['id']}/content", f"{FILE}/grants": f"/files/{file['id']}/grants",
        f"{FOLDER}/grants": f"/folders/{folder['id']}/grants",
        OLD: f"/files/{twice['id']}/versions/1",
        FOLDER: f"/folders/{folder['id']}", TRASHED: f"/trash/{trashed['id']}",
        SUNK: f"/trash/folders/{sunk['id']}", SCHEDULE: f"/schedules/{schedule.id}",
        IDENTITY: f"/identities/{linked}", FACTOR: f"/factors/{factor['id']}", HOOK: f"/webhooks/{hook['id']}",
        "/sessions/<uuid:session_id>": f"/sessions/{session['id']}",
        f"{HOOK}/deliveries/<uuid:delivery_id>": f"/webhooks/{hook['id']}/deliveries/{delivery['id']}",
        USER: f"/users/{user['id']}", INVITATION: f"/invitations/{invitation['id']}",
        f"{USER}/sessions/<uuid:session_id>": f"/users/{user['id']}/sessions/{theirs['id']}",
        "/exports/<uuid:export_id>": f"/exports/{export['id']}",
        "/jobs/<uuid:job_id>": f"/jobs/{job['id']}", "/mails/<uuid:mail_id>": f"/mails/{mail['id']}",
        ROLE: f"/roles/{role['id']}", GROUP: f"/groups/{group['id']}", TOKEN: f"/tokens/{token['id']}",
        FLAG: "/flags/passkeys",
        MEMBER: f"/groups/{group['id']}/members/{user['id']}",
    }  # fmt: skip
    return Objects(program, browser, at)


def rules(app: Flask, side: str) -> list[tuple[str, str, str]]:
    """Method, path without its root, endpoint of every route of the API or of the pages."""
    return [
        (method, rule.rule.removeprefix("/api/v1"), rule.endpoint)
        for rule in app.url_map.iter_rules()
        for method in sorted((rule.methods or set()) - {"HEAD", "OPTIONS"})
        if rule.endpoint.partition(".")[0].endswith(f"_{side}")
    ]


def shown(objects: Objects) -> list[Any]:
    """All that could change, as programs see it."""
    lists = [
        objects.get(path)
        for path in (
            "/sessions",
            "/trash",
            "/webhooks",
            "/files",
            "/folders",
            "/identities",
            "/roles",
            "/groups",
            "/factors",
            "/tokens",
            "/shares",
        )
    ]
    for session in lists[0]["items"]:
        session["seen_at"] = session["expires_at"] = None
    if (members := objects.program.call("GET", f"{objects.at[GROUP]}/members")).status_code == 200:
        lists.insert(1, members.json)
    lists.insert(1, objects.get(objects.at[OLD].removesuffix("/1")))
    for path in (objects.at[f"{FILE}/grants"], objects.at[f"{FOLDER}/grants"]):
        lists.insert(1, objects.program.call("GET", path).json)
    lists += [objects.get("/users"), objects.get("/invitations"), objects.get(f"{objects.at[USER]}/sessions")]
    for user in lists[-3]["items"]:
        user["seen_at"] = None
    for session in lists[-1]["items"]:
        session["seen_at"] = session["expires_at"] = None
    flag = objects.get("/flags/passkeys") | {"asked_at": None}
    return [*lists, flag, objects.get("/users/me"), objects.get("/settings"), objects.get(objects.at[SCHEDULE])]


def test_every_object_that_can_be_read_or_changed_has_a_row_here(app: Flask) -> None:
    api = rules(app, "api")
    changes = {(method, rule) for method, rule, _ in api if method in {"PATCH", "PUT", "DELETE"}}
    assert changes - WITHOUT_VERSION.keys() == {(method, rule) for rule, ways in CHANGES.items() for method in ways}
    reads = {rule for method, rule, _ in api if method == "GET" and re.search(r"<(uuid|string):\w+>$|/me$", rule)}
    assert reads == {*READ, "/uploads/<uuid:upload_id>"}  # that nobody may keep: tus asks for no-store
    deeds = {
        endpoint
        for method, rule, endpoint in rules(app, "pages")
        if method == "POST" and re.search("<uuid:|/flags/", rule)
    }
    assert deeds - STATE_DECIDES == {form.endpoint for form in FORMS} - {"users_pages.change_account"}


@pytest.mark.parametrize("rule", READ)
def test_what_one_knows_already_is_not_sent_again(objects: Objects, rule: str) -> None:
    path = objects.at[rule]
    first = good(objects.program.call("GET", path))
    tag, version = first.headers["ETag"], first.json["version"]
    assert re.fullmatch(rf'"{version}(-[0-9a-f]{{8}})?"', tag)
    for known in (tag, f'"99", {tag}', f"W/{tag}", "*"):
        answer = objects.program.call("GET", path, headers={"If-None-Match": known})
        assert (answer.status_code, answer.data, answer.headers["ETag"]) == (304, b"", tag)
    assert good(objects.program.call("GET", path, headers={"If-None-Match": '"99"'})).json == first.json


CASES = [(method, rule) for rule, ways in CHANGES.items() for method in ways]


@pytest.mark.parametrize(("method", "rule"), CASES)
def test_a_change_of_what_somebody_else_changed_is_refused_and_changes_nothing(
    objects: Objects, method: str, rule: str
) -> None:
    path, options, before = objects.at[rule], CHANGES[rule][method], shown(objects)
    for header, value, statuses in [
        ("If-Match", '"99"', {412}), ("If-Match", '"x"', {412}), ("If-Match", "1", {412}),
        ("If-Match", '"98", "99"', {400}), ("If-Match", "", {412}), ("If-Match", '"' + "1" * 40 + '"', {412}),
        ("If-Match", f'"{"0" * 64}"', {412}), ("If-None-Match", "*", {400}), ("If-None-Match", '"1"', {400}),
    ]:  # fmt: skip
        problem(objects.program.call(method, path, headers={header: value}, **options), statuses)
    assert shown(objects) == before


@pytest.mark.parametrize("known", ["*", "version", None])
@pytest.mark.parametrize(("method", "rule"), CASES)
def test_a_change_of_the_version_one_saw_or_of_any_is_made(
    objects: Objects, method: str, rule: str, known: str | None
) -> None:
    before = shown(objects)
    version = 2 if rule in CHANGED_ONCE else 1
    headers = {} if known is None else {"If-Match": f'"{version}"' if known == "version" else "*"}
    answer = objects.program.call(method, objects.at[rule], headers=headers, **CHANGES[rule][method])
    assert answer.status_code in {200, 204}, answer.text
    assert shown(objects) != before


@pytest.mark.parametrize(("method", "rule"), CASES)
def test_of_twenty_that_name_one_version_at_once_one_wins(objects: Objects, method: str, rule: str) -> None:
    """Promise 11, for every object and every way to change it. A database that is busy says so and changes nothing."""
    tag = '"2"' if rule in CHANGED_ONCE else '"1"'

    def change(number: int) -> int:
        options = dict(CHANGES[rule][method])
        if wish := options.get("json"):
            names = {"name": f"{number}.txt", "cron": f"{number} 2 * * *", "webhook_log_days": number + 1}
            options["json"] = {field: names.get(field, value) for field, value in wish.items()}
        answer = objects.program.twin().call(method, objects.at[rule], headers={"If-Match": tag}, **options)
        return answer.status_code

    with ThreadPoolExecutor(20) as pool:
        statuses = sorted(pool.map(change, range(20)))
    assert sum(status < 300 for status in statuses) == 1, statuses
    assert set(statuses[1:]) <= {404, 412, 423, 503} if method != "PATCH" else set(statuses[1:]) <= {412, 503}, statuses


def test_content_may_be_replaced_by_the_tag_of_its_download(objects: Objects) -> None:
    path = objects.at[f"{FILE}/content"]
    tag = objects.program.call("GET", path).headers["ETag"]
    good(objects.program.call("PUT", path, headers={"If-Match": tag}, **raw(b"second")))
    problem(objects.program.call("PUT", path, headers={"If-Match": tag}, **raw(b"third")), 412, "stale_version")
    assert objects.program.call("GET", path).data == b"second"


def test_the_tag_of_a_download_stands_for_the_version_that_holds_it_now(app: Flask) -> None:
    """So that whoever replaces the content after this look is noticed at the end, too."""
    held = SimpleNamespace(sha256="ab" * 32, version=7)
    with app.test_request_context(headers={"If-Match": f'"{held.sha256}"'}):
        assert expected_content(lambda: held) == 7


def test_who_asks_for_a_schedule_again_hears_that_it_fired_and_may_still_change_it(
    objects: Objects, monkeypatch: pytest.MonkeyPatch
) -> None:
    from webapp.services import firings

    path = objects.at[SCHEDULE]
    tag = objects.program.call("GET", path).headers["ETag"]
    due = firings.present() + (firings.LATE * 60 * 25)
    monkeypatch.setattr(firings, "present", lambda: due)
    fire_due()
    again = good(objects.program.call("GET", path, headers={"If-None-Match": tag}), 200)
    assert again.json["last_job"] is not None
    good(objects.program.call("PATCH", path, headers={"If-Match": tag}, json={"catch_up": "skip"}))


def test_who_asks_for_a_delivery_again_hears_that_its_job_was_cancelled(objects: Objects) -> None:
    path = objects.at[f"{HOOK}/deliveries/<uuid:delivery_id>"]
    first = objects.program.call("GET", path)
    good(objects.program.call("POST", f"/jobs/{first.json['job_id']}/cancellation"))
    again = objects.program.call("GET", path, headers={"If-None-Match": first.headers["ETag"]})
    assert good(again, 200).json["state"] == "failed"


class Form(NamedTuple):
    """A form of a page: where it posts, what the person typed, how somebody else changes the thing meanwhile, and which
    field (of the object a program sees at `seen`) then holds what: theirs, and yours."""

    endpoint: str
    page: str
    typed: dict[str, str]
    meanwhile: Callable[[Objects], None]
    seen: Callable[[Objects], Any]
    yours: Any
    choice: bool = True


def patched(rule: str, **wish: Any) -> Callable[[Objects], None]:
    return lambda objects: good(objects.program.change(objects.at[rule], **wish)) and None


def field(rule: str, name: str) -> Callable[[Objects], Any]:
    def read(objects: Objects) -> Any:
        answer = objects.program.call("GET", objects.at[rule])
        return answer.json[name] if answer.status_code == 200 else None

    return read


def trashed_again(objects: Objects) -> None:
    trash = objects.at[TRASHED].removeprefix("/trash")
    good(objects.program.call("POST", f"/files{trash}/restoration"))
    good(objects.program.call("DELETE", f"/files{trash}"), 204)


def sunk_again(objects: Objects) -> None:
    path = objects.at[SUNK].removeprefix("/trash")
    good(objects.program.call("POST", f"{path}/restoration"))
    good(objects.program.call("DELETE", path), 204)


def accepted(objects: Objects) -> None:
    wish = {
        "token": token_of([order for order in ordered() if order.template == "invitation"][-1]),
        "name": "Bo",
        "password": PASSWORD,
    }
    good(objects.program.client.post("/api/v1/auth/accept-invitation", json=wish), 204)


def in_trash(objects: Objects) -> int:
    return len([item for item in objects.get("/trash")["items"] if item["kind"] == "file"])


def folders_in_trash(objects: Objects) -> int:
    return len([item for item in objects.get("/trash")["items"] if item["kind"] == "folder"])


def moved_into_another(rule: str, place: str) -> Callable[[Objects], None]:
    def move(objects: Objects) -> None:
        other = objects.program.folder("Theirs")
        good(objects.program.change(objects.at[rule], **{place: other["id"]}))

    return move


FORMS = [
    Form("users_pages.change_account", "/account", {"name": "Yours"}, patched("/users/me", name="Theirs"),
         field("/users/me", "name"), "Yours"),
    Form("factors_pages.rename_factor", "/account{factor}/name", {"name": "Yours"}, patched(FACTOR, name="Theirs"),
         field(FACTOR, "name"), "Yours"),
    Form("accounts_pages.change_user", "/admin{user}",
         {"name": "Yours", "email": "zoe@harbour.example", "roles": "member"}, patched(USER, name="Theirs"),
         field(USER, "name"), "Yours"),
    Form("accounts_pages.delete_user", "/admin{user}/removal", {}, patched(USER, name="Theirs"),
         field(USER, "state"), "deleted", False),
    Form("invitations_pages.delete_invitation", "/admin{invitation}/removal", {}, accepted, field(INVITATION, "state"),
         None, False),
    Form("files_pages.rename_file", "{file}/name", {"name": "yours.txt"}, patched(FILE, name="theirs.txt"),
         field(FILE, "name"), "yours.txt"),
    Form("files_pages.describe_file", "{file}/description", {"description": "Yours", "tags": "a, b"},
         patched(FILE, description="Theirs"), field(FILE, "description"), "Yours"),
    Form("files_pages.move_file", "{file}/folder", {"folder_id": ""}, moved_into_another(FILE, "folder_id"),
         field(FILE, "folder_id"), None),
    Form("files_pages.trash_file", "{file}/trash", {}, patched(FILE, name="theirs.txt"), field(FILE, "name"), None,
         False),
    Form("versions_pages.restore_version", "{old}/restoration", {},
         lambda objects: good(objects.program.change(objects.at[OLD].partition("/versions")[0], name="a.txt")) and None,
         lambda objects: len(objects.get(objects.at[OLD].removesuffix("/1"))["items"]), 3, False),
    Form("versions_pages.change_version", "{old}/label", {"label": "Yours"}, patched(OLD, label="Theirs"),
         field(OLD, "label"), "Yours"),
    Form("versions_pages.delete_version", "{old}/removal", {}, patched(OLD, label="Theirs"), field(OLD, "label"), None,
         False),
    Form("folders_pages.rename_folder", "{folder}/name", {"name": "Yours"}, patched(FOLDER, name="Theirs"),
         field(FOLDER, "name"), "Yours"),
    Form("folders_pages.move_folder", "{folder}/parent", {"parent_id": ""}, moved_into_another(FOLDER, "parent_id"),
         field(FOLDER, "parent_id"), None),
    Form("folders_pages.trash_folder", "{folder}/trash", {}, patched(FOLDER, name="Theirs"), field(FOLDER, "name"),
         None, False),
    Form("trash_pages.restore_folder", "{sunk}/restoration", {}, sunk_again, folders_in_trash, 0, False),
    Form("trash_pages.purge_folder", "{sunk}/removal", {"name": "Old"}, sunk_again, folders_in_trash, 0, False),
    Form("trash_pages.restore_file", "{trash}/restoration", {}, trashed_again, in_trash, 0, False),
    Form("trash_pages.purge_file", "{trash}/removal", {"name": "old.txt"}, trashed_again, in_trash, 0, False),
    Form("schedules_pages.change_schedule", "/admin{schedule}",
         {"cron": "9 9 * * *", "zone": "Asia/Tokyo", "catch_up": "skip"}, patched(SCHEDULE, cron="5 6 * * *"),
         field(SCHEDULE, "cron"), "9 9 * * *"),
    Form("schedules_pages.change_schedule", "/admin{schedule}", {"enabled": "false"},
         patched(SCHEDULE, cron="5 6 * * *"), field(SCHEDULE, "enabled"), False),
    Form("flags_pages.change_flag", "/admin{flag}", {"enabled": "true", "percentage": "30"},
         patched(FLAG, percentage=20), field(FLAG, "percentage"), 30),
    Form("webhooks_pages.change_webhook", "/admin{hook}/settings",
         {"name": "Yours", "url": "https://8.8.8.8/hook", "events": "folder.created"}, patched(HOOK, name="Theirs"),
         field(HOOK, "name"), "Yours"),
    Form("webhooks_pages.pause_webhook", "/admin{hook}/pause", {}, patched(HOOK, name="Theirs"),
         field(HOOK, "enabled"), False, False),
    Form("webhooks_pages.resume_webhook", "/admin{hook}/resumption", {}, patched(HOOK, enabled=False),
         field(HOOK, "enabled"), True, False),
    Form("webhooks_pages.delete_webhook", "/admin{hook}/removal", {}, patched(HOOK, name="Theirs"),
         field(HOOK, "name"), None, False),
    Form("roles_pages.change_role", "/admin{role}", {"name": "Yours", "permissions": "files.read"},
         patched(ROLE, name="Theirs"), field(ROLE, "name"), "Yours"),
    Form("groups_pages.change_group", "{group}", {"name": "Yours", "about": ""}, patched(GROUP, name="Theirs"),
         field(GROUP, "name"), "Yours"),
    Form("groups_pages.delete_group", "{group}/removal", {}, patched(GROUP, name="Theirs"), field(GROUP, "name"), None,
         False),
    Form("shares_pages.change_share", "{share}", {"label": "Yours"}, patched(SHARE, label="Theirs"),
         field(SHARE, "label"), "Yours"),
    Form("shares_pages.delete_share", "{share}/removal", {}, patched(SHARE, label="Theirs"), field(SHARE, "label"),
         None, False),
    Form("roles_pages.delete_role", "/admin{role}/removal", {}, patched(ROLE, name="Theirs"), field(ROLE, "name"), None,
         False),
]  # fmt: skip


def answer_of(page: str, side: str) -> tuple[str, dict[str, str]]:
    """Where the merge page posts, and what, when this side is chosen everywhere."""
    inside = re.search(r'<section class="panel form-page conflict">.*?</section>', page, re.DOTALL)
    assert inside, page[:3000]
    inputs = [{k: unescape(v) for k, v in re.findall(r'(\w+)="([^"]*)"', tag)}
              for tag in re.findall(r"<input[^>]*>", inside[0])]  # fmt: skip
    radios = [i for i in inputs if i["type"] == "radio"]
    chosen = radios[side == "yours" :: 2]
    fields = [*(i for i in inputs if i["type"] == "hidden"), *chosen]
    action = re.search(r'<form method="post" action="([^"]+)"', inside[0])
    assert action
    return unescape(action[1]), {i["name"]: i["value"] for i in fields}


def opened(objects: Objects, form: Form) -> tuple[str, str]:
    names = {"file": FILE, "folder": FOLDER, "trash": TRASHED, "sunk": SUNK, "schedule": SCHEDULE, "hook": HOOK,
             "user": USER, "invitation": INVITATION, "role": ROLE, "group": GROUP, "factor": FACTOR, "flag": FLAG,
             "old": OLD, "share": SHARE}  # fmt: skip
    page = form.page.format(**{name: objects.at[rule] for name, rule in names.items()})
    second = ("{trash}", "{sunk}", "{factor}", "{old}/restoration")
    return page, "2" if any(part in form.page for part in second) else "1"


@pytest.mark.parametrize("form", FORMS, ids=lambda form: form.page + "".join(form.typed))
@pytest.mark.parametrize("side", ["theirs", "yours"])
def test_a_stale_form_asks_which_to_keep_and_saves_the_choice(objects: Objects, form: Form, side: str) -> None:
    page, version = opened(objects, form)
    form.meanwhile(objects)
    before = form.seen(objects)
    stale = objects.post(page, **form.typed, version=version)
    assert stale.status_code == 409
    assert "This was changed meanwhile" in stale.text
    assert form.seen(objects) == before, "nothing is done before the person has chosen"
    action, fields = answer_of(stale.text, side)
    assert action == page
    if form.choice:
        assert ("Theirs" in stale.text, "Yours" in stale.text) == (True, True)
    saved = objects.browser.post(action, data=fields)
    assert saved.status_code == 302, saved.text
    assert form.seen(objects) == (form.yours if side == "yours" or not form.choice else before)


def test_where_both_typed_the_same_there_is_nothing_to_choose(objects: Objects) -> None:
    patched(FILE, name="both.txt")(objects)
    answer = objects.post(f"{objects.at[FILE]}/name", name="both.txt", version="1")
    assert answer.status_code == 302
    assert objects.get(objects.at[FILE])["version"] == 2


def test_only_fields_that_differ_are_asked_and_the_rest_of_the_form_is_kept(objects: Objects) -> None:
    patched(SCHEDULE, cron="5 6 * * *")(objects)
    page = f"/admin{objects.at[SCHEDULE]}"
    stale = objects.post(page, cron="9 9 * * *", zone="UTC", catch_up="skip", version="1").text
    assert stale.count('<fieldset class="choice"') == 2
    action, fields = answer_of(stale, "theirs")
    objects.browser.post(action, data=fields)
    schedule = objects.get(objects.at[SCHEDULE])
    assert (schedule["cron"], schedule["zone"], schedule["catch_up"]) == ("5 6 * * *", "UTC", "once")


def test_a_move_to_a_folder_that_went_meanwhile_is_shown_as_such(objects: Objects) -> None:
    moved_into_another(FILE, "folder_id")(objects)
    gone = "00000000-0000-4000-8000-000000000000"
    stale = objects.post(f"{objects.at[FILE]}/folder", folder_id=gone, version="1")
    assert "Files / Theirs" in stale.text
    assert "a folder that is gone" in stale.text
    action, fields = answer_of(stale.text, "yours")
    assert objects.browser.post(action, data=fields).status_code == 422
