"""Uploads that come in parts and go on after a cut: a tus 1.0.0 server. Files page and programs use it alike."""

from uuid import UUID

import msgspec
from flask import Blueprint, Response, request, url_for

from webapp.errors import Conflict
from webapp.http import tus
from webapp.http.answers import answer, created, gives
from webapp.http.guard import current_actor, guard
from webapp.http.repetitions import once
from webapp.http.uploads import prove_sender, refusals_heard
from webapp.policies import Actor
from webapp.services import uploads
from webapp.services.uploads import NewUpload, UploadView

api = Blueprint("uploads_api", __name__)
api.after_request(tus.announce)


@api.post("/uploads")
@guard("files.write", upload=True, subtree=True)
@gives(UploadView, status=201, errors=(400, 404, 409, 411, 413, 415, 423, 507), repeats=True, extra=tus.BEGINS)
def create_upload() -> Response:
    """Begin an upload of `Upload-Length` bytes; a body is its first part.

    `Upload-Metadata` says `filename`, and may say `folder_id`, `relativePath` (folders in it are made below that
    folder) and `conflict`: `refuse` (by default), `rename` or `replace`.
    """
    tus.check_version()
    prove_sender(None)
    actor, told, wish, length = current_actor(), tus.told_metadata(), tus.told_wish(), tus.told_length()
    with refusals_heard():
        response = once(f"{length}\0{told}".encode(), lambda: _create(actor, wish, length, told))
        upload = msgspec.json.decode(response.get_data(), type=UploadView)
        if length == 0:
            upload = uploads.measure_upload(actor, upload.id)
        elif request.content_length or "Transfer-Encoding" in request.headers:
            upload = _first_part(upload)
    return tus.with_headers(response, upload)


def _create(actor: Actor, wish: NewUpload, length: int, told: str) -> Response:
    upload = uploads.create_upload(actor, wish, length, told)
    return answer(created(upload, url_for("uploads_api.show_upload", upload_id=upload.id)))


def _first_part(upload: UploadView) -> UploadView:
    """Its body, unless this repeats a request whose body came already."""
    size, pieces, checksum = tus.told_size(), tus.body(), tus.told_checksum()
    try:
        return uploads.write_upload(current_actor(), upload.id, 0, size, pieces, checksum)
    except Conflict as error:
        if error.code != "offset":
            raise
        return uploads.show_upload(current_actor(), upload.id)


@api.get("/uploads/<uuid:upload_id>")
@guard("files.write", subtree=True)
@gives(UploadView, errors=(404, 410))
def show_upload(upload_id: UUID) -> Response:
    """How far an upload is. HEAD asks the disk, and makes an upload that has all its bytes its file."""
    if request.method == "GET":
        upload = uploads.show_upload(current_actor(), upload_id)
    else:
        tus.check_version()
        upload = uploads.measure_upload(current_actor(), upload_id)
    response = tus.with_headers(answer(upload), upload)
    response.headers["Upload-Length"] = str(upload.length)
    if upload.metadata:
        response.headers["Upload-Metadata"] = upload.metadata
    return response


@api.patch("/uploads/<uuid:upload_id>")
@guard("files.write", upload=True, subtree=True)
@gives(None, status=204, errors=(400, 404, 409, 410, 411, 413, 415, 423, 507), extra=tus.GOES_ON)
def write_upload(upload_id: UUID) -> Response:
    """Append the body at `Upload-Offset`; the last part makes the file, whose id comes in `Upload-File`.

    `Upload-Checksum` (sha1 or sha256) is checked before anything of the part is kept.
    """
    tus.check_version()
    with refusals_heard():
        offset, size, pieces, checksum = tus.told_offset(), tus.told_size(), tus.body(), tus.told_checksum()
        upload = uploads.write_upload(current_actor(), upload_id, offset, size, pieces, checksum)
    return tus.with_headers(answer(None), upload)


@api.delete("/uploads/<uuid:upload_id>")
@guard("files.write", subtree=True)
@gives(None, status=204, errors=(404, 410, 423), extra=tus.SPOKEN)
def delete_upload(upload_id: UUID) -> None:
    """Cancel an upload. What has become a file stays one."""
    tus.check_version()
    uploads.delete_upload(current_actor(), upload_id)
