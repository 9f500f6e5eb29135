"""Archives: several files and whole folders, downloaded as one zip."""

from typing import Any
from uuid import UUID

from flask import Blueprint, Response

from webapp.http.answers import gives
from webapp.http.downloads import send_archive
from webapp.http.guard import current_actor, guard
from webapp.http.inputs import read_form, takes
from webapp.http.limiting import limited
from webapp.services import archives
from webapp.services.archives import NewArchive

pages = Blueprint("archives_pages", __name__)
api = Blueprint("archives_api", __name__)
ZIP: dict[str, Any] = {"responses": {"200": {"content": {"application/zip": {"schema": {}}}}}}


@api.get("/folders/<uuid:folder_id>/archive")
@guard("files.read", subtree=True)
@limited("downloads")
@gives(errors=(404, 413), extra=ZIP)
def download_folder(folder_id: UUID) -> Response:
    """Download a folder with all that is in it as a zip.

    Files whose stored bytes are damaged are left out and named in a text file inside.
    """
    return send_archive(archives.open_folder(current_actor(), folder_id))


@api.post("/archives")
@guard("files.read", subtree=True)
@limited("downloads")
@takes(NewArchive)
@gives(errors=(404, 413), extra=ZIP)
def download_several(wish: NewArchive) -> Response:
    """Download several files and folders as one zip; nothing is stored."""
    return send_archive(archives.open_archive(current_actor(), wish))


@pages.get("/folders/<uuid:folder_id>/archive", endpoint="download_folder")
@guard("files.read")
@limited("downloads")
def download_folder_page(folder_id: UUID) -> Response:
    """The same from a page."""
    return send_archive(archives.open_folder(current_actor(), folder_id))


@pages.post("/archives", endpoint="download_several")
@guard("files.read")
@limited("downloads")
def download_several_page() -> Response:
    """What is selected, by a form: a browser saves its answer as it comes."""
    return send_archive(archives.open_archive(current_actor(), read_form(NewArchive)))
