"""Time travel: a folder or the whole account as it was at an instant, and going back to it."""

from uuid import UUID

from flask import Blueprint, Response, flash, redirect, url_for
from flask_babel import gettext as _

from webapp.errors import Conflict, Invalid
from webapp.http.answers import gives
from webapp.http.guard import current_actor, guard
from webapp.http.inputs import read_form, read_query, takes
from webapp.http.pastrows import HistoryForm, HistoryQuery, history_page, instant_of, told
from webapp.services import pasts, restorations
from webapp.services.cursors import Page
from webapp.services.pasts import PastQuery, PastView
from webapp.services.restorations import Restoration, RestorationView

pages = Blueprint("restorations_pages", __name__)
api = Blueprint("restorations_api", __name__)


@api.get("/past")
@guard("files.read")
@takes(query=PastQuery)
@gives(Page[PastView])
def list_past(query: PastQuery) -> Page[PastView]:
    """What lay at the top of one's files at an instant."""
    return pasts.list_past(current_actor(), None, query)


@api.get("/folders/<uuid:folder_id>/past")
@guard("files.read", subtree=True)
@takes(query=PastQuery)
@gives(Page[PastView], errors=(404,))
def list_folder_past(folder_id: UUID, query: PastQuery) -> Page[PastView]:
    """What lay in a folder at an instant, for its owner and managers."""
    return pasts.list_past(current_actor(), folder_id, query)


@api.post("/restorations")
@guard("files.write")
@takes(Restoration)
@gives(RestorationView, errors=(404, 409), keyed=True)
def restore_tree(wish: Restoration) -> RestorationView:
    """Bring a folder or the whole account back to an instant; `preview` says what that would change.

    Items made since go to the trash. What was removed for good is named and does not come back. Beyond 1,000 changes
    a job makes them. To undo it, go back to `undo_at`.
    """
    return restorations.restore_tree(current_actor(), wish)


@pages.get("/history")
@guard("files.write")
def show_history() -> str:
    """Choose an instant, look at what there was, see what going back would change."""
    return history_page(current_actor(), read_query(HistoryQuery))


@pages.post("/history", endpoint="restore_tree")
@guard("files.write")
def restore_tree_page() -> Response | str | tuple[str, int]:
    """Go back; the message on the next page undoes it."""
    form = read_form(HistoryForm)
    try:
        wish = Restoration(folder_id=form.folder_id, at=instant_of(form.at))
        told(restorations.restore_tree(current_actor(), wish), form.folder_id)
    except (Conflict, Invalid) as error:
        flash(_(error.errors[0].message if error.errors else error.detail), "error")
        return redirect(url_for(".show_history", folder_id=form.folder_id, at=form.at))  # type: ignore[return-value]
    if form.folder_id:
        return redirect(url_for("folders_pages.show_folder", folder_id=form.folder_id))  # type: ignore[return-value]
    return redirect(url_for("files_pages.list_files"))  # type: ignore[return-value]
