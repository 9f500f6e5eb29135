"""How long a job waited and ran, as people read it."""

from datetime import UTC, datetime, timedelta

import pytest
from flask import Flask

from webapp.http.jobrows import span

START = datetime(2026, 11, 1, 12, tzinfo=UTC)


@pytest.mark.parametrize(
    ("seconds", "text"), [(0, "0 ms"), (0.25, "250 ms"), (1, "1 s"), (119, "119 s"), (120, "2 min"), (7200, "2 hours")]
)
def test_a_span_of_time_is_shown_in_the_unit_that_fits_it(app: Flask, seconds: float, text: str) -> None:
    with app.test_request_context():
        assert span(START, START + timedelta(seconds=seconds)) == text


def test_a_span_without_an_end_or_with_clocks_that_disagree_is_left_empty(app: Flask) -> None:
    with app.test_request_context():
        assert span(START, None) == span(None, START) == span(START, START - timedelta(seconds=1)) == ""
