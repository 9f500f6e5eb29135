"""A whole vault as it stands in production, every part private and breakable: three servers, web, relays, workers."""

import contextlib
import os
import signal
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any
from urllib.error import URLError
from urllib.request import urlopen

from flask import Flask

from tasks.application import make_app
from tasks.serve import migrate
from tests.conftest import PASSWORD, make_settings
from tests.faults.processes import RELAY, Service
from tests.servers import PrivatePostgres, PrivateRabbit, PrivateRedis, children_of, free_port
from webapp.db import db
from webapp.infra import ids
from webapp.services import users
from webapp.services.users import NewUser

RELAYS, WORKERS = ("relay 1", "relay 2"), ("worker 1", "worker 2")
PEOPLE = {"ana": "admin", "mira": "member", "odd": "member"}
DRAMATIQ = ("-m", "dramatiq", "tasks", "--processes", "1", "--threads", "4", "--skip-logging",
            "--worker-shutdown-timeout", "30000")  # fmt: skip


class Installation:
    """`standing` is all that has to stand, `ours` those of it that are programs of ours, `parts` what can break."""

    def __init__(self, folder: Path, mail_port: int) -> None:
        self.folder, self.port, self.streams_port = folder, free_port(), free_port()
        self.postgres, self.redis, self.rabbit = PrivatePostgres(), PrivateRedis(), PrivateRabbit()
        self.environment = {
            "DATABASE_URL": self.postgres.url, "REDIS_URL": self.redis.url, "RABBITMQ_URL": self.rabbit.url,
            "VAR_DIR": str(folder / "var"), "PORT": str(self.port), "STREAMS_PORT": str(self.streams_port),
            "WEB_PROCESSES": "2", "JOB_THREADS": "8",  # of both workers
            "WEBHOOK_ALLOWED_NETWORKS": "127.0.0.0/8", "ACCESS_TOKEN_LIFE": "PT2H",
            "MAIL_URL": f"smtp://127.0.0.1:{mail_port}", "MAIL_FROM": "Vault <vault@harbour.example>",
            "SIGN_IN_RATE_LIMIT": "1000000 per minute", "PROMETHEUS_MULTIPROC_DIR": str(folder / "metrics"),
        }  # fmt: skip
        self.ours = {
            "web": self._service("web", ("-m", "tasks.web"), lambda _: answers(self.port, "/health/live")),
            "streams": self._service("streams", ("-m", "tasks.streams"), lambda _: answers(self.streams_port, "/")),
            **{name: self._service(name, RELAY, lambda it: "relay_started" in it.said) for name in RELAYS},
            **{name: self._service(name, DRAMATIQ, lambda it: "ready for action" in it.said) for name in WORKERS},
        }  # fmt: skip
        servers = {"postgresql": self.postgres, "redis": self.redis, "rabbitmq": self.rabbit}
        self.standing: dict[str, Any] = {**servers, **self.ours}
        self.parts: dict[str, Any] = {**self.standing, "one of web's processes": OneProcess(self.ours["web"])}

    def _service(self, name: str, command: tuple[str, ...], ready: Any) -> Service:
        return Service(command, self.folder / f"{name}.log", ready, **self.environment)

    @contextmanager
    def seen(self) -> Iterator[Flask]:
        """The same database, store and Redis seen from this process."""
        shared = ("DATABASE_URL", "REDIS_URL", "RABBITMQ_URL", "VAR_DIR")
        names = {name: value for name, value in self.environment.items() if name in shared and name != "VAR_DIR"}
        app = make_app(make_settings(self.folder / "var", **names))
        ids._forget()
        try:
            with app.app_context():
                yield app
                db.session.remove()
                db.engine.dispose()
        finally:
            ids._forget()


@contextmanager
def installation(folder: Path, mail_port: int) -> Iterator[Installation]:
    """Everything started, with the people in it; nothing left at the end."""
    with ExitStack() as stack:
        built = Installation(folder, mail_port)
        (folder / "metrics").mkdir()
        for server in (built.postgres, built.redis, built.rabbit):
            stack.enter_context(server)
        with built.seen():
            migrate()
            for name, role in PEOPLE.items():
                wish = NewUser(email=f"{name}@harbour.example", name=name.title(), password=PASSWORD)
                users.create_user(None, wish, role=role)
        for service in built.ours.values():
            stack.callback(service.kill)
            service.start()
        yield built


def answers(port: int, path: str) -> bool:
    """Whether something speaks HTTP there."""
    try:
        with urlopen(f"http://127.0.0.1:{port}{path}", timeout=2):
            return True
    except URLError as error:
        return getattr(error, "code", None) is not None
    except OSError:
        return False


class OneProcess:
    """One of the processes behind the web's port: the master starts another when it dies."""

    def __init__(self, web: Service) -> None:
        self.web, self.pid = web, 0

    @property
    def ended(self) -> bool:
        return not is_server(self.pid)

    def kill(self) -> None:
        """SIGKILL for it."""
        self._signal(signal.SIGKILL)

    def pause(self) -> None:
        """SIGSTOP for it."""
        self._signal(signal.SIGSTOP)

    def resume(self) -> None:
        """SIGCONT for the same."""
        if is_server(self.pid):
            os.kill(self.pid, signal.SIGCONT)

    def launch(self) -> None:
        """Another is there already, or soon."""

    def stands(self) -> bool:
        """Whether the web answers, whoever of them it is."""
        return self.web.stands()

    def _signal(self, number: signal.Signals) -> None:
        self.pid = 0
        if self.web.program is None or self.web.ended:
            return
        serving = [pid for pid in children_of(self.web.program.process.pid) if is_server(pid)]
        if serving:
            self.pid = serving[0]
            with contextlib.suppress(ProcessLookupError):
                os.kill(self.pid, number)


def is_server(pid: int) -> bool:
    """Whether it lives and is not the helper that multiprocessing keeps beside the others."""
    with contextlib.suppress(OSError):
        command = Path(f"/proc/{pid}/cmdline").read_bytes()
        return pid > 0 and command != b"" and b"resource_tracker" not in command
    return False
