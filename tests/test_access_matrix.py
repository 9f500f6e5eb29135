"""Every route against everybody: nobody, a stranger, who was granted a level, the owner, staff, a token without the
scope. From the URL map, so that a new route without a row here fails.

A row says what opens the route: `open` (nobody need sign in), `held` (its permission alone; whose the object is, the
noun's own tests ask), or the level that it needs on the file or folder in its address.
"""

import io
import secrets
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import pytest
from flask import Flask
from PIL import Image
from werkzeug.test import TestResponse

from tests.vault import Vault, empty_store, good
from webapp.policies import MEMBER, PERMISSIONS, Actor, Level

ROWS: dict[str, dict[str, str]] = {
    "accounts_api": {"held": "change_user create_user delete_user end_user_session end_user_sessions list_user_sessions"
                     " list_users restore_user send_reset show_user suspend_user"},
    "accounts_pages": {"held": "change_user create_user delete_user end_user_session end_user_sessions list_users"
                       " restore_user send_reset show_user suspend_user user_form"},
    "addresses_api": {"open": "confirm_email", "held": "change_email"},
    "addresses_pages": {"open": "confirm_email confirm_email_form", "held": "change_email email_form"},
    "audit_api": {"held": "check_trail export_entries list_entries show_trail"},
    "audit_pages": {"held": "check_trail export_entries list_entries"},
    "archives_api": {"held": "download_several", "viewer": "download_folder"},
    "archives_pages": {"held": "download_several", "viewer": "download_folder"},
    "auth_api": {"open": "log_in refresh", "held": "log_out log_out_everywhere"},
    "auth_pages": {"open": "home set_up setup_form sign_in sign_in_form", "held": "sign_out"},
    "confirmations_api": {"held": "confirm"},
    "confirmations_pages": {"held": "confirm confirm_form"},
    "docs_api": {"open": "show_document"},
    "docs_pages": {"open": "show_docs"},
    "events_api": {"held": "list_events"},
    "events_pages": {"held": "list_events"},
    "exports_api": {"held": "create_export delete_account list_exports show_export show_export_content"},
    "exports_pages": {"held": "create_export delete_account download_export show_data"},
    "factors_api": {"held": "confirm_totp create_passkey list_factors make_codes remove_factor rename_factor"
                    " reset_factors show_factor start_passkey start_totp"},
    "factors_pages": {"held": "confirm_totp create_passkey make_codes passkey_form remove_factor rename_factor"
                      " reset_factors start_totp totp_form"},
    "files_api": {"held": "create_files list_files", "viewer": "download_content show_file",
                  "editor": "change_file replace_content trash_file"},
    "files_pages": {"held": "list_files upload_files", "viewer": "show_file",
                    "editor": "describe_file describe_file_form move_file move_file_form rename_file"
                    " rename_file_form trash_file"},
    "flags_api": {"held": "change_flag list_flags show_flag"},
    "flags_pages": {"held": "change_flag list_flags show_flag"},
    "folders_api": {"held": "create_folder list_folders", "viewer": "show_folder",
                    "editor": "change_folder trash_folder"},
    "folders_pages": {"held": "create_folder", "viewer": "show_folder",
                      "editor": "move_folder move_folder_form rename_folder rename_folder_form trash_folder"},
    "grants_api": {"viewer": "show_file_access show_folder_access",
                   "manager": "delete_file_grant delete_folder_grant list_file_grants list_folder_grants put_file_grant"
                   " put_folder_grant"},
    "grants_pages": {"viewer": "show_file_access show_folder_access",
                     "manager": "delete_file_grant delete_folder_grant put_file_grant put_folder_grant"},
    "groups_api": {"held": "change_group create_group delete_group list_groups show_group"},
    "groups_pages": {"held": "change_group create_group delete_group group_form list_groups list_own_groups"
                     " show_group"},
    "health_api": {"held": "empty_cache show_health"},
    "health_pages": {"open": "show_live show_metrics show_ready", "held": "empty_cache show_health"},
    "identities_api": {"held": "list_identities unlink_identity"},
    "identities_pages": {"open": "link_identity offer_link return_from_provider visit_provider",
                         "held": "unlink_identity"},
    "impersonations_api": {"held": "end_impersonation impersonate_user"},
    "impersonations_pages": {"held": "end_impersonation impersonate_user"},
    "imports_api": {"held": "create_import"},
    "imports_pages": {"held": "create_import"},
    "invitations_api": {"held": "create_invitation delete_invitation list_invitations resend_invitation"
                        " show_invitation"},
    "invitations_pages": {"held": "create_invitation delete_invitation list_invitations resend_invitation"},
    "jobs_api": {"held": "cancel_job list_history list_jobs replay_job show_job", "viewer": "list_file_jobs"},
    "jobs_pages": {"held": "cancel_job list_jobs replay_job show_job"},
    "links_pages": {"open": "download_link_file download_link_folder enter_code send_code show_link show_link_file"
                    " show_link_folder show_link_picture unlock_link upload_to_link"},
    "mails_api": {"held": "list_mails send_test_mail show_mail show_server"},
    "mails_pages": {"held": "list_mails send_test_mail"},
    "members_api": {"held": "add_member list_members remove_member set_member show_member"},
    "members_pages": {"held": "add_member remove_member set_member"},
    "previews_api": {"viewer": "show_page show_thumbnail"},
    "quarantine_api": {"held": "list_infected"},
    "quarantine_pages": {"held": "list_infected"},
    "queues_api": {"held": "cancel_jobs discard_jobs list_queues replay_jobs"},
    "queues_pages": {"held": "cancel_jobs discard_jobs list_all_jobs replay_jobs"},
    "registrations_api": {"open": "accept_invitation register resend_verification verify_email"},
    "registrations_pages": {"open": "accept_invitation invitation_form register register_form resend_verification"
                            " verify_email verify_email_form"},
    "resets_api": {"open": "forgot_password reset_password"},
    "resets_pages": {"open": "forgot_password forgot_password_form reset_password reset_password_form"},
    "restorations_api": {"held": "list_past restore_tree", "manager": "list_folder_past"},
    "restorations_pages": {"held": "restore_tree show_history"},
    "roles_api": {"held": "change_role create_role delete_role list_roles show_role"},
    "roles_pages": {"held": "change_role create_role delete_role list_roles role_form show_role"},
    "schedules_api": {"held": "change_schedule list_firings list_schedules run_schedule show_schedule"},
    "schedules_pages": {"held": "change_schedule list_firings list_schedules run_schedule show_schedule"},
    "security_api": {"held": "change_password"},
    "security_pages": {"held": "change_password show_security"},
    "sessions_api": {"held": "end_session list_sessions"},
    "sessions_pages": {"held": "end_session list_sessions log_out_everywhere"},
    "settings_api": {"held": "change_settings show_settings"},
    "settings_pages": {"held": "change_settings show_settings"},
    "search_api": {"held": "list_hits"},
    "search_pages": {"held": "list_hits"},
    "shared_api": {"held": "list_shared"},
    "shared_pages": {"held": "list_shared"},
    "shares_api": {"held": "change_share create_share delete_share list_shares list_vault_shares list_visits"
                   " restore_share restore_vault_share revoke_share revoke_vault_share show_share"},
    "shares_pages": {"held": "change_share create_share delete_share list_shares list_vault_shares restore_share"
                     " restore_vault_share revoke_share revoke_vault_share show_share"},
    "steps_api": {"open": "ask_passkey enter_by_passkey finish_step"},
    "steps_pages": {"open": "enter_by_passkey finish_step step_form"},
    "tokens_api": {"held": "change_token create_token list_tokens list_user_tokens revoke_token revoke_user_tokens"
                   " show_token"},
    "tokens_pages": {"held": "create_token list_tokens revoke_token revoke_user_tokens token_form"},
    "trash_api": {"held": "empty_trash list_trash", "trashed": "restore_file restore_folder",
                  "own": "purge_file purge_folder"},
    "trash_pages": {"held": "empty_trash empty_trash_form list_trash", "trashed": "restore_file restore_folder",
                    "own": "purge_file purge_file_form purge_folder purge_folder_form"},
    "uploads_api": {"held": "create_upload delete_upload show_upload write_upload"},
    "users_api": {"held": "change_me show_me"},
    "users_pages": {"held": "change_account show_account"},
    "versions_api": {"viewer": "compare_versions download_version list_versions show_version",
                     "editor": "change_version restore_version", "manager": "delete_version"},
    "versions_pages": {"viewer": "compare_versions list_versions",
                       "editor": "change_version label_form restore_version",
                       "manager": "delete_version removal_form"},
    "webhooks_api": {"held": "change_webhook create_webhook delete_webhook list_deliveries list_webhooks ping_webhook"
                     " replay_deliveries replay_delivery rotate_secret show_delivery show_health show_webhook"
                     " try_webhook"},
    "webhooks_pages": {"held": "change_webhook change_webhook_form create_webhook delete_webhook list_webhooks"
                       " pause_webhook ping_webhook replay_deliveries replay_delivery resume_webhook rotate_secret"
                       " show_delivery show_webhook try_webhook webhook_form"},
}  # fmt: skip
OPENS = {f"{blueprint}.{name}": word for blueprint, row in ROWS.items() for word, names in row.items()
         for name in names.split()}  # fmt: skip
# rows about a file or folder: the level they need, and what hears who reaches it below that level
NEEDS = {"viewer": (Level.VIEWER, 404), "editor": (Level.EDITOR, 403), "manager": (Level.MANAGER, 403),
         "trashed": (Level.MANAGER, 404), "own": (Level.OWNER, 404)}  # fmt: skip
NOBODY_HERE = "00000000-0000-7000-8000-000000000000"
ENDS = ("log_out", "log_out_everywhere", "sign_out")  # they end the session that asks: only nobody tries
STREAMS = ("events_api.list_events", "events_pages.list_events")


@dataclass
class Column:
    """Somebody who asks: their level on the owner's file and folder."""

    name: str
    vault: Vault
    level: Level
    permissions: frozenset[str]

    @property
    def administers(self) -> bool:
        return any(MEMBER not in PERMISSIONS[name][1] for name in self.permissions)


@pytest.fixture
def columns(app: Flask, person: Callable[..., Actor], bearer: Callable[[Actor], dict[str, str]]) -> list[Column]:
    """Everybody who is somebody; the last one is a token of the owner's that may only see the own account."""
    empty_store()
    wishes = [
        ("stranger", "member", Level.NONE), ("viewer", "member", Level.VIEWER), ("editor", "member", Level.EDITOR),
        ("manager", "member", Level.MANAGER), ("owner", "member", Level.OWNER), ("guest", "guest", Level.NONE),
        ("staff", "manager", Level.NONE), ("admin", "admin", Level.MANAGER),
    ]  # fmt: skip
    made = []
    for name, role, level in wishes:
        actor = person(name, role=role)
        held = frozenset(p for p, (_, holders) in PERMISSIONS.items() if role in holders)
        made.append(Column(name, Vault(app, bearer(actor), actor), level, held))
    owner = next(column.vault for column in made if column.name == "owner")
    token = good(owner.call("POST", "/tokens", json={"name": "Script", "scopes": ["account.read"]}), 201).json["token"]
    script = Vault(app, {"Authorization": f"Bearer {token}"}, owner.actor)
    return [*made, Column("token without the scope", script, Level.OWNER, frozenset({"account.read"}))]


def grant_all(columns: list[Column], owner: Vault, path: str) -> None:
    for column in columns:
        if column.level in {Level.VIEWER, Level.EDITOR, Level.MANAGER} and column.name != "admin":
            wish = {"email": column.vault.actor.email, "level": column.name}
            good(owner.call("PUT", f"{path}/grants", json=wish))


def picture() -> bytes:
    """A small PNG."""
    file = io.BytesIO()
    Image.new("RGB", (8, 8)).save(file, "PNG")
    return file.getvalue()


def trashed(columns: list[Column], owner: Vault, noun: str = "file") -> str:
    """A file or folder in the owner's trash, shared with everybody at their level."""
    name = secrets.token_hex(4)
    thing = (owner.upload(f"{name}.txt") if noun == "file" else owner.folder(name))["id"]
    grant_all(columns, owner, f"/{noun}s/{thing}")
    good(owner.call("DELETE", f"/{noun}s/{thing}"), 204)
    return str(thing)


def routes(app: Flask) -> list[tuple[str, str, str, str | None]]:
    """Endpoint, method, address and permission of every route."""
    found = [
        (rule.endpoint, min((rule.methods or set()) - {"HEAD", "OPTIONS"}), rule.rule,
         getattr(app.view_functions[rule.endpoint], "permission", None))
        for rule in app.url_map.iter_rules() if rule.endpoint != "static"
    ]  # fmt: skip
    return sorted(found)


def ask(vault: Vault | None, app: Flask, endpoint: str, method: str, path: str) -> TestResponse:
    """A request that is whole enough to come to the object and names a version that it never had: it changes nothing
    where it can be refused for that."""
    options: dict[str, Any] = {}
    if "_api." in endpoint and method in {"POST", "PUT", "PATCH"}:
        options["json"] = {"email": "ghost@harbour.example", "level": "viewer"} if "grants" in endpoint else {}
        if endpoint in {"files_api.replace_content", "files_api.create_files"}:
            options = {"data": b"new", "content_type": "application/octet-stream"}
        options["headers"] = {"If-Match": '"98"'} if method != "POST" or "restoration" in path else {}
    elif method == "DELETE":
        options["headers"] = {"If-Match": '"98"'}
        options["query_string"] = {"email": "ghost@harbour.example"} if "grants" in endpoint else {}
    elif method == "POST":
        ghost = {"email": "ghost@harbour.example", **({} if "removal" in path else {"level": "viewer"})}
        options["data"] = ghost if "grants" in endpoint else {"version": "98", "name": "x"}
        options["content_type"] = "multipart/form-data" if "upload" in endpoint else "application/x-www-form-urlencoded"
    options["headers"] = {**(vault.headers if vault else {}), **options.get("headers", {})}
    with app.app_context():
        answer = app.test_client().open(path, method=method, buffered=endpoint not in STREAMS, **options)
        answer.close()
    return answer


def filled(rule: str, file: str, folder: str) -> str:
    """The rule as an address: the file and folder that there are, ids that nobody has for all else."""
    values = {
        "<uuid:file_id>": file,
        "<uuid:folder_id>": folder,
        "<string:name>": "jobs",
        "<string:issuer>": "none",
        "<int:number>": "1",
    }
    parts = [values.get(part, NOBODY_HERE if part.startswith("<") else part) for part in rule.split("/")]
    return "/".join(parts)


def test_every_route_has_a_row_and_every_row_a_route(app: Flask) -> None:
    assert {route[0] for route in routes(app)} == set(OPENS)
    assert {endpoint for endpoint, _, _, permission in routes(app) if permission is None} == {
        endpoint for endpoint, word in OPENS.items() if word == "open"
    }
    about = {endpoint for endpoint, _, rule, _ in routes(app) if "<uuid:file_id>" in rule or "<uuid:folder_id>" in rule}
    assert about == {endpoint for endpoint, word in OPENS.items() if word in NEEDS}


def test_everybody_meets_at_every_route_what_its_row_says(
    app: Flask, columns: list[Column], run_jobs: Callable[[], int]
) -> None:
    owner = next(column.vault for column in columns if column.name == "owner")
    file, folder = owner.upload("a.png", picture())["id"], owner.folder("Folder")["id"]
    for path in (f"/files/{file}", f"/folders/{folder}"):
        grant_all(columns, owner, path)
    run_jobs()  # its preview is drawn
    wrong: list[str] = []
    for endpoint, method, rule, permission in routes(app):
        word = OPENS[endpoint]
        gone = word in {"trashed", "own"}
        noun = "folder" if "<uuid:folder_id>" in rule else "file"
        lost = trashed(columns, owner, noun) if gone else ""
        path = filled(rule, lost or file, lost or folder)
        nobody = ask(None, app, endpoint, method, path)
        if word == "open":
            wrong += [f"{endpoint}: {nobody.status}"] if nobody.status_code >= 500 else []
            continue
        kept_out = nobody.status_code == 401 or "/sign-in" in nobody.headers.get("Location", "")
        wrong += [] if kept_out else [f"{endpoint}: nobody gets {nobody.status}"]
        for column in columns if endpoint.partition(".")[2] not in ENDS else ():
            answer = ask(column.vault, app, endpoint, method, path)
            expected = refusal(column, word, permission or "", path)
            told = {answer.status_code} & ({401, 403} | ({404} if word in NEEDS else set()))
            hidden = path.startswith("/admin/") and not column.administers and answer.status_code == 404
            if (answer.status_code != expected if expected else bool(told) or hidden) or answer.status_code >= 500:
                wrong.append(f"{endpoint}: {column.name} gets {answer.status}, not {expected or 'in'}")
    assert not wrong, "\n".join(wrong)


def refusal(column: Column, word: str, permission: str, path: str) -> int | None:
    """The status that keeps this person out of a route; None lets them in."""
    if path.startswith("/admin/") and not column.administers:
        return 404
    if permission not in column.permissions:
        return 403
    if word not in NEEDS:
        return None
    least, below = NEEDS[word]
    if column.level >= least:
        return None
    return below if column.level else 404
