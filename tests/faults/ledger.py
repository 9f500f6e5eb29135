"""What the clients of a chaos run were told: every call, and the facts that were acknowledged."""

import threading
from dataclasses import dataclass, field
from typing import Any, NamedTuple

CHANGING = ("name", "folder_id", "parent_id", "number", "sha256")


class Call(NamedTuple):
    """One request. Status 0: no answer came, so nobody knows what became of it. Times are of time.monotonic()."""

    begun: float
    ended: float
    what: str
    status: int
    detail: str = ""


class Known(NamedTuple):
    """What an answer said about an object at one version."""

    version: int
    trashed: bool
    fields: dict[str, Any]


@dataclass
class Thing:
    """A file or folder: each acknowledged state of it, and how many changes ended without an answer."""

    kind: str
    id: str
    known: list[Known] = field(default_factory=list)
    contents: dict[int, str] = field(default_factory=dict)  # digest of each acknowledged version of the content
    unsure: int = 0

    @property
    def newest(self) -> Known:
        return max(self.known, key=lambda known: known.version)

    def learn(self, view: dict[str, Any]) -> None:
        """An answer showed it after a change."""
        fields = {name: view[name] for name in CHANGING if name in view}
        self.known.append(Known(view["version"], bool(view.get("deleted_at")), fields))

    def learn_trashed(self) -> None:
        """The answer to a removal has no body: one version more, all else as it was."""
        newest = self.newest
        self.known.append(Known(newest.version + 1, True, newest.fields))


@dataclass
class Post:
    """A creating POST under an Idempotency-Key, with every answer that came."""

    key: str
    path: str
    data: bytes
    kind: str
    name: str
    answers: list[tuple[int, bytes, str | None]] = field(default_factory=list)


class Ledger:
    """Shared by all clients."""

    def __init__(self) -> None:
        self.lock = threading.Lock()
        self.calls: list[Call] = []
        self.things: dict[str, Thing] = {}
        self.posts: list[tuple[Any, Post]] = []  # with the client that sends it
        self.faults: list[str] = []  # what a client could see itself to be wrong

    def call(self, call: Call) -> None:
        with self.lock:
            self.calls.append(call)

    def thing(self, kind: str, view: dict[str, Any]) -> Thing:
        """A new object of which an answer told."""
        thing = Thing(kind, view["id"])
        thing.learn(view)
        if "sha256" in view:
            thing.contents[view["number"]] = view["sha256"]
        with self.lock:
            return self.things.setdefault(view["id"], thing)

    def fault(self, words: str) -> None:
        with self.lock:
            self.faults.append(words)
