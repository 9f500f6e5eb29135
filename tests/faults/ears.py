"""A listener that stays: it opens its stream again whenever it ends, from where it was, as a browser does."""

import http.client
import threading
import time

from tests.faults.clients import Client
from tests.servers import wait_until

SILENCE, RETRY = 20.0, 1.0  # seconds: a stream that says nothing for so long (it beats) is given up; until the next try


class Ear:
    """`heard` is the text of all streams, `streams` how many there were."""

    def __init__(self, client: Client, port: int) -> None:
        self.client, self.port = client, port
        self.heard, self.streams, self._last = "", 0, ""
        self._ending = threading.Event()
        self._thread = threading.Thread(target=self._run, name="ear", daemon=True)
        self._thread.start()

    def stop(self) -> None:
        """Listen no more."""
        self._ending.set()
        self._thread.join(2 * SILENCE)

    def hears(self, limit: float) -> float:
        """Make a folder and wait until the stream tells of it; seconds that took. Raises TimeoutError."""
        begun = time.monotonic()
        answer = self.client.ask("POST", "/folders", b'{"name": "Can you hear me?"}')
        assert answer is not None, "no folder was made"
        assert answer.status == 201, answer.body
        wait_until(lambda: answer.json["id"] in self.heard, limit, about="the news")
        return time.monotonic() - begun

    def _run(self) -> None:
        while not self._ending.wait(RETRY):
            line = http.client.HTTPConnection("127.0.0.1", self.port, timeout=SILENCE)
            try:
                self._listen(line)
            except (OSError, http.client.HTTPException):
                continue  # it was killed, or it hangs
            finally:
                line.close()

    def _listen(self, line: http.client.HTTPConnection) -> None:
        known = {"Last-Event-ID": self._last} if self._last else {}
        line.request("GET", "/api/v1/events", headers={"Authorization": f"Bearer {self.client.token}", **known})
        answer = line.getresponse()
        self.streams += answer.status == 200
        while not self._ending.is_set() and (text := answer.readline().decode()):
            if text.startswith("id: "):
                self._last = text[4:].strip()
            self.heard += text
