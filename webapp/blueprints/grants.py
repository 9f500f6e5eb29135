"""Sharing: what is granted on a file or folder, and who has access to it and why; pages and the same for programs."""

from typing import Any
from uuid import UUID

from flask import Blueprint, flash, redirect, url_for
from flask_babel import gettext as _

from webapp.errors import Invalid
from webapp.http.accessrows import access_page
from webapp.http.answers import gives
from webapp.http.conditional import expected_version
from webapp.http.guard import current_actor, guard
from webapp.http.inputs import read_form, read_query, takes
from webapp.http.limiting import limited
from webapp.http.merges import Answer
from webapp.services import audiences, grants
from webapp.services.audiences import AccessFilter, AccessView
from webapp.services.cursors import Page
from webapp.services.grants import Grantee, GrantView, NewGrant, Noun

pages = Blueprint("grants_pages", __name__)
api = Blueprint("grants_api", __name__)


@api.get("/files/<uuid:file_id>/access")
@guard("files.read")
@takes(query=AccessFilter)
@gives(AccessView, errors=(404,))
def show_file_access(query: AccessFilter, file_id: UUID) -> AccessView:
    """Everybody who has access to a file, and why: as owner, by a role, a grant, a group, a folder above."""
    return audiences.show_access(current_actor(), "file", file_id, query)


@api.get("/folders/<uuid:folder_id>/access")
@guard("files.read")
@takes(query=AccessFilter)
@gives(AccessView, errors=(404,))
def show_folder_access(query: AccessFilter, folder_id: UUID) -> AccessView:
    """Everybody who has access to a folder, and why."""
    return audiences.show_access(current_actor(), "folder", folder_id, query)


@api.get("/files/<uuid:file_id>/grants")
@guard("files.share")
@gives(Page[GrantView], errors=(404,))
def list_file_grants(file_id: UUID) -> Page[GrantView]:
    """What is granted on a file itself. For its owner and managers."""
    return grants.list_grants(current_actor(), "file", file_id)


@api.put("/files/<uuid:file_id>/grants")
@guard("files.share")
@limited("sendings")
@takes(NewGrant)
@gives(GrantView, errors=(404, 412))
def put_file_grant(wish: NewGrant, file_id: UUID) -> GrantView:
    """Share a file with a person or a group, or change how. If-Match takes the version of the grant to them."""
    return grants.put_grant(current_actor(), "file", file_id, wish, expected_version())


@api.delete("/files/<uuid:file_id>/grants")
@guard("files.share")
@takes(query=Grantee)
@gives(None, status=204, errors=(404, 412))
def delete_file_grant(query: Grantee, file_id: UUID) -> None:
    """Share a file with this person or group no more; it ends at once."""
    grants.delete_grant(current_actor(), "file", file_id, query, expected_version())


@api.get("/folders/<uuid:folder_id>/grants")
@guard("files.share")
@gives(Page[GrantView], errors=(404,))
def list_folder_grants(folder_id: UUID) -> Page[GrantView]:
    """What is granted on a folder itself. For its owner and managers."""
    return grants.list_grants(current_actor(), "folder", folder_id)


@api.put("/folders/<uuid:folder_id>/grants")
@guard("files.share")
@limited("sendings")
@takes(NewGrant)
@gives(GrantView, errors=(404, 412))
def put_folder_grant(wish: NewGrant, folder_id: UUID) -> GrantView:
    """Share a folder and all in it, or change how. If-Match takes the version of the grant to them."""
    return grants.put_grant(current_actor(), "folder", folder_id, wish, expected_version())


@api.delete("/folders/<uuid:folder_id>/grants")
@guard("files.share")
@takes(query=Grantee)
@gives(None, status=204, errors=(404, 412))
def delete_folder_grant(query: Grantee, folder_id: UUID) -> None:
    """Share a folder with this person or group no more; it ends at once."""
    grants.delete_grant(current_actor(), "folder", folder_id, query, expected_version())


@pages.get("/files/<uuid:file_id>/access", endpoint="show_file_access")
@guard("files.read")
def show_file_access_page(file_id: UUID) -> str:
    """Who has access to a file, and the forms that change it."""
    return access_page(current_actor(), "file", file_id, read_query(AccessFilter))


@pages.get("/folders/<uuid:folder_id>/access", endpoint="show_folder_access")
@guard("files.read")
def show_folder_access_page(folder_id: UUID) -> str:
    """Who has access to a folder, and the forms that change it."""
    return access_page(current_actor(), "folder", folder_id, read_query(AccessFilter))


@pages.post("/files/<uuid:file_id>/grants", endpoint="put_file_grant")
@guard("files.share")
@limited("sendings")
def put_file_grant_page(file_id: UUID) -> Answer:
    """Share it."""
    return _put("file", file_id)


@pages.post("/folders/<uuid:folder_id>/grants", endpoint="put_folder_grant")
@guard("files.share")
@limited("sendings")
def put_folder_grant_page(folder_id: UUID) -> Answer:
    """Share it and all in it."""
    return _put("folder", folder_id)


@pages.post("/files/<uuid:file_id>/grants/removal", endpoint="delete_file_grant")
@guard("files.share")
def delete_file_grant_page(file_id: UUID) -> Answer:
    """Share it no more."""
    return _delete("file", file_id)


@pages.post("/folders/<uuid:folder_id>/grants/removal", endpoint="delete_folder_grant")
@guard("files.share")
def delete_folder_grant_page(folder_id: UUID) -> Answer:
    """Share it no more."""
    return _delete("folder", folder_id)


def _put(noun: Noun, thing_id: UUID) -> Answer:
    actor = current_actor()
    try:
        grant = grants.put_grant(actor, noun, thing_id, read_form(NewGrant))
    except Invalid as error:
        return access_page(actor, noun, thing_id, AccessFilter(), error), error.status
    flash(_("Shared with %(name)s.", name=grant.name), "success")
    return _back(noun, thing_id)


def _delete(noun: Noun, thing_id: UUID) -> Answer:
    grants.delete_grant(current_actor(), noun, thing_id, read_form(Grantee))
    flash(_("Shared with them no more."), "success")
    return _back(noun, thing_id)


def _back(noun: Noun, thing_id: UUID) -> Answer:
    values: dict[str, Any] = {f"{noun}_id": thing_id}
    return redirect(url_for(f"grants_pages.show_{noun}_access", **values))
