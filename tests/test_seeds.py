"""The demo workspace: real files of nobody's, planted once; and the reset that takes everything away."""

from collections.abc import Callable
from pathlib import Path

import pytest
from click.testing import Result
from flask import Flask
from sqlalchemy import func, select

import samples
from samples import Sample, found, workspace
from tests.conftest import PASSWORD
from tests.vault import differences, empty_store, good, stored_keys
from webapp.config import use_settings
from webapp.db import db
from webapp.models.files import File, FileVersion
from webapp.models.folders import Folder
from webapp.models.users import User
from webapp.policies import BUILT_IN

Command = Callable[..., Result]
SMALL = [
    Sample("ana", ("Projects", "2026"), "Report.pdf", (lambda: b"%PDF-1", lambda: b"%PDF-2", lambda: b"%PDF-3")),
    Sample("ana", ("Projects",), "报告.md", (lambda: "# 报告".encode(),)),
    Sample("ana", (), "Offer.txt", (lambda: b"old",), trashed=True),
    Sample("mira", ("Projects", "2026"), "Report.pdf", (lambda: b"another",)),
]


@pytest.fixture
def command(app: Flask, monkeypatch: pytest.MonkeyPatch) -> Command:
    """Runs a command of `flask` on an empty vault."""
    empty_store()
    monkeypatch.setenv("SEED_PASSWORD", PASSWORD)

    def run(*words: str, typed: str = "") -> Result:
        db.session.rollback()
        return app.test_cli_runner().invoke(args=list(words), input=typed)

    return run


@pytest.fixture
def small(monkeypatch: pytest.MonkeyPatch) -> None:
    """A workspace of a few files."""
    monkeypatch.setattr(workspace, "_library", lambda: iter(()))
    for part in ("_photographs", "_sensors", "_reports", "_field_notes"):
        monkeypatch.setattr(workspace, part, lambda: iter(()))
    monkeypatch.setattr(workspace, "_projects", lambda: iter(SMALL))


def count(model: type) -> int:
    db.session.rollback()
    return int(db.session.execute(select(func.count()).select_from(model)).scalar_one())


def test_seeding_makes_people_folders_versions_and_trash(command: Command, small: None, app: Flask) -> None:
    done = command("seed")
    assert done.exit_code == 0, done.output
    assert "4 files in 6 versions" in done.output
    assert all(f"{person.key}@harbour.example" in done.output for person in workspace.PEOPLE)
    assert (count(User), count(File), count(FileVersion), count(Folder)) == (4, 4, 6, 4)
    assert differences() == []
    login = app.test_client().post("/api/v1/auth/login", json={"email": "ana@harbour.example", "password": PASSWORD})
    headers = {"Authorization": f"Bearer {good(login).json['access_token']}"}
    names = {item["name"]: item for item in app.test_client().get("/api/v1/files", headers=headers).json["items"]}
    assert set(names) == {"Report.pdf", "报告.md"}
    assert names["Report.pdf"]["number"] == 3
    assert [item["name"] for item in app.test_client().get("/api/v1/trash", headers=headers).json["items"]] == [
        "Offer.txt"
    ]


def test_seeding_twice_is_seeding_once(command: Command, small: None) -> None:
    command("seed")
    before = (count(User), count(File), count(FileVersion), count(Folder))
    again = command("seed")
    assert again.exit_code == 0
    assert "here already: 4 files" in again.output
    assert "password unchanged" in again.output
    assert (count(User), count(File), count(FileVersion), count(Folder)) == before


def test_a_seeding_that_was_cut_short_goes_on(command: Command, small: None, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(workspace, "_projects", lambda: iter(SMALL[:2]))
    command("seed")
    monkeypatch.setattr(workspace, "_projects", lambda: iter(SMALL))
    done = command("seed")
    assert "2 files" in done.output
    assert "2 were here already" in done.output
    assert count(File) == 4


def test_a_made_up_password_is_printed_once(
    command: Command, small: None, monkeypatch: pytest.MonkeyPatch, app: Flask
) -> None:
    monkeypatch.delenv("SEED_PASSWORD")
    printed = command("seed").output.rsplit("new accounts: ", 1)[1].strip()
    assert "new accounts" not in command("seed").output
    good(app.test_client().post("/api/v1/auth/login", json={"email": "mira@harbour.example", "password": printed}))


def test_files_may_come_from_a_folder_but_no_link_leads_out(command: Command, small: None, tmp_path: Path) -> None:
    outside = tmp_path / "outside"
    outside.mkdir()
    (outside / "secret.txt").write_text("secret")
    inside = tmp_path / "shown"
    (inside / "deep" / ".git").mkdir(parents=True)
    (inside / "deep" / "plan.txt").write_text("plan")
    (inside / "deep" / ".git" / "config").write_text("hidden")
    (inside / ".env").write_text("hidden")
    (inside / "empty.txt").write_text("")
    (inside / "link.txt").symlink_to(outside / "secret.txt")
    (inside / "linked").symlink_to(outside)
    assert command("seed", "--from", str(inside)).exit_code == 0
    db.session.rollback()
    names = set(db.session.scalars(select(File.name)))
    assert names == {sample.name for sample in SMALL} | {"plan.txt"}


def test_a_link_that_takes_a_files_place_is_not_followed(tmp_path: Path) -> None:
    (tmp_path / "shown").mkdir()
    (tmp_path / "secret.txt").write_text("secret")
    (tmp_path / "shown" / "a.txt").write_text("a")
    file = next(found.files_in(tmp_path / "shown"))
    file.path.unlink()
    file.path.symlink_to(tmp_path / "secret.txt")
    with pytest.raises(OSError, match="symbolic link"):
        file.read()


@pytest.mark.parametrize("place", ["home", "below", "above", "link"])
def test_no_file_comes_from_a_home_folder(
    command: Command, small: None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, place: str
) -> None:
    home = tmp_path / "people" / "ana"
    (home / "letters").mkdir(parents=True)
    (home / "letters" / "love.txt").write_text("dear")
    (tmp_path / "link").symlink_to(home / "letters")
    monkeypatch.setenv("HOME", str(home))
    folder = {"home": home, "below": home / "letters", "above": home.parent, "link": tmp_path / "link"}[place]
    done = command("seed", "--from", str(folder))
    assert done.exit_code == 1
    assert "private" in done.output
    assert count(File) == 0


@pytest.mark.parametrize("folder", ["/etc", "/", "/proc/self", "/root", "/nowhere"])
def test_no_file_comes_from_the_system_itself(command: Command, small: None, folder: str) -> None:
    assert command("seed", "--from", folder).exit_code == 1
    assert (count(File), count(User)) == (0, 0)


def test_missing_writers_are_named(command: Command, small: None, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(samples, "WRITERS", ("PIL", "no_such_library"))
    done = command("seed")
    assert done.exit_code == 1
    assert "no_such_library; `make seed` installs" in done.output


def test_the_whole_workspace_is_large_and_varied() -> None:
    files = workspace.workspace()
    assert len(files) >= 300
    assert len({Path(file.name).suffix.lower() for file in files}) >= 25
    assert {file.owner for file in files} == {person.key for person in workspace.PEOPLE}
    assert len({(file.owner, file.folder, file.name) for file in files}) == len(files)
    assert sum(len(file.versions) > 1 for file in files) >= 4
    assert sum(file.trashed for file in files) >= 3


def test_reset_asks_for_the_name_and_leaves_an_empty_migrated_vault(command: Command, small: None) -> None:
    command("seed")
    name = Path(db.engine.url.database or "").name
    refused = command("reset", typed="another\n")
    assert refused.exit_code == 1
    assert count(File) == 4
    done = command("reset", typed=f"{name}\n")
    assert done.exit_code == 0, done.output
    assert (count(File), count(User)) == (0, 0)
    assert stored_keys() == set()
    assert command("seed").exit_code == 0
    assert command("reset", "--yes").exit_code == 0
    assert (count(File), stored_keys()) == (0, set())


@pytest.mark.parametrize("words", [("seed",), ("reset", "--yes")])
def test_neither_seeds_nor_resets_in_production(
    command: Command, small: None, app: Flask, words: tuple[str, ...], person: Callable[..., object]
) -> None:
    person("mira")
    use_settings(app.config["HOLDFAST_SETTINGS"].model_copy(update={"app_env": "production"}))
    done = command(*words)
    assert done.exit_code == 1
    assert "production" in done.output
    assert count(User) == 1


def test_a_person_has_a_role_that_exists() -> None:
    assert {person.role for person in workspace.PEOPLE} <= BUILT_IN.keys()
