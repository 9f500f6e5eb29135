"""A steady load: several people, several programs each, webhooks that tell a receiver, mails that come to a mailbox."""

import contextlib
import json
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

from aiosmtpd.controller import Controller

from tests.conftest import PASSWORD
from tests.faults.clients import Client
from tests.faults.deeds import Worker, send
from tests.faults.ears import Ear
from tests.faults.installation import Installation
from tests.faults.ledger import Ledger, Post, Thing
from tests.receiver import Receiver, receiver
from tests.servers import free_port
from tests.test_mail import Mailbox

PROGRAMS = {"mira": 4, "odd": 2}
SHARED = 4  # files that all programs of a person change
NEW_HOOK = 6.0  # seconds between two webhooks whose receiver is gone: each is paused, and its maker gets a mail
HANG = 120.0  # seconds in which a POST must be answered when everything stands
HEARD = ("file.*", "folder.*")


class Outside:
    """The world that the vault talks to: a receiver of webhooks, one that is gone, a mail server. Nothing breaks it."""

    def __init__(self, hears: Receiver, gone: Receiver, box: Mailbox, mail_port: int) -> None:
        self.hears, self.gone, self.box, self.mail_port = hears, gone, box, mail_port
        gone.answers = [410]
        hears.pause = 0.3  # so that a worker that dies mostly has something in its hands


@contextlib.contextmanager
def outside() -> Iterator[Outside]:
    """Runs it."""
    box = Mailbox()
    mail = Controller(box, hostname="127.0.0.1", port=free_port())
    mail.start()
    try:
        with receiver() as hears, receiver() as gone:
            yield Outside(hears, gone, box, mail.port)
    finally:
        mail.stop()


class Load:
    """All clients of a run. `start` after the installation stands, `stop` before anything is counted."""

    def __init__(self, town: Installation, world: Outside, seed: str) -> None:
        self.town, self.world, self.seed = town, world, seed
        self.ledger = Ledger()
        self.admin = self._client("ana")
        self.workers = [worker for name, count in PROGRAMS.items() for worker in self._workers(name, count)]
        self.ear = Ear(self.workers[0].client, town.streams_port)
        self._stopping = threading.Event()
        self._threads = [threading.Thread(target=worker.run, name=worker.label) for worker in self.workers]
        self._threads.append(threading.Thread(target=self._make_hooks, name="hooks"))

    def _client(self, name: str) -> Client:
        return Client(self.town.port, self.ledger).sign_in(f"{name}@harbour.example", PASSWORD)

    def _workers(self, name: str, count: int) -> list[Worker]:
        clients = [self._client(name) for _ in range(count)]
        shared = [self._shared_file(clients[0], f"{name}-shared-{n}.bin") for n in range(SHARED)]
        workers = [Worker(f"{name}{n}", self.seed, client, shared) for n, client in enumerate(clients)]
        for worker in workers:
            worker.furnish()
        return workers

    def _shared_file(self, client: Client, name: str) -> Thing:
        answer = client.ask("POST", f"/files?name={name}", name.encode())
        assert answer is not None, name
        assert answer.status == 201, answer.body
        return self.ledger.thing("file", answer.json)

    def start(self) -> None:
        """From now on they work."""
        self._hook("All that happens", self.world.hears, self._stopping, HEARD)
        time.sleep(1.5)  # every process has heard of it then
        for thread in self._threads:
            thread.start()

    def stop(self) -> None:
        """They end what they are at; then every POST is repeated until it is answered, and once more."""
        self._stopping.set()
        for worker in self.workers:
            worker.ended.set()
        for thread in self._threads:
            thread.join()
        with ThreadPoolExecutor(8) as pool:
            list(pool.map(lambda each: self._once_more(*each), self.ledger.posts))

    def _once_more(self, client: Client, post: Post) -> None:
        deadline, wanted = time.monotonic() + HANG, len(post.answers) + 1
        while len(post.answers) < wanted and time.monotonic() < deadline:
            send(client, post)

    def _make_hooks(self) -> None:
        number = 0
        while not self._stopping.wait(NEW_HOOK):
            number += 1
            self._hook(f"Gone {number}", self.world.gone, self._stopping, ("folder.*",))

    def _hook(self, name: str, to: Receiver, until: threading.Event, events: tuple[str, ...]) -> None:
        wish = json.dumps({"name": name, "url": to.url, "events": list(events)}).encode()
        post = Post(f"hook-{name.replace(' ', '-')}", "/webhooks", wish, "webhook", name)
        with self.ledger.lock:
            self.ledger.posts.append((self.admin, post))
        while not post.answers and not until.wait(0.1):
            send(self.admin, post)
