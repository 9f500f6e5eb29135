"""The commands of the README: documented, cheap the second time, and honest about failure."""

import os
import re
import shutil
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
PROMISED = {
    *("run", "test", "lint", "format", "format-check", "types", "coverage", "e2e", "bench", "chaos", "screenshots"),
    *("seed", "reset", "migration", "migrate", "revert", "migration-status"),
    *("services-up", "services-down", "services-logs", "image", "image-run"),
}
LOCKS = ("requirements.txt", "requirements-dev.txt")
NAMES = re.findall(r"^([a-z0-9-]+):", (ROOT / "Makefile").read_text(), re.MULTILINE)


def make(*words: str, cwd: Path = ROOT, **env: str) -> subprocess.CompletedProcess[str]:
    clean = {key: value for key, value in os.environ.items() if key not in {"MAKEFLAGS", "MFLAGS", "MAKELEVEL"}}
    return subprocess.run(["make", *words], cwd=cwd, env=clean | env, capture_output=True, text=True, timeout=60)


@pytest.fixture
def prepared(tmp_path: Path) -> Path:
    """A checkout whose packages and assets are in place: the stamps are newer than what they were made from."""
    for name in (
        "Makefile",
        *LOCKS,
        "assets.py",
        "package.json",
        "package-lock.json",
    ):
        shutil.copy2(ROOT / name, tmp_path / name)
    for stamp in (".venv/bin/python", ".venv/.runs", ".venv/.tests", "static/vendor/.built"):
        (tmp_path / stamp).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / stamp).touch()
    return tmp_path


def test_help_names_every_target_with_a_text() -> None:
    listed = dict(line.split(None, 1) for line in make("help").stdout.splitlines())
    assert set(NAMES) == set(listed)
    assert all(len(text) > 10 for text in listed.values())


def test_every_promised_target_exists() -> None:
    assert not PROMISED - set(NAMES)


@pytest.mark.parametrize("name", NAMES)
def test_a_target_can_be_planned(name: str, prepared: Path) -> None:
    plan = make("--dry-run", name, "m=x", cwd=prepared)
    assert plan.returncode == 0, plan.stderr


def test_a_second_start_goes_straight_to_the_server(prepared: Path) -> None:
    plan = make("--dry-run", "run", cwd=prepared).stdout.splitlines()
    assert len(plan) == 1
    assert plan[0] == "exec .venv/bin/python -m tasks.serve"


def test_a_new_pin_is_installed_at_the_next_start(prepared: Path) -> None:
    os.utime(prepared / "requirements.txt", (4e9, 4e9))
    assert "Installing packages" in make("--dry-run", "run", cwd=prepared).stdout


def test_a_newer_set_for_running_keeps_the_packages_of_development(prepared: Path) -> None:
    os.utime(prepared / "requirements.txt", (4e9, 4e9))
    plan = make("--dry-run", "run", cwd=prepared).stdout
    assert "uv pip sync --quiet --python .venv/bin/python requirements-dev.txt" in plan


def test_changed_parts_of_the_front_end_are_built_anew(prepared: Path) -> None:
    os.utime(prepared / "package-lock.json", (4e9, 4e9))
    assert "assets.py" in make("--dry-run", "run", cwd=prepared).stdout


def test_a_python_that_is_too_old_is_named_as_the_reason(tmp_path: Path) -> None:
    shutil.copy2(ROOT / "Makefile", tmp_path)
    answer = make(".venv/bin/python", cwd=tmp_path, PYTHON="/bin/false")
    assert answer.returncode != 0
    assert "Python 3.11 or newer is needed" in answer.stderr


def test_a_migration_without_a_name_is_refused(prepared: Path) -> None:
    answer = make("migration", cwd=prepared)
    assert answer.returncode != 0
    assert 'make migration m="add tags"' in answer.stderr


def test_seed_takes_another_source(prepared: Path) -> None:
    assert '--from "/data/some files"' in make("-n", "seed", "FROM=/data/some files", cwd=prepared).stdout


def _names(path: str) -> set[str]:
    lines = [line for line in (ROOT / path).read_text().splitlines() if re.match(r"[a-z]", line)]
    return {re.split(r"[\[=<>;! ]", line)[0] for line in lines}


def test_every_package_is_pinned_and_both_files_agree() -> None:
    runs = (ROOT / "requirements.txt").read_text().splitlines()
    assert all(re.match(r"[a-z0-9-]+==[\w.]+( ;|$)", line) for line in runs)
    assert set(runs) <= set((ROOT / "requirements-dev.txt").read_text().splitlines())
    assert _names("requirements.in") <= _names("requirements.txt")
    assert _names("requirements-dev.in") <= _names("requirements-dev.txt")


def test_no_lock_names_a_download_address() -> None:
    for name in (*LOCKS, "requirements.in", "requirements-dev.in"):
        assert "://" not in (ROOT / name).read_text(), name
    assert '"resolved"' not in (ROOT / "package-lock.json").read_text()


@pytest.fixture
def ci(tmp_path: Path) -> Path:
    """A clone whose commands only tell that they were called; `make` fails where the file `fails` names its target."""
    (tmp_path / ".ci").mkdir()
    shutil.copy2(ROOT / ".ci/run", tmp_path / ".ci/run")
    commands = tmp_path / "bin"
    commands.mkdir()
    told = f'echo "$(basename $0) $*" >> {tmp_path}/calls'
    programs = ("chromium", "nginx", "pdftoppm", "redis-server", "rabbitmq-server", "initdb")
    for name in (*programs, "python3", "node", "apt-get", "make"):
        body = f'{told}\n[ "$1" != "$(cat {tmp_path}/fails 2>/dev/null)" ] || exit 7' if name == "make" else told
        (commands / name).write_text(f"#!/bin/sh\n{body}\n")
        (commands / name).chmod(0o755)
    return tmp_path


def _run_ci(clone: Path) -> tuple[int, list[str]]:
    path = f"{clone}/bin:{os.environ['PATH']}"
    done = subprocess.run(["bash", ".ci/run"], cwd=clone, env={"PATH": path}, capture_output=True, timeout=60)
    return done.returncode, (clone / "calls").read_text().splitlines()


def test_ci_lints_checks_types_and_ends_with_the_tests(ci: Path) -> None:
    code, calls = _run_ci(ci)
    assert code == 0
    assert calls[-3:] == ["make lint", "make types", "make test"]


def test_ci_installs_nothing_where_all_is_there(ci: Path) -> None:
    assert not any(call.startswith("apt-get") for call in _run_ci(ci)[1])


@pytest.mark.parametrize("step", ["lint", "types", "test"])
def test_ci_ends_with_the_code_of_the_step_that_failed(ci: Path, step: str) -> None:
    (ci / "fails").write_text(step)
    code, calls = _run_ci(ci)
    assert code == 7
    assert calls[-1] == f"make {step}"
