"""Housekeeping."""

from tasks.actors import Result, job
from webapp.services import blobs
from webapp.services.jobs import StartedJob


@job("upkeep.sweep_blobs")
def sweep_blobs(_: StartedJob) -> Result:
    return {"removed": blobs.sweep_blobs()}
