"""Settings: read once, checked as a whole, silent about secrets."""

import os
import stat
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError

from webapp.cli import describe
from webapp.config import ConfigurationError, Settings, current_settings, load_settings, use_settings

ROOT = Path(__file__).resolve().parent.parent
GOOD = {name: f"kT9x{name[:2]}vQ2mZr7LpWd4HsYb1NcJf6GaEu0Xo5Ri" for name in ("SECRET_KEYS", "JWT_KEYS", "DATA_KEYS")}
PRODUCTION = {"APP_ENV": "production", "PUBLIC_URL": "https://vault.harbour.example", **GOOD}


def load(tmp_path: Path, **environ: str) -> Settings:
    return load_settings({"APP_ENV": "test", "VAR_DIR": str(tmp_path), **environ})


def faults_of(tmp_path: Path, **environ: str) -> list[str]:
    with pytest.raises(ConfigurationError) as caught:
        load(tmp_path, **environ)
    return caught.value.faults


def test_nothing_given_is_enough_to_start(tmp_path: Path) -> None:
    settings = load(tmp_path)
    assert settings.sqlite
    assert settings.storage_url == f"file://{tmp_path / 'blobs'}"
    assert settings.origin == "http://127.0.0.1:8000"
    assert not settings.https


def test_missing_secrets_are_made_once_and_for_the_owner_only(tmp_path: Path) -> None:
    first, second = load(tmp_path), load(tmp_path)
    assert first.secret_keys == second.secret_keys
    assert len({first.secret_keys[0].get_secret_value(), first.jwt_keys[0].get_secret_value(),
                first.data_keys[0].get_secret_value()}) == 3  # fmt: skip
    for path in (tmp_path / "secrets").iterdir():
        assert stat.S_IMODE(path.stat().st_mode) == 0o600
        assert len(path.read_text()) >= 40


def test_processes_that_start_together_agree_on_the_secrets(tmp_path: Path) -> None:
    program = (
        "import sys; from webapp.config import load_settings\n"
        "settings = load_settings({'APP_ENV': 'test', 'VAR_DIR': sys.argv[1]})\n"
        "print(settings.secret_keys[0].get_secret_value())"
    )
    run = [
        subprocess.Popen([sys.executable, "-c", program, str(tmp_path)], cwd=ROOT, stdout=subprocess.PIPE)
        for _ in range(4)
    ]
    assert len({process.communicate(timeout=60)[0] for process in run}) == 1


def test_every_fault_is_named_at_once(tmp_path: Path) -> None:
    faults = faults_of(
        tmp_path, PORT="eighty", TZ="Mars/Olympus", DATABASE_URL="mysql://x/y", REDIS_URL="http://x", RABBITMQ_URL="redis://x",
        STORAGE_URL="ftp://x", MAX_UPLOAD_SIZE="0", TRUSTED_PROXIES="-1", PUBLIC_URL="vault", LOG_FORMAT="xml",
        ADMIN_EMAIL="ana@harbour.example",
    )  # fmt: skip
    named = {fault.split(":")[0] for fault in faults}
    assert named == {"PORT", "TZ", "DATABASE_URL", "REDIS_URL", "RABBITMQ_URL", "STORAGE_URL", "MAX_UPLOAD_SIZE",
                     "TRUSTED_PROXIES", "PUBLIC_URL", "LOG_FORMAT", "ADMIN_EMAIL and ADMIN_PASSWORD"}  # fmt: skip


def test_no_fault_and_no_print_shows_a_secret(tmp_path: Path) -> None:
    secret = "Tr0ub4dor-and-three"
    faults = faults_of(tmp_path, DATABASE_URL=f"mysql://me:{secret}@x/y", REDIS_URL=f"http://:{secret}@x", PORT="x")
    assert secret not in "\n".join(faults)
    settings = load(tmp_path, SECRET_KEYS=secret, REDIS_URL=f"redis://:{secret}@x", METRICS_TOKEN=secret,
                    DATABASE_URL=f"postgresql://me:{secret}@x/y", ADMIN_EMAIL="a@b.example",
                    ADMIN_PASSWORD=secret)  # fmt: skip
    for text in (repr(settings), str(settings), "\n".join(describe(settings))):
        assert secret not in text


@pytest.mark.parametrize(
    ("environ", "name"),
    [
        ({"SECRET_KEYS": ""}, "SECRET_KEYS: required"),
        ({"JWT_KEYS": "short"}, "JWT_KEYS: every key needs"),
        ({"DATA_KEYS": "a" * 40}, "DATA_KEYS: looks like an example"),
        ({"SECRET_KEYS": "change-me-change-me-change-me-1234567"}, "SECRET_KEYS: looks like an example"),
        ({"RABBITMQ_URL": "amqp://guest:guest@mq/"}, "RABBITMQ_URL: guest/guest"),
        ({"PUBLIC_URL": ""}, "PUBLIC_URL: required"),
        ({"FLASK_DEBUG": "1"}, "FLASK_DEBUG"),
        ({"CORS_ORIGINS": "*"}, "CORS_ORIGINS"),
    ],
)
def test_production_refuses_what_is_weak(tmp_path: Path, environ: dict[str, str], name: str) -> None:
    assert any(fault.startswith(name) for fault in faults_of(tmp_path, **{**PRODUCTION, **environ}))


def test_production_starts_with_good_secrets_and_makes_none(tmp_path: Path) -> None:
    settings = load(tmp_path, **PRODUCTION)
    assert settings.production
    assert settings.https
    assert not (tmp_path / "secrets").exists()


def test_a_secret_may_come_from_a_file(tmp_path: Path) -> None:
    path = tmp_path / "keys"
    path.write_text(f"{'n' * 40},{'o' * 40}\n")
    settings = load(tmp_path, SECRET_KEYS_FILE=str(path))
    assert [key.get_secret_value()[0] for key in settings.secret_keys] == ["n", "o"]
    assert faults_of(tmp_path, SECRET_KEYS_FILE=str(path), SECRET_KEYS="x") == [
        "SECRET_KEYS and SECRET_KEYS_FILE: give one of the two"
    ]
    assert faults_of(tmp_path, JWT_KEYS_FILE="/nowhere")[0].startswith("JWT_KEYS_FILE: cannot be read")


@pytest.mark.parametrize(
    ("environ", "url"),
    [
        ({"DATABASE_URL": "postgresql://me@db/x"}, "postgresql+psycopg2://me@db/x"),
        ({"DATABASE_URL": "postgres://me@db/x"}, "postgresql+psycopg2://me@db/x"),
        ({"DATABASE_URL": "sqlite:////tmp/x.db"}, "sqlite:////tmp/x.db"),
        ({"DATABASE_HOST": "db", "DATABASE_USER": "m e", "DATABASE_PASSWORD": "p@ss/w:rd", "DATABASE_NAME": "vault",
          "DATABASE_PORT": "5433", "DATABASE_SSLMODE": "verify-full"},
         "postgresql+psycopg2://m%20e:p%40ss%2Fw%3Ard@db:5433/vault?sslmode=verify-full"),
    ],
)  # fmt: skip
def test_the_database_is_named_by_url_or_by_parts(tmp_path: Path, environ: dict[str, str], url: str) -> None:
    assert load(tmp_path, **environ).database_url.get_secret_value() == url


def test_lists_are_split_at_commas(tmp_path: Path) -> None:
    settings = load(tmp_path, CORS_ORIGINS=" https://a.example, ,https://b.example ")
    assert settings.cors_origins == ("https://a.example", "https://b.example")


def test_settings_do_not_change(tmp_path: Path) -> None:
    settings = load(tmp_path)
    with pytest.raises(ValidationError):
        settings.port = 1  # type: ignore[misc]
    use_settings(settings)
    assert current_settings() is settings


def flask(tmp_path: Path, *words: str, **environ: str) -> Any:
    env = {"PATH": os.environ["PATH"], "VAR_DIR": str(tmp_path), "APP_ENV": "test", "PYTHONPATH": str(ROOT), **environ}
    command = [sys.executable, "-m", "flask", "--app", "wsgi", *words]
    return subprocess.run(command, cwd=ROOT, env=env, capture_output=True, text=True, timeout=120, check=False)


def test_config_check_names_what_is_set(tmp_path: Path) -> None:
    done = flask(tmp_path, "config", "check", METRICS_TOKEN="Tr0ub4dor-token", PORT="8123")
    assert done.returncode == 0, done.stderr
    assert "PORT: 8123" in done.stdout
    assert "METRICS_TOKEN: set" in done.stdout
    assert "REDIS_URL: not set" in done.stdout
    assert "Tr0ub4dor" not in done.stdout + done.stderr


def test_a_bad_configuration_ends_every_command_with_2_and_all_faults(tmp_path: Path) -> None:
    done = flask(tmp_path, "config", "check", PORT="x", TZ="x", REDIS_URL="http://:Tr0ub4dor@x")
    assert done.returncode == 2
    assert all(name in done.stderr for name in ("PORT", "TZ", "REDIS_URL"))
    assert "Traceback" not in done.stderr
    assert "Tr0ub4dor" not in done.stderr


def test_a_command_starts_no_job_threads(tmp_path: Path) -> None:
    done = flask(tmp_path, "config", "check")
    assert done.returncode == 0
    assert not (tmp_path / "runtime.lock").exists()
