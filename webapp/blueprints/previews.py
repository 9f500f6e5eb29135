"""Thumbnails of files, and pages of PDFs."""

from uuid import UUID

from flask import Blueprint, Response, request

from webapp.http.answers import gives
from webapp.http.guard import current_actor, guard
from webapp.http.inputs import takes
from webapp.http.limiting import limited
from webapp.services.previews import ThumbnailQuery, find_page, find_preview

api = Blueprint("previews_api", __name__)


@api.get("/files/<uuid:file_id>/thumbnail")
@guard("files.read", subtree=True)
@takes(query=ThumbnailQuery)
@gives(bytes, errors=(404, 409, 423))
def show_thumbnail(file_id: UUID, query: ThumbnailQuery) -> Response:
    """A small picture of the file: JPEG or WebP, at most `size` pixels wide and high. 404 while there is none."""
    preview = find_preview(current_actor(), file_id, query.size)
    # A new version has the same address, so the browser asks each time; the answer is a 304 of no bytes.
    headers = {"ETag": f'"{preview.etag}"', "Cache-Control": "private, no-cache"}
    if preview.etag in request.if_none_match:
        return Response(status=304, headers=headers)
    return Response(preview.read(), headers=headers, content_type=preview.mime)


@api.get("/files/<uuid:file_id>/pages/<int:number>")
@guard("files.read", subtree=True)
@limited("downloads")
@gives(bytes, errors=(404, 409, 423))
def show_page(file_id: UUID, number: int) -> Response:
    """A page of a PDF as a picture, from 1: WebP, 1400 pixels at most. 404 for a page that cannot be drawn."""
    page = find_page(current_actor(), file_id, number)
    headers = {"ETag": f'"{page.etag}"', "Cache-Control": "private, no-cache"}
    if page.etag in request.if_none_match:
        return Response(status=304, headers=headers)
    picture = page.draw()
    return Response(picture.data, headers=headers, content_type=picture.mime)
