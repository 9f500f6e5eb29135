"""Jobs about where and how everything is stored."""

from tasks.actors import Result, job
from webapp.services import moves
from webapp.services.jobs import StartedJob


@job("storage.move")
def move_stored(started: StartedJob) -> Result:
    return {**moves.move_stored(started)}


@job("storage.convert")
def convert_stored(started: StartedJob) -> Result:
    return {**moves.convert_stored(started)}
