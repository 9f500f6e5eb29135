"""What is shipped for production, read and tried: compose file, image, secrets, roles, the example environment."""

import contextlib
import importlib.util
import os
import re
import secrets
import shutil
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import Any
from urllib.request import urlopen

import psycopg2
import pytest
import yaml
from dramatiq.cli import make_argument_parser

import tasks.streams
import tasks.web
from tests.conftest import SERVER, need
from tests.servers import free_port, wait_until
from webapp.config import SECRETS, Settings, load_settings
from webapp.issuers import Issuer

ROOT = Path(__file__).parent.parent
COMPOSE: dict[str, Any] = yaml.safe_load((ROOT / "docker-compose.yml").read_text())
SERVICES: dict[str, dict[str, Any]] = COMPOSE["services"]
ONCE = ("migrate", "setup")
OURS = ("web", "streams", "worker", "relay", *ONCE)
DATABASE_PARTS = {f"DATABASE_{part}" for part in ("HOST", "PORT", "USER", "PASSWORD", "NAME", "SSLMODE")}
VARIABLES = {name.upper() for name in Settings.model_fields} | DATABASE_PARTS
ELSEWHERE = {"PROMETHEUS_MULTIPROC_DIR"}  # read by prometheus-client itself


@pytest.fixture
def made(tmp_path: Path) -> Path:
    """The directory that `make secrets` fills."""
    folder = tmp_path / "secrets"
    subprocess.run([sys.executable, ROOT / "deploy/make_secrets.py", folder], check=True, capture_output=True)
    return folder


def environment_of(service: str, made: Path) -> dict[str, str]:
    """What Docker would hand to the service, its secrets taken from `made`."""
    given = {"PUBLIC_URL": "https://vault.example.org", "ADMIN_EMAIL": "ana@example.org"}

    def filled(text: str) -> str:
        text = re.sub(r"\$\{(\w+):\?[^}]*\}", lambda match: given[match[1]], text)
        text = re.sub(r"\$\{\w+:-([^}]*)\}", r"\1", text)
        return text.replace("/run/secrets/", f"{made}/")

    return {name: filled(str(value)) for name, value in SERVICES[service]["environment"].items()}


# The environment ------------------------------------------------------------------------------------------------------


def test_the_example_names_every_variable_and_no_other() -> None:
    named = set(re.findall(r"^# ([A-Z0-9_]+)=", (ROOT / ".env.example").read_text(), re.MULTILINE))
    assert named == VARIABLES | {f"OIDC_WORK_{field.upper()}" for field in set(Issuer.model_fields) - {"name"}}


def test_the_example_shows_the_defaults(tmp_path: Path) -> None:
    shown = dict(re.findall(r"^# ([A-Z0-9_]+)=(.+)$", (ROOT / ".env.example").read_text(), re.MULTILINE))
    plain = {"VAR_DIR": str(tmp_path)}
    assert load_settings(shown | plain) == load_settings(plain)


def test_the_example_holds_no_secret() -> None:
    assert not re.findall(r"^[^#\n]", (ROOT / ".env.example").read_text(), re.MULTILINE)


# Compose file ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("service", OURS)
def test_every_variable_of_the_compose_file_is_one_the_application_knows(service: str) -> None:
    known = VARIABLES | ELSEWHERE | {f"{name}_FILE" for name in SECRETS}
    assert set(SERVICES[service]["environment"]) <= known


@pytest.mark.parametrize("service", OURS)
def test_the_application_starts_in_production_with_that_environment(service: str, made: Path) -> None:
    settings = load_settings(environment_of(service, made))
    assert settings.production
    assert settings.https
    assert settings.trusted_proxies == 1
    assert settings.redis_url is not None
    assert settings.rabbitmq_url is not None
    assert (settings.migration_database_url is not None) == (service == "migrate")


@pytest.mark.parametrize("service", SERVICES)
def test_secrets_come_as_files_that_are_mounted_and_made(service: str, made: Path) -> None:
    definition = SERVICES[service]
    mounted = {entry if isinstance(entry, str) else entry["source"] for entry in definition.get("secrets", [])}
    assert set(re.findall(r"/run/secrets/(\w+)", yaml.safe_dump(definition))) <= mounted
    assert mounted <= set(COMPOSE["secrets"])
    assert {made / Path(COMPOSE["secrets"][name]["file"]).name for name in mounted} <= set(made.iterdir())
    in_the_open = set(definition.get("environment", {})) & (set(SECRETS) - {"SENTRY_DSN"})
    assert not in_the_open


def test_no_password_has_a_default() -> None:
    text = (ROOT / "docker-compose.yml").read_text() + (ROOT / "deploy/services.yml").read_text()
    assert not re.findall(
        r"(?i)(?:password|secret|token|keys?)\w*[:=]\s*(?!/run/secrets|\$)[\w-]{6,}$", text, re.MULTILINE
    )


def test_secrets_are_made_once_and_closed_to_others(made: Path) -> None:
    before = {path.name: path.read_text() for path in made.iterdir()}
    subprocess.run([sys.executable, ROOT / "deploy/make_secrets.py", made], check=True, capture_output=True)
    assert {path.name: path.read_text() for path in made.iterdir()} == before
    assert made.stat().st_mode & 0o777 == 0o700
    assert len(before["secret_keys"].strip()) >= 32
    assert before["database_owner_password"].strip() in before["migration_database_url"]


@pytest.mark.parametrize("service", SERVICES)
def test_a_service_is_watched_and_comes_back(service: str) -> None:
    definition = SERVICES[service]
    if service in ONCE:
        assert definition["restart"] == "no"
        return
    assert definition["restart"] == "unless-stopped"
    assert definition["healthcheck"]["test"][0] in {"CMD", "CMD-SHELL"}


@pytest.mark.parametrize("service", [*OURS, "nginx"])
def test_our_services_and_nginx_have_no_rights_to_spare(service: str) -> None:
    definition = SERVICES[service]
    assert definition["read_only"] is True
    assert definition["cap_drop"] == ["ALL"]
    assert "no-new-privileges:true" in definition["security_opt"]


def test_only_nginx_is_reachable_from_outside() -> None:
    assert [name for name, definition in SERVICES.items() if "ports" in definition] == ["nginx"]
    assert COMPOSE["networks"]["inside"]["internal"] is True
    for name in ("postgres", "redis", "rabbitmq"):
        assert SERVICES[name]["networks"] == ["inside"]


def test_servers_for_development_answer_this_machine_alone() -> None:
    services = yaml.safe_load((ROOT / "deploy/services.yml").read_text())["services"]
    assert set(services) == {"postgres", "redis", "rabbitmq"}
    assert all(port.startswith("127.0.0.1:") for definition in services.values() for port in definition["ports"])


def test_everything_starts_after_what_it_needs() -> None:
    for name, definition in SERVICES.items():
        for needed, how in definition.get("depends_on", {}).items():
            if how["condition"] == "service_healthy":
                assert "test" in SERVICES[needed]["healthcheck"], f"{name} waits for {needed}"
    assert SERVICES["web"]["deploy"]["replicas"] == 2
    for first, then in (("migrate", "setup"), ("setup", "web"), ("setup", "worker"), ("setup", "relay")):
        assert SERVICES[then]["depends_on"][first]["condition"] == "service_completed_successfully"


@pytest.mark.parametrize("service", [name for name in SERVICES if name not in OURS])
def test_foreign_images_are_pinned_to_a_version(service: str) -> None:
    assert re.search(r":\d", SERVICES[service]["image"])


@pytest.mark.parametrize(("service", "server"), [("web", tasks.web), ("streams", tasks.streams)])
def test_a_server_is_a_module_that_has_ended_before_it_is_killed(service: str, server: ModuleType) -> None:
    assert SERVICES[service]["command"] == ["python", "-m", server.__name__]
    assert int(SERVICES[service]["stop_grace_period"].removesuffix("s")) > server.STOP_LIMIT


def test_the_streams_process_has_room_for_thousands_where_nginx_looks_for_it() -> None:
    assert SERVICES["streams"]["ulimits"]["nofile"] > tasks.streams.TOGETHER > 4096
    port = SERVICES["streams"]["environment"]["STREAMS_PORT"]
    assert f"server streams:{port} resolve" in (ROOT / "deploy/nginx.conf").read_text()


def test_the_worker_command_is_one_that_dramatiq_takes() -> None:
    command = SERVICES["worker"]["command"]
    parsed = make_argument_parser().parse_args(command[1:])
    assert command[0] == "dramatiq"
    assert importlib.util.find_spec(parsed.broker)
    assert parsed.worker_shutdown_timeout < 1000 * int(SERVICES["worker"]["stop_grace_period"].removesuffix("s"))


def test_the_relay_is_a_module() -> None:
    assert SERVICES["relay"]["command"][:2] == ["python", "-m"]
    assert importlib.util.find_spec(SERVICES["relay"]["command"][2])


def test_a_worker_is_healthy_while_it_holds_its_connection() -> None:
    check = SERVICES["worker"]["healthcheck"]["test"]
    assert check[:3] == ["CMD", "python", "deploy/connected.py"]
    with socket.create_server(("127.0.0.1", 0)) as server:
        command = [sys.executable, str(ROOT / check[2]), str(server.getsockname()[1])]
        assert subprocess.run(command, timeout=20).returncode == 1
        with socket.create_connection(server.getsockname()):
            assert subprocess.run(command, timeout=20).returncode == 0
        assert subprocess.run(command, timeout=20).returncode == 1


# Image ----------------------------------------------------------------------------------------------------------------

DOCKERFILE = (ROOT / "Dockerfile").read_text().replace("\\\n", " ")


def test_the_image_runs_as_nobody_special_and_is_watched() -> None:
    last = DOCKERFILE.rsplit("\nFROM ", 1)[1]
    assert re.search(r"^USER 10001:10001$", last, re.MULTILINE)
    assert re.search(r"^HEALTHCHECK .*/health/live", last, re.MULTILINE)
    assert SERVICES["nginx"]["user"] == "10001:10001", "nginx reads blobs that only their owner may read"


def test_the_image_serves_the_web_as_the_compose_file_does() -> None:
    default = DOCKERFILE.rsplit("\nCMD ", 1)[1]
    assert yaml.safe_load(default) == SERVICES["web"]["command"]


def test_the_image_carries_no_secret_and_installs_only_pins() -> None:
    assert not re.search(r"(?im)^(ARG|ENV).*(password|secret|token|_keys?)", DOCKERFILE)
    assert re.findall(r"pip install (.*)", DOCKERFILE) == ["--no-cache-dir --requirement requirements.txt"]


def test_what_enters_the_image_is_enough_to_start(tmp_path: Path) -> None:
    rules = (ROOT / ".dockerignore").read_text().splitlines()
    assert "*" in rules
    for name in (rule[1:] for rule in rules if rule.startswith("!") and (ROOT / rule[1:]).exists()):
        source = ROOT / name
        (tmp_path / name).parent.mkdir(exist_ok=True)
        shutil.copytree(source, tmp_path / name) if source.is_dir() else shutil.copy2(source, tmp_path / name)
    flask = str(Path(sys.executable).parent / "flask")
    environment = {"PATH": os.environ["PATH"], "VAR_DIR": str(tmp_path / "var"), "APP_ENV": "test"}
    for words in (["config", "check"], ["db", "upgrade"], ["setup"]):
        done = subprocess.run(
            [flask, "--app", "wsgi", *words], cwd=tmp_path, env=environment, capture_output=True, text=True, timeout=60
        )
        assert done.returncode == 0, done.stderr
    port = free_port()
    command = [sys.executable, *SERVICES["web"]["command"][1:]]
    with subprocess.Popen(command, cwd=tmp_path, env={**environment, "PORT": str(port)}) as web:
        try:
            wait_until(lambda: web.poll() is not None or _lives(port), about="the web")
            assert web.poll() is None
        finally:
            web.terminate()
    assert web.returncode == 0


def _lives(port: int) -> bool:
    with contextlib.suppress(OSError), urlopen(f"http://127.0.0.1:{port}/health/live", timeout=5) as answer:
        return bool(answer.status == 200)
    return False


# PostgreSQL roles -----------------------------------------------------------------------------------------------------


@pytest.fixture
def owned(tmp_path: Path) -> Iterator[tuple[str, str]]:
    """A database prepared by deploy/postgres-roles.sh: its owner's URL and the application's."""
    need("postgresql")
    name, password = f"holdfast_roles_{secrets.token_hex(4)}", 'it\'s "quoted" \\ $HOME'
    server = psycopg2.connect(SERVER)
    server.autocommit = True
    server.cursor().execute(f"CREATE DATABASE {name}")
    (tmp_path / "password").write_text(password)
    parts = psycopg2.extensions.parse_dsn(SERVER)
    env = {"PATH": os.environ["PATH"], "PGHOST": parts["host"], "PGPORT": parts["port"], "APP_ROLE": name}
    env |= {"POSTGRES_USER": parts["user"], "POSTGRES_DB": name, "DATABASE_PASSWORD_FILE": str(tmp_path / "password")}
    try:
        subprocess.run(["sh", ROOT / "deploy/postgres-roles.sh"], env=env, check=True, capture_output=True)
        url = psycopg2.extensions.make_dsn(SERVER, dbname=name)
        yield url, psycopg2.extensions.make_dsn(url, user=name, password=password)
    finally:
        server.cursor().execute(f"DROP DATABASE {name} WITH (FORCE)")
        server.cursor().execute(f"DROP ROLE IF EXISTS {name}")
        server.close()


def test_the_applications_role_writes_rows_but_alters_no_table(owned: tuple[str, str]) -> None:
    owner, application = (psycopg2.connect(url) for url in owned)
    owner.autocommit = application.autocommit = True
    owner.cursor().execute("CREATE TABLE notes (id bigserial PRIMARY KEY, text text)")
    with application.cursor() as cursor:
        cursor.execute("INSERT INTO notes (text) VALUES ('kept') RETURNING id")
        assert cursor.fetchone() == (1,)
        for refused in (
            "DROP TABLE notes",
            "ALTER TABLE notes ADD other text",
            "CREATE TABLE mine (id int)",
            "TRUNCATE notes",
        ):
            with pytest.raises(psycopg2.errors.InsufficientPrivilege):
                cursor.execute(refused)
    owner.close()
    application.close()
