"""Imports: a stored zip is unpacked into a folder, by a job."""

from flask import Blueprint, flash, redirect, url_for
from flask_babel import gettext as _
from werkzeug.wrappers import Response

from webapp.http.answers import gives
from webapp.http.guard import current_actor, guard
from webapp.http.inputs import read_form, takes
from webapp.services import imports
from webapp.services.imports import ImportView, NewImport

pages = Blueprint("imports_pages", __name__)
api = Blueprint("imports_api", __name__)


@api.post("/imports")
@guard("files.write", subtree=True)
@takes(NewImport)
@gives(ImportView, status=202, errors=(404, 409, 413), keyed=True)
def create_import(wish: NewImport) -> ImportView:
    """Unpack a stored zip into a new folder.

    The zip is looked through first: what is wrong with it is told at once (422). A job then reads every byte, makes the
    folder and fills it; its id is in the answer.
    """
    return imports.create_import(current_actor(), wish)


@pages.post("/imports", endpoint="create_import")
@guard("files.write")
def create_import_page() -> Response:
    """The same from the page of a zip; goes on to the job."""
    ordered = imports.create_import(current_actor(), read_form(NewImport))
    flash(_("The zip is being unpacked into a new folder. This page shows how far it is."), "success")
    return redirect(url_for("jobs_pages.show_job", job_id=ordered.job_id))
