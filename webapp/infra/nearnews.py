"""News inside one process, where there is no Redis: told by the tables, which also know what other processes did."""

import threading
import time
from collections import deque
from collections.abc import Callable, Sequence

from webapp.infra.news import KEPT, KEPT_FOR, Mark, News, Past, Told


class NearBoard:
    """`tell` only wakes who looks into the tables; what is found there is `post`ed. Nobody listens: nobody looks."""

    def __init__(self) -> None:
        self.stirred = threading.Event()
        self._lock = threading.Lock()
        self._history: dict[int, deque[tuple[float, Told]]] = {}
        self._ears: list[Callable[[Told], None]] = []
        self._last: Mark = (0, 0)

    def tell(self, news: Sequence[News]) -> None:
        """Have the tables looked at."""
        if self._ears:
            self.stirred.set()

    def post(self, news: Sequence[News]) -> None:
        """Put news into the histories and let everybody hear them."""
        for piece in news:
            with self._lock:
                told = self._keep(piece)
                ears = list(self._ears)
            for hear in ears:
                hear(told)

    def past(self, owner_id: int, since: Mark | None) -> Past | None:
        """See Board."""
        with self._lock:
            self._forget_old()
            history = self._history.get(owner_id)
            if not history:
                return Past(False, self._keep(News(owner_id, "")).mark, ())
            known = since is not None and any(told.mark == since for _, told in history)
            after = [told for _, told in history if known and since is not None and told.mark > since and told.type]
            return Past(known, history[-1][1].mark, after)

    def follow(self, hear: Callable[[Told], None], lost: Callable[[], None]) -> bool:
        """See Board; this line never breaks."""
        with self._lock:
            self._ears.append(hear)
        return True

    def leave(self, hear: Callable[[Told], None]) -> None:
        """Stop hearing."""
        with self._lock:
            if hear in self._ears:
                self._ears.remove(hear)

    def flush(self, seconds: float) -> None:
        """Nothing is on its way."""

    def _keep(self, piece: News) -> Told:
        self._last = max((time.time_ns() // 1_000_000, 0), (self._last[0], self._last[1] + 1))
        told = Told(self._last, *piece)
        self._history.setdefault(piece.owner_id, deque(maxlen=KEPT)).append((time.monotonic(), told))
        return told

    def _forget_old(self) -> None:
        limit = time.monotonic() - KEPT_FOR
        for owner_id, history in list(self._history.items()):
            while history and history[0][0] < limit:
                history.popleft()
            if not history:
                del self._history[owner_id]
