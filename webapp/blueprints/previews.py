"""Thumbnails of files."""

from uuid import UUID

from flask import Blueprint, Response, request

from webapp.http.answers import gives
from webapp.http.guard import current_actor, guard
from webapp.http.inputs import takes
from webapp.services.previews import ThumbnailQuery, find_preview

api = Blueprint("previews_api", __name__)


@api.get("/files/<uuid:file_id>/thumbnail")
@guard("files.read", subtree=True)
@takes(query=ThumbnailQuery)
@gives(bytes, errors=(404,))
def show_thumbnail(file_id: UUID, query: ThumbnailQuery) -> Response:
    """A small picture of the file: JPEG or WebP, at most `size` pixels wide and high. 404 while there is none."""
    preview = find_preview(current_actor(), file_id, query.size)
    # A new version has the same address, so the browser asks each time; the answer is a 304 of no bytes.
    headers = {"ETag": f'"{preview.etag}"', "Cache-Control": "private, no-cache"}
    if preview.etag in request.if_none_match:
        return Response(status=304, headers=headers)
    return Response(preview.read(), headers=headers, content_type=preview.mime)
