"""Times as people read them."""

from datetime import UTC, datetime, timedelta

import pytest
from flask import Flask

from webapp.http.formats import ago, on_day
from webapp.infra.clock import now


@pytest.mark.parametrize(
    ("seconds", "words"),
    [(4, "just now"), (30, "30 seconds ago"), (59.8, "1 minute ago"), (68, "1 minute ago"), (100, "2 minutes ago"),
     (3500, "58 minutes ago"), (3590, "1 hour ago"), (86_000, "1 day ago"), (86_400 * 6, "6 days ago"),
     (-4, "just now"), (-68, "in 1 minute"), (-7200, "in 2 hours")],
)  # fmt: skip
def test_a_span_is_told_in_the_unit_in_which_people_think(app: Flask, seconds: float, words: str) -> None:
    with app.test_request_context():
        assert ago(now() - timedelta(seconds=seconds)) == words


def test_a_day_is_told_with_its_weekday(app: Flask) -> None:
    with app.test_request_context(headers={"Accept-Language": "en"}):
        assert on_day(datetime(2026, 11, 30, 7, tzinfo=UTC)).startswith("Mon, Nov 30, 2026, 7:00")
