"""What people do while the vault is being broken. Only what an answer acknowledged is written down as a fact."""

import hashlib
import io
import json
import random
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

from PIL import Image

from tests.faults.clients import Answer, Client
from tests.faults.ledger import Ledger, Post, Thing

SHARED_CONTENT = [bytes([65 + n]) * (1000 + 777 * n) for n in range(4)]  # several files of the same bytes
LARGE = 1_500_000
TWINS = 4  # of one POST, sent at the same moment


class Worker:
    """One client thread: its own files and folders, and those that it and others of the same person fight for."""

    def __init__(self, label: str, seed: str, client: Client, shared: list[Thing]) -> None:
        self.label, self.client, self.shared = label, client, shared
        self.chance = random.Random(f"{seed}-{label}")
        self.files: list[Thing] = []
        self.folders: list[str] = []
        self.box: Thing | None = None
        self.count = 0
        self.ended = threading.Event()

    @property
    def ledger(self) -> Ledger:
        return self.client.ledger

    def furnish(self) -> None:
        """Two folders, and a box that is moved between them. Before anything breaks."""
        made = [self._made("/folders", {"name": f"{self.label} {name}"}) for name in ("left", "right", "box")]
        self.folders = [folder["id"] for folder in made[:2]]
        self.box = self.ledger.thing("folder", made[2])

    def _made(self, path: str, wish: dict[str, object]) -> dict[str, str]:
        answer = self.client.ask("POST", path, json.dumps(wish).encode())
        assert answer is not None, path
        assert answer.status == 201, answer.body
        return dict(answer.json)

    def run(self) -> None:
        """Until `ended`."""
        deeds = [deed for deed, weight in DEEDS.items() for _ in range(weight)]
        while not self.ended.wait(self.chance.uniform(0.05, 0.35)):
            deed = self.chance.choice(deeds)
            try:
                deed(self)
            except Exception as error:  # noqa: BLE001 - an answer that nobody can read is a fault, and no reason to stop
                self.ledger.fault(f"{self.label} could not {deed.__name__}: {error!r}")

    def name(self, ending: str = ".bin") -> str:
        self.count += 1
        return f"{self.label}-{self.count}{ending}"

    def content(self) -> bytes:
        """Mostly bytes that nothing else has."""
        kind = self.chance.random()
        if kind < 0.15:
            return self.chance.choice(SHARED_CONTENT)
        if kind < 0.18:
            return self.chance.randbytes(LARGE)
        return self.chance.randbytes(self.chance.randrange(50_000))

    def picture(self) -> bytes:
        """A PNG of which a preview is made."""
        picture, pixel = io.BytesIO(), self.chance.randbytes(3)
        Image.frombytes("RGB", (40, 40), pixel * 1600).save(picture, "PNG")
        return picture.getvalue()


def upload(worker: Worker) -> None:
    """A new file, raw."""
    ending, data = (".png", worker.picture()) if worker.chance.random() < 0.1 else (".bin", worker.content())
    answer = worker.client.ask("POST", f"/files?name={worker.name(ending)}", data)
    if answer is not None and answer.status == 201:
        worker.files.append(_stored(worker, answer, data))


def _stored(worker: Worker, answer: Answer, data: bytes) -> Thing:
    view = answer.json
    if view["sha256"] != hashlib.sha256(data).hexdigest():
        worker.ledger.fault(f"{view['name']} was acknowledged with another digest")
    return worker.ledger.thing("file", view)


def replace(worker: Worker) -> None:
    """New content for a file that others replace as well, under If-Match."""
    thing = worker.chance.choice([*worker.shared, *worker.files[-5:]])
    seen = worker.client.ask("GET", f"/files/{thing.id}")
    if seen is None or seen.status != 200:
        return
    data = worker.content()
    path, tag = f"/files/{thing.id}/content", seen.headers["etag"]
    answer = worker.client.ask("PUT", path, data, slowly=worker.chance.random() < 0.3, If_Match=tag)
    _learn(worker, thing, answer, int(tag.strip('"')))
    if answer is not None and answer.status == 200:
        digest = hashlib.sha256(data).hexdigest()
        with worker.ledger.lock:
            taken = thing.contents.setdefault(answer.json["number"], digest)
        if taken != digest or answer.json["sha256"] != digest:
            worker.ledger.fault(f"{thing.id}: two contents were acknowledged as number {answer.json['number']}")


def _learn(worker: Worker, thing: Thing, answer: Answer | None, expected: int | None = None) -> None:
    """Write down what the answer acknowledged. A change of the `expected` version makes the next one, or none."""
    if answer is not None and answer.status == 200 and expected is not None:
        version = answer.json["version"]
        if version not in {expected, expected + 1}:
            worker.ledger.fault(f"lost update: {thing.id} went from version {expected} to {version} in one change")
    with worker.ledger.lock:
        if answer is None:
            thing.unsure += 1
        elif answer.status == 204:
            thing.learn_trashed()
        elif answer.status in {200, 201}:
            thing.learn(answer.json)


def rename(worker: Worker) -> None:
    """Another name, for a file of one's own or one that others rename as well."""
    thing = worker.chance.choice([*worker.shared, *worker.files[-20:]])
    _change(worker, thing, {"name": worker.name(" renamed.bin")})


def _change(worker: Worker, thing: Thing, wish: dict[str, str | None]) -> None:
    """Of the version that was acknowledged last: where others were first, it is refused."""
    version = thing.newest.version
    answer = worker.client.ask("PATCH", f"/files/{thing.id}", json.dumps(wish).encode(), If_Match=f'"{version}"')
    _learn(worker, thing, answer, version)


def move_file(worker: Worker) -> None:
    """Into one of the folders or to the top."""
    if worker.files:
        thing = worker.chance.choice(worker.files[-20:])
        _change(worker, thing, {"folder_id": worker.chance.choice([*worker.folders, None])})


def trash(worker: Worker) -> None:
    """To the trash and, mostly, back: also who got no answer to the first tries the second."""
    if not worker.files:
        return
    thing = worker.files.pop(worker.chance.randrange(len(worker.files)))
    answer = worker.client.ask("DELETE", f"/files/{thing.id}", If_Match=f'"{thing.newest.version}"')
    _learn(worker, thing, answer)
    if worker.chance.random() < 0.7:
        answer = worker.client.ask("POST", f"/files/{thing.id}/restoration")
        _learn(worker, thing, answer)
        if answer is not None and answer.status < 300:
            worker.files.append(thing)


def move_folder(worker: Worker) -> None:
    """The box into one of the folders or to the top."""
    assert worker.box is not None
    wish = json.dumps({"parent_id": worker.chance.choice([*worker.folders, None])}).encode()
    _learn(worker, worker.box, worker.client.ask("PATCH", f"/folders/{worker.box.id}", wish))


def read_back(worker: Worker) -> None:
    """What was acknowledged is there, whole, whatever breaks."""
    known = [thing for thing in worker.files if not thing.unsure]
    if not known:
        return
    thing = worker.chance.choice(known)
    answer = worker.client.ask("GET", f"/files/{thing.id}/content")
    if answer is None:
        return
    digest = thing.newest.fields["sha256"]
    if answer.status != 200 or hashlib.sha256(answer.body).hexdigest() != digest:
        worker.ledger.fault(f"{thing.id} read back as {answer.status}, not as the {digest} that was acknowledged")


def post_folder(worker: Worker) -> None:
    """A folder under an Idempotency-Key, sent until it is answered."""
    name = worker.name("")
    insist(worker, Post(worker.name("-key"), "/folders", json.dumps({"name": name}).encode(), "folder", name))


def post_file(worker: Worker) -> None:
    """A file under an Idempotency-Key that would get another name if it were stored twice."""
    name = worker.name(".once")
    insist(worker, Post(worker.name("-key"), f"/files?name={name}&conflict=rename", worker.content(), "file", name))


def insist(worker: Worker, post: Post) -> None:
    """Again and again, sometimes several at once, until an answer came or the load ends."""
    with worker.ledger.lock:
        worker.ledger.posts.append((worker.client, post))
    twins = TWINS if worker.chance.random() < 0.25 else 1
    while not post.answers and not worker.ended.is_set():
        with ThreadPoolExecutor(twins) as pool:
            list(pool.map(lambda _: send(worker.client, post), range(twins)))
        time.sleep(0.1)


def send(client: Client, post: Post) -> None:
    """Once. Every answer of success is kept: all of them must be the same."""
    answer = client.ask("POST", post.path, post.data, Idempotency_Key=post.key)
    if answer is not None and answer.status < 300:
        with client.ledger.lock:
            post.answers.append((answer.status, answer.body, answer.headers.get("etag")))


DEEDS: dict[Callable[[Worker], None], int] = {
    upload: 6, replace: 4, rename: 3, move_file: 2, trash: 2, move_folder: 2, read_back: 3, post_folder: 2,
    post_file: 2,
}  # fmt: skip
