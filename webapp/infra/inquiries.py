"""Questions to servers that may hang: each on a thread of its own, one deadline for all, none asked twice at a time."""

import threading
import time
from collections.abc import Callable, Mapping
from concurrent.futures import Future, ThreadPoolExecutor, wait
from typing import Any, NamedTuple

LONGEST = 200  # characters of a reason


class Answer(NamedTuple):
    """`state` is up, late (no answer yet) or down (it raised; `reason` says what). `seconds` is what it took."""

    state: str
    value: Any = None
    seconds: float | None = None
    reason: str = ""


class Inquiries:
    """At most `names` different questions; one that hangs keeps its thread and is not asked again until it is back."""

    def __init__(self, names: int) -> None:
        self._names = names
        self._pending: dict[str, Future[tuple[Any, float]]] = {}
        self._lock = threading.Lock()
        self._threads: ThreadPoolExecutor | None = None

    def ask(self, questions: Mapping[str, Callable[[], Any]], deadline: float) -> dict[str, Answer]:
        """All answers that come within `deadline` seconds, asked at the same time."""
        until = time.monotonic() + deadline
        with self._lock:
            if self._threads is None:
                self._threads = ThreadPoolExecutor(self._names, "inquiry")
            for name, question in questions.items():
                known = self._pending.get(name)
                if known is None or known.done():
                    self._pending[name] = self._threads.submit(_timed, question)
            asked = {name: self._pending[name] for name in questions}
        return {name: _outcome(answer, until) for name, answer in asked.items()}


def _timed(question: Callable[[], Any]) -> tuple[Any, float]:
    began = time.perf_counter()
    return question(), time.perf_counter() - began


def _outcome(answer: Future[tuple[Any, float]], until: float) -> Answer:
    if not wait([answer], max(0.0, until - time.monotonic())).done:
        return Answer("late")
    error = answer.exception()
    if error is None:
        return Answer("up", *answer.result())
    lines = str(error).strip().splitlines() or [type(error).__name__]
    return Answer("down", reason=lines[0][:LONGEST])  # whatever a part raises, it is not there
