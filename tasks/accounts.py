"""Accounts: what takes longer than a person waits."""

from tasks.actors import Result, job
from webapp.services import exports
from webapp.services.jobs import StartedJob


@job("accounts.export")
def make_export(started: StartedJob) -> Result:
    return {**exports.make_export(started)}
