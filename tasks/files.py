"""What is done to a file's content after an upload."""

from tasks.actors import Result, job
from webapp.services import imports, inspections, previews, restorations, scans, texts
from webapp.services.jobs import StartedJob


@job("files.sniff")
def sniff_file(started: StartedJob) -> Result:
    return inspections.sniff_file(started)


@job("files.verify")
def verify_file(started: StartedJob) -> Result:
    return inspections.verify_file(started)


@job("files.thumbnail")
def make_previews(started: StartedJob) -> Result:
    return previews.make_previews(started)


@job("files.scan")
def scan_file(started: StartedJob) -> Result:
    return scans.scan_file(started)


@job("files.unpack")
def unpack(started: StartedJob) -> Result:
    return imports.unpack(started)


@job("files.rewind")
def rewind_files(started: StartedJob) -> Result:
    return restorations.restore_by_job(started)


@job("files.extract")
def extract_text(started: StartedJob) -> Result:
    return texts.extract_text(started)
