"""Text in stored content: taken out once for each content, by a job, and from then on found by search."""

from sqlalchemy import insert

from webapp.db import db, read_row, transactional
from webapp.infra.clock import now
from webapp.infra.extraction import Extract, Unreadable, extract, is_plain, is_readable
from webapp.infra.sniffing import sniff
from webapp.models.files import Blob, any_locked_blob
from webapp.models.record import any_state
from webapp.models.texts import BlobText, any_text_of, noticed_text
from webapp.services.inspections import Content, Found, Work, find_content, read_bytes
from webapp.services.jobs import Hopeless
from webapp.services.scans import SCAN, is_safe
from webapp.services.stored import read_blob

HEAD = 1024**2  # bytes of plain text that are looked at: more characters than are kept


def extract_text(job: Work) -> Found:
    """Find the text of the content, unless somebody's same content was read before or its type has none.

    What the virus scanner has yet to look at waits: finding it clean queues this job again (services/scans). Raises
    Hopeless, in words for people, when this content cannot be read.
    """
    content = find_content(job)
    state = None if content is None else read_row(any_state(Blob, *SCAN).where(Blob.id == content.blob_id))
    if content is None or state is None or not is_safe(state.scanned_at, state.infected_with, own=False):
        return None
    known = read_row(any_text_of(content.blob_id))
    if known is not None:
        keep_text(job.args["file_id"], content.blob_id, None)
        return {"whole": known.whole}
    return _read(job, content)


def _read(job: Work, content: Content) -> Found:
    # The name's word does not count and the other job may not be through: look at the bytes.
    mime = sniff(content.name, content.size, lambda start, length: read_bytes(content.storage_key, start, length)).mime
    if not is_readable(mime, content.size):
        return None
    job.progress(10)
    length = min(content.size, HEAD) if is_plain(mime) else content.size
    try:
        found = extract(read_blob(content.storage_key, 0, length), mime)
    except Unreadable as error:
        raise Hopeless(str(error)) from error
    job.progress(90)
    found = Extract(found.text, found.whole and length == content.size)
    keep_text(job.args["file_id"], content.blob_id, found)
    return {"characters": len(found.text), "whole": found.whole}


@transactional
def keep_text(file_id: int, blob_id: int, found: Extract | None) -> None:
    """Keep the text unless a twin has; have the index look at the file, which may have come while another was read."""
    if db.session.scalar(any_locked_blob(blob_id)) is None:
        return
    if found is not None and db.session.execute(any_text_of(blob_id)).first() is None:
        row = {"blob_id": blob_id, "text": found.text, "whole": found.whole, "created_at": now()}
        db.session.execute(insert(BlobText).values(row))
    db.session.execute(noticed_text(file_id))
