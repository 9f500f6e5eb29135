"""What is done to a file's content after an upload."""

from tasks.actors import job
from webapp.services import inspections, previews
from webapp.services.jobs import StartedJob


@job("files.sniff")
def sniff_file(started: StartedJob) -> None:
    inspections.sniff_file(started)


@job("files.verify")
def verify_file(started: StartedJob) -> None:
    inspections.verify_file(started)


@job("files.thumbnail")
def make_previews(started: StartedJob) -> None:
    previews.make_previews(started)
