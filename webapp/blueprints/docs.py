"""The description of the API: for programs as OpenAPI 3.1, for people as Swagger UI."""

import hashlib

from flask import Blueprint, Response, current_app, render_template, request, url_for

from webapp.http.answers import encode
from webapp.http.guard import public
from webapp.http.openapi import document_of

pages = Blueprint("docs_pages", __name__)
api = Blueprint("docs_api", __name__)


@pages.get("/api/docs")
@public
def show_docs() -> str:
    """Swagger UI on the document."""
    return render_template("api_docs.html", openapi_url=url_for("docs_api.show_document"))


@api.get("/openapi.json")
@public
def show_document() -> Response:
    """Every operation with inputs, outputs, errors and permission."""
    body, tag = _document()
    answer = Response(body, content_type="application/json", headers={"Cache-Control": "public, max-age=60"})
    answer.set_etag(tag)
    answer.make_conditional(request)
    return answer


def _document() -> tuple[bytes, str]:
    """Made at the first question; the views of a process do not change."""
    known: tuple[bytes, str] | None = current_app.extensions.get("holdfast.openapi")
    if known is None:
        body = encode(document_of(current_app))
        known = current_app.extensions["holdfast.openapi"] = body, hashlib.sha256(body).hexdigest()[:16]
    return known
