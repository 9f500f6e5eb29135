"""The Idempotency-Key header: a POST that makes or orders something gets the first answer when it is sent again."""

import hashlib
import re
from collections.abc import Callable

from flask import Response, request

from webapp.errors import Malformed
from webapp.extensions import maybe_actor
from webapp.services.repetitions import KeptAnswer, answer_once

WELL_FORMED = re.compile(r"[\x21-\x7e]{1,255}")
KEPT = ("Content-Type", "ETag", "Location", "Cache-Control")


def once(content: bytes, act: Callable[[], Response]) -> Response:
    """`act`'s answer, made once for the key that the request names; without a key, just `act`'s answer.

    `content` stands for what was sent: the body, or the digests of the files in it. Raises Malformed for a bad key.
    """
    key = request.headers.get("Idempotency-Key")
    actor = maybe_actor()
    if key is None or actor is None:
        return act()
    if not WELL_FORMED.fullmatch(key):
        raise Malformed("An Idempotency-Key has 1 to 255 visible ASCII characters.", code="idempotency_key")
    sent = b"\0".join((request.method.encode(), request.full_path.encode(), str(actor.root).encode(), content))
    kept = answer_once(actor, key, hashlib.sha256(sent).hexdigest(), lambda: _keep(act()))
    return Response(kept.body, kept.status, dict(kept.headers))


def _keep(response: Response) -> KeptAnswer:
    headers = [(name, response.headers[name]) for name in KEPT if name in response.headers]
    return KeptAnswer(response.status_code, headers, response.get_data())
