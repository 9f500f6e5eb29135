"""A scheduler process: fires at the same instants as its twins, as often as they."""

from datetime import datetime, timedelta
from multiprocessing.synchronize import Barrier
from pathlib import Path

import pytest

from tasks.application import make_app
from tests.conftest import make_settings
from webapp.db import db
from webapp.errors import Unavailable
from webapp.infra.ids import release_node
from webapp.services import firings

HANG = 60  # seconds


def fire_together(url: str, var_dir: str, together: Barrier, start: datetime, rounds: int) -> None:
    """In every round: wait for all, then fire what is due at that round's minute, each minute one."""
    app = make_app(make_settings(Path(var_dir), DATABASE_URL=url))
    with app.app_context(), pytest.MonkeyPatch.context() as patch:
        for number in range(rounds):
            moment = start + timedelta(minutes=number)
            patch.setattr(firings, "present", lambda moment=moment: moment)
            together.wait(HANG)
            fire_all(moment)
            together.wait(HANG)  # the test ends the jobs of this round before the next begins
        release_node()
        db.session.remove()
        db.engine.dispose()


def fire_all(moment: datetime) -> None:
    """As the relay does: again and again until nothing is due, whoever fired it."""
    while True:
        try:
            if firings.fire_due() > 0:
                return
        except Unavailable:  # SQLite's only writer was somebody else for too long
            continue
