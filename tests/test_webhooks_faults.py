"""Webhooks while processes and brokers die: at least once, always under the same webhook-id (promises 2, 3 and 5)."""

import os
import secrets
import signal
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from flask import Flask

from tests.conftest import PASSWORD
from tests.faults.fixtures import kinds
from tests.faults.processes import RELAY, WORKER
from tests.receiver import Receiver, receiver
from tests.servers import PrivatePostgres, PrivateRabbit, children_of, wait_until
from tests.test_relay import Start, postgres, rabbit, side, start
from webapp.policies import Actor
from webapp.services import deliveries, fanout, folders, users, webhooks
from webapp.services.deliveries import DeliveryFilter
from webapp.services.folders import NewFolder
from webapp.services.users import NewUser
from webapp.services.webhooks import NewWebhook

pytestmark = [pytest.mark.services, pytest.mark.usefixtures("kinds")]
__all__ = ["kinds", "postgres", "rabbit", "side", "start"]


@pytest.fixture
def environment(rabbit: PrivateRabbit, postgres: PrivatePostgres, tmp_path: Path) -> dict[str, str]:
    """What every process of a test shares."""
    return {"DATABASE_URL": postgres.url, "RABBITMQ_URL": rabbit.url, "VAR_DIR": str(tmp_path / "var"),
            "RABBITMQ_QUEUE_PREFIX": f"t{secrets.token_hex(4)}", "WEBHOOK_ALLOWED_NETWORKS": "127.0.0.0/8"}  # fmt: skip


@pytest.fixture
def ana(side: Flask) -> Actor:
    fanout.forget_filters()
    return users.create_user(None, NewUser(email="ana@h.example", name="Ana", password=PASSWORD), role="admin")


@pytest.fixture
def box() -> Iterator[Receiver]:
    with receiver() as server:
        yield server


@pytest.fixture
def made(ana: Actor, box: Receiver) -> Any:
    return webhooks.create_webhook(ana, NewWebhook(name="Harbour", url=box.url, events=["folder.created"]))


def states(ana: Actor, made: Any) -> list[str]:
    return [each.state for each in deliveries.list_deliveries(ana, made.id, DeliveryFilter(limit=100)).items]


def test_a_worker_killed_between_sending_and_writing_down_sends_again_under_the_same_id(
    ana: Actor,
    made: Any,
    box: Receiver,
    start: Start,
) -> None:
    worker = start(WORKER).wait_for("ready for action")
    start(RELAY).wait_for("relay_started")
    box.answers = ["hang", 200]
    folders.create_folder(ana, NewFolder(name="Survey"))
    wait_until(lambda: box.kept, about="the first attempt")
    for process in children_of(worker.process.pid):
        os.kill(process, signal.SIGKILL)
    worker.stop(signal.SIGKILL)
    start(WORKER).wait_for("ready for action")
    wait_until(lambda: states(ana, made) == ["delivered"], about="the second attempt")
    assert len(box.kept) == 2
    assert len({message.id for message in box.kept}) == 1
    assert all(message.verified(made.secret)["type"] == "folder.created" for message in box.kept)


def test_while_rabbitmq_is_down_deeds_are_quick_and_their_messages_come_later(
    ana: Actor,
    made: Any,
    box: Receiver,
    rabbit: PrivateRabbit,
    start: Start,
) -> None:
    start(WORKER).wait_for("ready for action")
    relay = start(RELAY).wait_for("relay_started")
    rabbit.kill()
    begun = time.monotonic()
    for number in range(20):
        folders.create_folder(ana, NewFolder(name=f"Survey {number}"))
    assert time.monotonic() - begun < 30
    wait_until(lambda: "relay_waits" in relay.text, 30)
    assert box.kept == []
    rabbit.start()
    wait_until(lambda: states(ana, made) == ["delivered"] * 20, 90, about="20 deliveries")
    assert len({message.id for message in box.kept}) == 20
    assert {message.verified(made.secret)["data"]["target"]["name"] for message in box.kept} == {
        f"Survey {number}" for number in range(20)
    }
