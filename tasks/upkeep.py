"""Housekeeping."""

from tasks.actors import Result, job
from webapp.services import blobs, departures, purges, scans, scrubs, seals, upkeep
from webapp.services.jobs import StartedJob


@job("upkeep.sweep_blobs")
def sweep_blobs(_: StartedJob) -> Result:
    return {"removed": blobs.sweep_blobs()}


@job("upkeep.sweep_expired")
def sweep_expired(started: StartedJob) -> Result:
    return {**upkeep.sweep_expired(started)}


@job("upkeep.scrub_blobs")
def scrub_blobs(started: StartedJob) -> Result:
    return {**scrubs.scrub_blobs(started)}


@job("upkeep.scan_blobs")
def scan_blobs(started: StartedJob) -> Result:
    return {**scans.scan_blobs(started)}


@job("upkeep.purge_trash")
def purge_trash(started: StartedJob) -> Result:
    return {**purges.purge_old(started)}


@job("upkeep.empty_trash")
def empty_trash(started: StartedJob) -> Result:
    return {**purges.empty_rest(started)}


@job("upkeep.erase_accounts")
def erase_accounts(started: StartedJob) -> Result:
    return {**departures.erase_accounts(started)}


@job("upkeep.verify_audit")
def verify_audit(started: StartedJob) -> Result:
    return seals.check_nightly(started)
