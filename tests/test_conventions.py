"""The rules of the house, run as tests: docs/decisions/0001-the-house.md says why each is one."""

import ast
import re
from pathlib import Path

import pytest
from flask import Flask
from sqlalchemy import create_engine, inspect

from tasks.actors import load_functions
from tasks.letters import _environment as letters
from tests.conftest import make_settings, migrate
from webapp.app import create_app
from webapp.db import Base
from webapp.http.limiting import CLASSES, SAFE, STRICT, class_of
from webapp.models.jobs import KINDS
from webapp.policies import PERMISSIONS
from webapp.services.events import SUBSCRIPTIONS
from webapp.services.settings import SETTINGS

ROOT = Path(__file__).resolve().parent.parent
SELECTING = [*sorted((ROOT / "webapp/models").glob("*.py")), *sorted((ROOT / "webapp/services").glob("*.py"))]
TEMPLATES = sorted((ROOT / "templates").rglob("*.html"))
# A deed whose page has no JSON twin, and why.
PAGE_ONLY = {
    "auth_pages.set_up": "the set-up link is for a person, once",
    "identities_pages.link_identity": "only a browser comes back from a provider, with a proof to agree to",
    "links_pages.unlock_link": "a stranger's browser: programs of accounts have the files themselves",
    "links_pages.send_code": "the same",
    "links_pages.enter_code": "the same",
    "links_pages.upload_to_link": "the same",
    "auth_pages.sign_out": "auth_api.log_out ends the session of a program",
}
DROP = "links_pages.upload_to_link"  # its files are charged to who made the link; it proves nothing
VERBS = {"get", "list", "show", "create", "delete", "update", "rename", "move", "restore", "upload", "download", "edit"}


@pytest.fixture(scope="module")
def house(tmp_path_factory: pytest.TempPathFactory) -> Flask:
    return create_app(make_settings(tmp_path_factory.mktemp("house")))


def views(house: Flask) -> list[tuple[str, object, object]]:
    return [
        (rule.endpoint, rule, house.view_functions[rule.endpoint])
        for rule in house.url_map.iter_rules()
        if rule.endpoint != "static"
    ]


def test_every_route_names_who_may_call_it(house: Flask) -> None:
    unguarded = [endpoint for endpoint, _, view in views(house) if not hasattr(view, "permission")]
    assert unguarded == []


def test_every_permission_a_route_names_has_a_rule_and_every_rule_has_a_route(house: Flask) -> None:
    named = {view.permission for _, _, view in views(house)} - {None}
    assert named <= set(PERMISSIONS)
    services = "".join(path.read_text() for path in (ROOT / "webapp").rglob("*.py"))
    assert [p for p in PERMISSIONS if p not in named and f'"{p}")' not in services] == []


def test_every_route_counts_in_exactly_one_class_and_credentials_in_a_strict_one(house: Flask) -> None:
    seen: dict[str, set[str]] = {name: set() for name in CLASSES}
    mixed, loose = [], []
    for endpoint, rule, view in views(house):
        name = class_of(view, rule.methods)
        seen[name].add(endpoint)
        if rule.methods & SAFE - {"OPTIONS"} and rule.methods - SAFE:
            mixed.append(endpoint)  # its class would depend on the method
        if view.permission is None and rule.methods - SAFE and name not in STRICT and endpoint != DROP:
            loose.append(endpoint)  # whoever needs no permission to write proves something by it
    assert (mixed, loose) == ([], [])
    assert [name for name, endpoints in seen.items() if not endpoints] == []
    assert seen["unlimited"] == {"health_pages.show_live", "health_pages.show_ready", "health_pages.show_metrics"}
    parts = {"uploads_api.create_upload", "uploads_api.write_upload"}
    assert {"files_api.create_files", "files_pages.upload_files", "files_api.replace_content", DROP, *parts} == seen[
        "uploads"
    ]
    assert {"settings_pages.change_settings", "schedules_api.list_schedules"} <= seen["administration"]
    assert {"files_api.change_file", "folders_pages.create_folder"} <= seen["writes"]


def test_every_class_has_a_setting() -> None:
    limits = {name for name in SETTINGS if name.endswith("_rate_limit")}
    assert limits == {f"{name}_rate_limit" for name in CLASSES if name != "unlimited"}


def test_addresses_are_kebab_case_typed_and_name_things(house: Flask) -> None:
    bad = []
    for endpoint, rule, _ in views(house):
        words = [part for part in rule.rule.split("/") if part and not part.startswith("<")]
        untyped = [part for part in rule.rule.split("/") if part.startswith("<") and ":" not in part]
        if "auth" in words or "bulk" in words:
            words = []
        kebab = all(re.fullmatch(r"[a-z0-9]+(-[a-z0-9]+)*(\.json)?", word) for word in words)
        if not kebab or untyped or VERBS & set(words):
            bad.append((endpoint, rule.rule))
    assert bad == []


def test_every_page_deed_has_an_api_twin_that_needs_the_same_permission(house: Flask) -> None:
    """The twin is found by what it is about: the same noun and verb, or the PATCH that covers several forms."""
    api = {e.split(".")[1]: v for e, _, v in views(house) if "_api." in e}
    covered = {"rename_file": "change_file", "move_file": "change_file", "rename_folder": "change_folder",
               "move_folder": "change_folder", "upload_files": "create_files", "change_account": "change_me",
               "describe_file": "change_file", "sign_in": "log_in", "pause_webhook": "change_webhook",
               "resume_webhook": "change_webhook"}  # fmt: skip
    lonely = []
    for endpoint, rule, view in views(house):
        deed = endpoint.split(".")[-1]
        if "_pages." not in endpoint or "POST" not in rule.methods or endpoint in PAGE_ONLY:
            continue
        twin = api.get(covered.get(deed, deed))
        if twin is None or twin.permission != view.permission:
            lonely.append(endpoint)
    assert lonely == []


@pytest.mark.parametrize("path", TEMPLATES, ids=lambda path: str(path.relative_to(ROOT / "templates")))
def test_every_template_compiles_has_a_title_and_no_inline_style_or_script(house: Flask, path: Path) -> None:
    source = path.read_text()
    environment = letters("en") if path.parent.name == "mail" else house.jinja_env
    environment.compile(source, str(path))
    if path.parent.name != "mail":  # mail programs load no style sheets, and no policy of ours reaches them
        assert not re.search(r'\sstyle="|<style', source)
    assert not re.search(r'\son[a-z]+="|javascript:', source)
    assert not re.search(r"<script(?![^>]*\bsrc=)[^>]*>", source)
    if "{% extends" in source and not path.name.startswith("_"):
        assert "{% block title %}" in source


def test_a_select_starts_from_live_or_its_function_says_otherwise() -> None:
    """`select(`, `.query` and `session.get(` would bring deleted rows in by accident."""
    bad = []
    for path in SELECTING:
        if path.name == "record.py":
            continue
        tree = ast.parse(path.read_text())
        for node in ast.walk(tree):
            if isinstance(node, ast.Attribute) and node.attr == "query":
                bad.append(f"{path.name}:{node.lineno} .query")
            if isinstance(node, ast.Call) and ast.unparse(node.func) == "db.session.get":
                bad.append(f"{path.name}:{node.lineno} session.get")
            if isinstance(node, ast.Call) and ast.unparse(node.func) == "select" and not _of_no_table(node):
                bad.append(f"{path.name}:{node.lineno} select")
    assert bad == []


def _of_no_table(node: ast.Call) -> bool:
    """Whether a select reads a subquery, or constants."""
    text = ast.unparse(node)
    return "each.c" in text or text.startswith("select(literal(")


def test_soft_deleted_tables_are_read_whole_only_by_functions_that_say_so() -> None:
    """any_state(Record) stands in a function named any_…/deleted_…, or filters deleted_at itself."""
    records = {m.class_.__name__ for m in Base.registry.mappers if "deleted_at" in m.columns}
    bad = []
    for path in SELECTING:
        source = path.read_text()
        for function in [n for n in ast.walk(ast.parse(source)) if isinstance(n, ast.FunctionDef)]:
            text = ast.unparse(function)
            named = re.match(r"_?(any|deleted)_", function.name)
            read = records & set(re.findall(r"any_state\((\w+)", text))
            if read and not named and "deleted_at" not in text:
                bad.append(f"{path.name}:{function.lineno} {function.name} reads {read}")
    assert bad == []


def test_set_based_updates_of_records_raise_their_version() -> None:
    """`update(Record)` stands only in record.py's change_rows and where models say why a version must not move."""
    records = {m.class_.__name__ for m in Base.registry.mappers if "deleted_at" in m.columns}
    bare = [
        f"{path.name}:{node.lineno}"
        for path in SELECTING
        if path.parent.name != "models"
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, ast.Call) and ast.unparse(node.func) == "update" and ast.unparse(node.args[0]) in records
    ]
    assert bare == []


def test_every_model_has_a_migration(house: Flask, tmp_path: Path) -> None:
    application = create_app(make_settings(tmp_path))
    with application.app_context():
        migrate(application)
    engine = create_engine(f"sqlite:///{tmp_path / 'holdfast.db'}")
    made = {name for name in inspect(engine).get_table_names() if not name.startswith("search_words")}  # of FTS5
    assert made - {"alembic_version"} == set(Base.metadata.tables)


def test_every_job_name_has_an_actor_and_the_reverse() -> None:
    kinds = {name for name in KINDS if not name.startswith("test.")}  # other tests add kinds of their own
    assert set(load_functions()) >= kinds
    assert {ast.literal_eval(call.args[0]) for call in _job_decorators()} == kinds
    assert {name for jobs in SUBSCRIPTIONS.values() for name in jobs} <= kinds


def _job_decorators() -> list[ast.Call]:
    found = []
    for path in (ROOT / "tasks").glob("*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.FunctionDef):
                found += [d for d in node.decorator_list if isinstance(d, ast.Call) and ast.unparse(d.func) == "job"]
    return found


def test_jobs_are_inserted_by_events_and_changed_where_they_are_sent_run_and_ordered() -> None:
    bad = []
    for path in (ROOT / "webapp/services").glob("*.py"):
        source = path.read_text()
        if path.name != "events.py" and re.search(r"\bJob\(|insert\(Job\b", source):
            bad.append(f"{path.name} inserts")
        if path.name not in {"turns.py", "jobs.py", "orders.py"} and re.search(r"(update|change_rows)\(Job\b", source):
            bad.append(f"{path.name} changes")
    beyond = r"models\.jobs import .*\bJob\b"
    bad += [f"tasks/{p.name} reaches past" for p in (ROOT / "tasks").glob("*.py") if re.search(beyond, p.read_text())]
    assert bad == []


def test_modules_and_public_functions_say_what_they_are() -> None:
    bad = []
    for path in [*(ROOT / "webapp").rglob("*.py"), *(ROOT / "tasks").glob("*.py")]:
        tree = ast.parse(path.read_text())
        if not ast.get_docstring(tree):
            bad.append(str(path.relative_to(ROOT)))
        for node in tree.body:
            if not isinstance(node, ast.FunctionDef | ast.ClassDef) or node.name[0] == "_":
                continue
            is_job = any(ast.unparse(decorator).startswith("job(") for decorator in node.decorator_list)
            if not is_job and not ast.get_docstring(node):  # a job is described by its row in KINDS
                bad.append(f"{path.relative_to(ROOT)}:{node.lineno} {node.name}")
    assert bad == []


def test_no_room_is_called_utils() -> None:
    bad = {"utils", "util", "helpers", "manager", "common", "misc"}
    assert [p for p in (ROOT / "webapp").rglob("*.py") if p.stem in bad] == []
