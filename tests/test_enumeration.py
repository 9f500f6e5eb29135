"""Promise 26 by the clock: many answers about a known and an unknown address, in random order, take as long."""

import random
import time
from collections.abc import Callable, Iterator

import pytest
from flask import Flask
from flask.testing import FlaskClient

from tests.conftest import PASSWORD
from webapp.config import current_settings, use_settings
from webapp.policies import Actor
from webapp.services import attempts
from webapp.services.settings import forget_values

ROUNDS = 250
APART = 0.1  # how far the chance that a known address takes longer may be from one half: 4 standard errors
WAYS: dict[str, tuple[str, Callable[[str], dict[str, str]]]] = {
    "sign in": ("/auth/login", lambda email: {"email": email, "password": "a-wrong-password"}),
    "forget": ("/auth/forgot-password", lambda email: {"email": email}),
    "register": ("/auth/register", lambda email: {"email": email, "name": "Any", "password": PASSWORD}),
    "confirm again": ("/auth/resend-verification", lambda email: {"email": email}),
}


@pytest.fixture
def unlimited(app: Flask, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Anybody may register, and nobody waits."""
    before = current_settings()
    use_settings(before.model_copy(update={"registration": "open"}))
    forget_values()
    for name in ("PER_PAIR", "PER_DEVICE", "PER_ADDRESS", "PER_ACCOUNT", "MAILS"):
        monkeypatch.setattr(attempts, name, 10**6)
    yield
    use_settings(before)
    forget_values()


def chance_of_longer(first: list[float], second: list[float]) -> float:
    """That one of the first takes longer than one of the second (Mann and Whitney, 1947)."""
    ranked = sorted([(seconds, 0) for seconds in first] + [(seconds, 1) for seconds in second])
    ranks = sum(rank for rank, (_, side) in enumerate(ranked, 1) if side == 0)
    return (ranks - len(first) * (len(first) + 1) / 2) / (len(first) * len(second))


@pytest.mark.chaos
@pytest.mark.usefixtures("unlimited")
@pytest.mark.parametrize("way", WAYS)
def test_the_time_of_an_answer_does_not_tell_whether_there_is_an_account(
    client: FlaskClient, member: Actor, way: str
) -> None:
    path, fields = WAYS[way]
    took: dict[bool, list[float]] = {True: [], False: []}
    order = [True, False] * (ROUNDS + 10)
    random.Random(way).shuffle(order)
    for number, known in enumerate(order):
        email = member.email if known else "nobody@harbour.example"
        began = time.perf_counter()
        client.post(f"/api/v1{path}", json=fields(email))
        if number >= 20:  # the first warm up
            took[known].append(time.perf_counter() - began)
    chance = chance_of_longer(took[True], took[False])
    print(f"{way}: a known address takes longer than an unknown one with a chance of {chance:.3f}")
    assert abs(chance - 0.5) < APART


def test_the_measure_tells_what_takes_longer_from_what_does_not() -> None:
    draw = random.Random(26)
    same = [draw.gauss(10, 2) for _ in range(ROUNDS)]
    assert abs(chance_of_longer(same, [draw.gauss(10, 2) for _ in range(ROUNDS)]) - 0.5) < APART
    assert chance_of_longer([draw.gauss(11, 2) for _ in range(ROUNDS)], same) > 0.5 + APART
