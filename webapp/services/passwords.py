"""Passwords: what is accepted, how it is hashed (argon2id, RFC 9106), how many hashes run at once."""

import os
import re
import threading
import unicodedata
from base64 import b64encode
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Annotated

from argon2 import PasswordHasher
from argon2.exceptions import InvalidHashError, VerificationError
from argon2.profiles import RFC_9106_LOW_MEMORY
from pydantic import AfterValidator, SecretStr
from pydantic_core import PydanticCustomError

from webapp.errors import Invalid, Unavailable
from webapp.services.inputs import without_hidden

SHORTEST, LONGEST = 12, 128  # characters after NFKC
ENOUGH = 3  # zxcvbn's score, 0 to 4: "safely unguessable" begins here
JUDGED = 72  # characters that zxcvbn looks at: its work grows faster than the length
# Beyond zxcvbn's 30,000 common passwords, in any case and with digits for letters: our name, and the famous example.
KNOWN = ("holdfast", "correcthorsebatterystaple", "correct horse battery staple", "correct-horse-battery-staple")
AT_ONCE, PATIENCE = 2, 10.0  # hashes of one process (64 MiB each), seconds to wait for one's turn

hasher = PasswordHasher.from_parameters(RFC_9106_LOW_MEMORY)  # t=3, m=64 MiB, p=4
_turns = threading.BoundedSemaphore(AT_ONCE)


def _checked(secret: SecretStr) -> SecretStr:
    """Normalise (the same password typed on another keyboard may be composed differently) and bound the length."""
    plain = unicodedata.normalize("NFKC", without_hidden(secret.get_secret_value()))
    if not plain:
        raise PydanticCustomError("missing", "Give a password")
    if len(plain) > LONGEST:
        raise PydanticCustomError("string_too_long", "A password has at most {most} characters", {"most": LONGEST})
    return SecretStr(plain)


Password = Annotated[SecretStr, AfterValidator(_checked)]


class Hashing:
    """One turn at the hash function; get it from `turn()`."""

    def make(self, password: SecretStr) -> str:
        """The argon2id string to store."""
        return hasher.hash(password.get_secret_value())

    def matches(self, password_hash: str | None, password: SecretStr) -> bool:
        """Whether the password made this hash. None (no such account) costs the same work and is never true."""
        try:
            return hasher.verify(password_hash or unusable_hash(), password.get_secret_value())
        except (VerificationError, InvalidHashError):
            return False

    def outdated(self, password_hash: str) -> bool:
        """Whether the hash was made with other parameters than today's."""
        return hasher.check_needs_rehash(password_hash)


@contextmanager
def turn() -> Iterator[Hashing]:
    """Wait for one's turn to hash; hold no transaction meanwhile. Raises Unavailable after ten seconds."""
    if not _turns.acquire(timeout=PATIENCE):
        raise Unavailable("Many people are signing in. Try again in a moment.", retry_after=2)
    try:
        yield Hashing()
    finally:
        _turns.release()


def refuse_weak(password: SecretStr, about: tuple[str, ...] = (), field: str = "password") -> None:
    """Raise Invalid for a new password under twelve characters or one that is easily guessed, with advice.

    `about` are texts of the person, such as name and e-mail, whose words make a password weaker.
    """
    plain = password.get_secret_value()
    if len(plain) < SHORTEST:
        raise Invalid.field(field, "too_short", f"Use at least {SHORTEST} characters.")
    from zxcvbn import zxcvbn  # 13 MB of words, which only a new password needs

    verdict = zxcvbn(plain[:JUDGED], user_inputs=[*KNOWN, *_words(*about)])
    if verdict["score"] < ENOUGH:
        feedback = verdict["feedback"]
        advice = " ".join(filter(None, (feedback["warning"], *feedback["suggestions"])))
        raise Invalid.field(field, "too_weak", advice or "This password is easy to guess. Add another word or two.")


def _words(*texts: str) -> list[str]:
    return [word for text in texts for word in (text, *re.split(r"\W+", text)) if word]


def unusable_hash() -> str:
    """A well-formed hash of today's cost that no password makes; made without hashing."""
    salt, digest = (b64encode(os.urandom(size)).decode().rstrip("=") for size in (hasher.salt_len, hasher.hash_len))
    return f"$argon2id$v=19$m={hasher.memory_cost},t={hasher.time_cost},p={hasher.parallelism}${salt}${digest}"
