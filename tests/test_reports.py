"""Errors reach Sentry only where somebody asked for it, and without anybody's data."""

import json
from pathlib import Path
from typing import Any

import pytest
import sentry_sdk

from webapp.infra import reports
from webapp.infra.reports import report, scrub, start_reports

from .conftest import make_settings
from .plumbing import make_app


@pytest.fixture
def sent(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> list[Any]:
    """What would have left the machine."""
    events: list[Any] = []

    class Caught(sentry_sdk.Transport):
        def capture_envelope(self, envelope: Any) -> None:
            events.append(envelope.get_event())

    real = sentry_sdk.init
    monkeypatch.setattr(sentry_sdk, "init", lambda **options: real(transport=Caught, **options))
    monkeypatch.setattr(reports, "_started", False)
    return events


def test_without_a_dsn_nothing_is_started(tmp_path: Path, sent: list[Any]) -> None:
    start_reports(make_settings(tmp_path))
    report(ValueError("x"))
    assert sent == []


def test_a_bug_is_reported_once_and_without_personal_data(tmp_path: Path, sent: list[Any]) -> None:
    app = make_app(tmp_path, SENTRY_DSN="http://key@127.0.0.1:9/1")
    client = app.test_client()
    client.get(
        "/api/v1/failures/bug?email=pia@harbour.example",
        headers={"Cookie": "session=s3cr3t", "Authorization": "Bearer s3cr3t"},
    )
    client.get("/api/v1/failures/missing")
    (event,) = sent
    text = json.dumps(event, default=str)
    assert event["exception"]["values"][0]["type"] == "RuntimeError"
    assert "s3cr3t" not in text
    assert "harbour.example" not in text
    assert "request" not in event
    assert "vars" not in text


def test_scrubbing_masks_addresses_wherever_they_stand() -> None:
    event = {"user": {"ip": "1.2.3.4"}, "request": {"data": "x"}, "breadcrumbs": [1], "extra": {"a": 1},
             "message": "no pia@harbour.example here", "tags": [("who", "pia@harbour.example")]}  # fmt: skip
    assert scrub(event) == {"message": "no [e-mail] here", "tags": [["who", "[e-mail]"]]}
