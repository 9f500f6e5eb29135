"""Jobs about keys."""

from tasks.actors import Result, job
from webapp.services import keys
from webapp.services.jobs import StartedJob


@job("keys.rotate")
def rotate_keys(started: StartedJob) -> Result:
    return {**keys.rotate_keys(started)}
