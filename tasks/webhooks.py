"""What webhooks are owed."""

from tasks.actors import Result, job
from webapp.services import dispatches
from webapp.services.jobs import StartedJob


@job("webhooks.deliver")
def deliver(started: StartedJob) -> Result:
    return dispatches.deliver(started)
