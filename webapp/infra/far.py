"""The second layer of the cache: Redis. One trip a look-up, one a write, each an atomic script.

Keys of a namespace share a hash tag, `{name}`, so that the scripts run on a cluster too. A tag's state is a random word
that stands with every value made under it: to clear a tag is to change the word.
"""

import secrets
import time
from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

from webapp.infra.redis import Guarded, Script

PREFIX = "holdfast:cache:"
CHANNEL = "holdfast:cache:clear"
LOCK_MS = 10_000  # a computation that takes longer may be begun a second time
TAG_MS = 3_600_000  # longer than any value lives
EVERYTHING = "*"  # a tag of every value
BATCH = 500  # keys of one SCAN and one UNLINK

LOOK = Script("""
local words = {}
for i = 3, #KEYS do words[i - 2] = redis.call('GET', KEYS[i]) or '0' end
local state = table.concat(words, ',')
local kept = redis.call('HMGET', KEYS[1], 'value', 'state', 'fresh_until')
local known = kept[1] and kept[2] == state
if known and tonumber(kept[3]) > tonumber(ARGV[1]) then return {'hit', kept[1], state} end
local mine = redis.call('SET', KEYS[2], ARGV[2], 'NX', 'PX', ARGV[3])
if known then return {mine and 'renew' or 'stale', kept[1], state} end
return {mine and 'compute' or 'wait', '', state}
""")
KEEP = Script("""
redis.call('HSET', KEYS[1], 'value', ARGV[1], 'state', ARGV[2], 'fresh_until', ARGV[3])
redis.call('PEXPIRE', KEYS[1], ARGV[4])
if redis.call('GET', KEYS[2]) == ARGV[5] then redis.call('DEL', KEYS[2]) end
""")
LEAVE = Script("if redis.call('GET', KEYS[1]) == ARGV[1] then return redis.call('DEL', KEYS[1]) end return 0")


class Found(NamedTuple):
    """What a look-up met: hit, stale (somebody renews it), renew or compute (we should), wait (somebody computes)."""

    what: str
    raw: bytes
    state: str
    token: str


class FarCache:
    """Values in Redis. Every method gives up at once, with None or nothing, while Redis is away."""

    def __init__(self, url: str) -> None:
        self.redis = Guarded(url)

    def look(self, name: str, key: str, tags: Sequence[str]) -> Found | None:
        """Look a value up and, where there is none that is fresh, try to become the one who computes it."""
        token = secrets.token_hex(8)
        keys = [_value(name, key), _lock(name, key), *(_tag(name, tag) for tag in (EVERYTHING, *tags))]
        answer = self.redis.try_(lambda redis: LOOK.run(redis, keys, int(time.time() * 1000), token, LOCK_MS))
        return Found(answer[0].decode(), answer[1], answer[2].decode(), token) if answer else None

    def keep(self, name: str, key: str, raw: bytes, found: Found, fresh: float, living: float) -> None:
        """Store a value as of `found`, fresh and living for so many seconds, and let the waiting have it."""
        until = int((time.time() + fresh) * 1000)
        arguments = (raw, found.state, until, max(1, int(living * 1000)), found.token)
        self.redis.try_(lambda redis: KEEP.run(redis, [_value(name, key), _lock(name, key)], *arguments))

    def leave(self, name: str, key: str, found: Found) -> None:
        """Give the computation up; the next one may begin at once."""
        self.redis.try_(lambda redis: LEAVE.run(redis, [_lock(name, key)], found.token))

    def clear_tag(self, name: str, tag: str) -> bool:
        """Make every value of the tag a miss, here and in all processes. False when Redis does not answer."""

        def clear(redis: Any) -> bool:
            redis.set(_tag(name, tag), secrets.token_hex(8), px=TAG_MS)
            redis.publish(CHANNEL, f"{name}\n{tag}")
            return True

        return bool(self.redis.try_(clear))

    def empty(self, name: str) -> bool:
        """Make every value of a namespace a miss and free its memory, of other versions too, in batches.

        False when Redis does not answer.
        """
        pattern = f"{PREFIX}{{{name.rpartition('.')[0]}.*}}:v:*"

        def free(redis: Any) -> bool:
            for batch in _batches(redis.scan_iter(match=pattern, count=BATCH), BATCH):
                redis.unlink(*batch)
            return True

        return self.clear_tag(name, EVERYTHING) and bool(self.redis.try_(free))


def _batches(keys: Iterator[bytes], size: int) -> Iterator[list[bytes]]:
    batch: list[bytes] = []
    for key in keys:
        batch.append(key)
        if len(batch) == size:
            yield batch
            batch = []
    if batch:
        yield batch


def _value(name: str, key: str) -> str:
    return f"{PREFIX}{{{name}}}:v:{key}"


def _lock(name: str, key: str) -> str:
    return f"{PREFIX}{{{name}}}:l:{key}"


def _tag(name: str, tag: str) -> str:
    return f"{PREFIX}{{{name}}}:t:{tag}"
