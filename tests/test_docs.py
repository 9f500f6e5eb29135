"""What the handbook says is compared with the code, and what it tells people to type is typed."""

import os
import re
import shutil
import subprocess
import sys
from datetime import timedelta
from pathlib import Path

import pytest
from pydantic import TypeAdapter

from tests.browser.stage import EMAIL, PASSWORD, document, running_vault
from tests.servers import absent
from webapp.config import SECRETS, Settings

ROOT = Path(__file__).resolve().parent.parent
README = (ROOT / "README.md").read_text()
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))]
DECISIONS = sorted((ROOT / "docs/decisions").glob("0*.md"))
DERIVED = {"secret_keys": "made under VAR_DIR", "jwt_keys": "made under VAR_DIR", "data_keys": "made under VAR_DIR",
           "database_url": "SQLite under VAR_DIR", "storage_url": "VAR_DIR/blobs"}  # fmt: skip
ALONE = ("PATH", "HOME", "LANG", "TMPDIR", "VIRTUAL_ENV")


def default_of(name: str) -> str:
    """How the table shows a setting's default."""
    value = Settings.model_fields[name].default
    if name in DERIVED:
        return DERIVED[name]
    if value in (None, "", ()):
        return "–"
    if isinstance(value, dict):
        return ",".join(f"{key}={number}" for key, number in value.items())
    if isinstance(value, timedelta):
        return TypeAdapter(timedelta).dump_json(value).decode().strip('"')
    return f"{value:g}" if isinstance(value, float) else str(value)


def test_the_table_of_settings_names_each_with_its_default_and_says_what_is_secret() -> None:
    table = README.partition("| variable | default | meaning |")[2].partition("\n\n")[0]
    rows = re.findall(r"^\| ([A-Z0-9_]+)( \*)? \| (.+?) \| (.+) \|$", table, re.MULTILINE)
    shown = {name: (default.strip("`"), bool(star)) for name, star, default, _ in rows}
    assert shown == {name.upper(): (default_of(name), name.upper() in SECRETS) for name in Settings.model_fields}


def test_variables_that_are_no_setting_are_named_too() -> None:
    read = set(re.findall(r'raw\.get\("([A-Z_]+)"', (ROOT / "webapp/config.py").read_text())) - {
        "APP_ENV",
        "FLASK_DEBUG",
    }
    assert {name for name in read if not re.search(rf"\b{name}\b", README)} == set()


def test_the_table_of_commands_is_what_make_offers() -> None:
    targets = dict(re.findall(r"^([a-z0-9-]+):.*?## (.+)$", (ROOT / "Makefile").read_text(), re.MULTILINE))
    table = README.partition("| `make …` | |")[2].partition("\n\n")[0]
    assert dict(re.findall(r"^\| `([a-z0-9-]+)` \| (.+) \|$", table, re.MULTILINE)) == targets


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_every_link_of_a_page_leads_somewhere_and_every_target_it_names_exists(page: Path) -> None:
    text = page.read_text()
    links = re.findall(r"\]\((?!https?:)([^)#\s]+)", text)
    assert [link for link in links if not (page.parent / link).exists()] == []
    targets = set(re.findall(r"^([a-z0-9-]+):", (ROOT / "Makefile").read_text(), re.MULTILINE))
    assert {name for name in re.findall(r"`make ([a-z0-9-]+)", text) if name not in targets} == set()


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_files_that_a_page_names_are_there(page: Path) -> None:
    named = re.findall(r"`((?:webapp|tasks|tests|templates|static|deploy|docs|bench)/[\w./-]*\w)`", page.read_text())
    made = {
        "webapp/models/tags.py",
        "tasks/tags.py",
        "deploy/secrets",
        "deploy/tls",
        "deploy/secrets/admin_password",
        "static/vendor",
    }
    assert [name for name in named if name not in made and not (ROOT / name).exists()] == []


@pytest.mark.parametrize("page", DECISIONS, ids=lambda page: page.stem)
def test_a_decision_says_context_decision_status_and_consequences_and_is_listed(page: Path) -> None:
    text = page.read_text()
    assert text.startswith(f"# {page.stem[:4]} ")
    parts = re.findall(r"^\*\*(\w+)\.\*\*", text, re.MULTILINE)
    assert parts == ["Context", "Decision", "Status", "Consequences"]
    assert f"({page.name})" in (page.parent / "README.md").read_text()


def test_every_required_package_is_in_the_decision_on_libraries() -> None:
    lines = (ROOT / "requirements.in").read_text().splitlines()
    packages = {re.split(r"[\[<>=;]", line)[0].strip() for line in lines if line and not line.startswith("#")}
    decision = (ROOT / "docs/decisions/0002-libraries.md").read_text()
    assert {name for name in packages if not re.search(rf"\b{re.escape(name)}\b", decision)} == set()


def test_screenshots_are_there_and_small() -> None:
    shown = set(re.findall(r"docs/screenshots/([\w-]+\.png)", README))
    sizes = {path.name: path.stat().st_size for path in (ROOT / "docs/screenshots").glob("*.png")}
    assert shown == set(sizes)
    assert [name for name, size in sizes.items() if size >= 200_000] == []


def test_the_lines_for_programs_work_as_they_stand(tmp_path: Path) -> None:
    """Signs in, uploads, lists and downloads with curl, as the README says."""
    if not shutil.which("curl"):
        absent("curl is missing")
    script = re.search(r"```bash\n(.+?)```", README, re.DOTALL)
    assert script
    (tmp_path / "report.pdf").write_bytes(document("Report"))
    with running_vault(tmp_path, ADMIN_EMAIL=EMAIL, ADMIN_PASSWORD=PASSWORD) as vault:
        environ = {"PATH": os.environ["PATH"], "VAULT": vault.url, "EMAIL": EMAIL, "PASSWORD": PASSWORD}
        command = ["bash", "-euo", "pipefail", "-c", script[1]]
        done = subprocess.run(command, cwd=tmp_path, env=environ, capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stdout + done.stderr
    assert '"name":"report.pdf"' in done.stdout
    assert (tmp_path / "copy.pdf").read_bytes() == (tmp_path / "report.pdf").read_bytes()


def walk() -> dict[str, str]:
    """The five files of the README's walk, by path."""
    found = re.findall(r"<summary><code>([^<]+)</code>.*?</summary>\n\n```\w+\n(.*?)```", README, re.DOTALL)
    return dict(found)


def test_a_newcomer_adds_a_resource_with_the_five_files_of_the_readme(tmp_path: Path) -> None:
    files = walk()
    assert list(files) == ["webapp/models/tags.py", "webapp/services/tags.py", "webapp/blueprints/tags.py",
                           "templates/tags/index.html", "tests/test_tags.py"]  # fmt: skip
    house = tmp_path / "house"
    for name in ("webapp", "tasks", "templates", "migrations", "static", "tests", "docs", "wsgi.py", "pyproject.toml"):
        source = ROOT / name
        if source.is_dir():
            shutil.copytree(source, house / name, ignore=shutil.ignore_patterns("__pycache__"))
        else:
            shutil.copy(source, house / name)
    for path, text in files.items():
        (house / path).parent.mkdir(exist_ok=True)
        (house / path).write_text(text)
    environ = {
        **{name: os.environ[name] for name in ALONE if name in os.environ},
        "APP_ENV": "test",
        "VAR_DIR": str(tmp_path / "var"),
    }

    def run(*command: str) -> str:
        done = subprocess.run(
            [sys.executable, "-m", *command], cwd=house, env=environ, capture_output=True, text=True, timeout=100
        )
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout

    run("flask", "--app", "wsgi", "db", "upgrade")
    run("flask", "--app", "wsgi", "db", "migrate", "-m", "add tags")
    assert list((house / "migrations/versions").glob("*_add_tags.py"))
    told = run("pytest", "-q", "-p", "no:cacheprovider", "-k", "sqlite or not postgresql", "tests/test_tags.py",
               "tests/test_conventions.py")  # fmt: skip
    assert " passed" in told
    run("ruff", "check", *(path for path in files if path.endswith(".py")))
    run("ruff", "format", "--check", *(path for path in files if path.endswith(".py")))
