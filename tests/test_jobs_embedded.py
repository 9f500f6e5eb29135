"""The embedded runtime as a process that is stopped and killed: nothing is lost by a restart."""

import signal
from collections.abc import Iterator
from pathlib import Path

import pytest
from flask import Flask

from tests.conftest import need
from tests.faults.fixtures import effects, jobs_side, kinds, queue, row_of, states
from tests.faults.processes import EMBEDDED, Program
from tests.servers import wait_until

pytestmark = pytest.mark.usefixtures("kinds")
__all__ = ["kinds"]


@pytest.fixture(params=["sqlite", "postgresql"])
def environment(request: pytest.FixtureRequest, tmp_path: Path) -> dict[str, str]:
    if request.param == "sqlite":
        return {"VAR_DIR": str(tmp_path / "var")}
    need("postgresql")
    return {"VAR_DIR": str(tmp_path / "var"), "DATABASE_URL": request.getfixturevalue("postgres_url")}


@pytest.fixture
def side(environment: dict[str, str]) -> Iterator[Flask]:
    """The test's own view of the database, as a web process would have it."""
    with jobs_side(Path(environment["VAR_DIR"]), **{k: v for k, v in environment.items() if k != "VAR_DIR"}) as app:
        yield app


@pytest.fixture
def embedded(side: Flask, environment: dict[str, str], tmp_path: Path) -> Iterator[type[Program]]:
    """Starts the runtime; what still runs ends with the test."""
    started: list[Program] = []

    class Embedded(Program):
        def __init__(self) -> None:
            super().__init__(EMBEDDED, tmp_path / f"{len(started)}.log", **environment)
            started.append(self)
            self.wait_for("ready")

    yield Embedded
    for program in started:
        program.__exit__()


def test_jobs_run_in_the_one_process(embedded: type[Program]) -> None:
    early = queue("test.effect", 5)
    embedded()
    late = queue("test.effect", 5)
    wait_until(lambda: states() == {"done": 10}, 30)
    assert effects() == dict.fromkeys(early + late, 1)


def test_a_process_killed_in_the_middle_of_its_jobs_loses_none(embedded: type[Program], tmp_path: Path) -> None:
    log = tmp_path / "starts"
    slow = queue("test.slow", 2, seconds=3, log=str(log))
    waiting = queue("test.effect", 20)
    first = embedded()
    wait_until(
        lambda: log.exists() and len(log.read_text().split()) == 2, 30, about="both to work, not only to be given"
    )
    first.stop(signal.SIGKILL)
    assert states() == {"running": 2, "queued": 20}
    embedded()
    wait_until(lambda: states() == {"done": 22}, 40)
    assert effects() == dict.fromkeys(slow + waiting, 1)
    assert {row_of(job).attempts for job in slow} == {2}
    assert {row_of(job).attempts for job in waiting} == {1}, "what only waited used up no attempt"
    assert len(log.read_text().split()) == 4


def test_a_process_asked_to_stop_finishes_what_runs_and_leaves_the_rest(embedded: type[Program]) -> None:
    slow = queue("test.slow", 2, seconds=1.5)
    first = embedded()
    wait_until(lambda: states().get("running") == 2, 30)
    waiting = queue("test.slow", 3, seconds=0.1)
    assert first.stop() == 0, first.text
    assert {row_of(job).state for job in slow} == {"done"}
    assert states().get("running") is None
    embedded()
    wait_until(lambda: states() == {"done": 5}, 30)
    assert effects() == dict.fromkeys(slow + waiting, 1)


def test_a_second_process_leaves_the_running_jobs_of_the_first_alone(embedded: type[Program], tmp_path: Path) -> None:
    log = tmp_path / "starts"
    slow = queue("test.slow", 2, seconds=4, log=str(log))
    embedded()
    wait_until(lambda: states().get("running") == 2, 30)
    embedded()
    wait_until(lambda: states() == {"done": 2}, 30)
    assert len(log.read_text().split()) == 2
    assert effects() == dict.fromkeys(slow, 1)


def test_a_job_that_kills_the_process_is_parked_though_the_process_comes_back(
    embedded: type[Program], side: Flask
) -> None:
    (poison,) = queue("test.poison")
    others = queue("test.effect", 5)
    program = embedded()
    while states() != {"dead": 1, "done": 5}:
        wait_until(lambda: program.ended or states() == {"dead": 1, "done": 5}, 30)  # noqa: B023
        if program.ended:
            program = embedded()
    assert row_of(poison).attempts == 3
    assert effects() == dict.fromkeys(others, 1)
