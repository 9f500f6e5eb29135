"""The page on which a file is described and tagged."""

from dataclasses import replace
from uuid import UUID

from flask import flash, redirect, render_template, request, url_for
from flask_babel import gettext as _

from webapp.errors import Invalid, Stale
from webapp.http.conditional import expected_version
from webapp.http.guard import current_actor
from webapp.http.inputs import OPENED, read_form
from webapp.http.merges import Choice, choice, merge_page
from webapp.http.placing import FILE, Page
from webapp.http.rows import crumbs_to, form_of
from webapp.services.descriptions import Description, join_tags, split_tags
from webapp.services.files import FileChange, FileView


def describe_form(file_id: UUID, error: Invalid | None = None) -> str:
    """The form, with what was typed and what is wrong with it."""
    actor = current_actor()
    file = FILE.see(actor, file_id)
    return render_template(
        "files/describe.html", file=file, tags=join_tags(file.tags), form=form_of(error),
        breadcrumbs=crumbs_to(actor, file.folder_id, file.name), back_url=_page(file_id),
    )  # fmt: skip


def describe(file_id: UUID) -> Page:
    """Describe it; a stale form meets the merge page, a refused text the form again."""
    actor = current_actor()
    before = FILE.see(actor, file_id)
    try:
        FILE.change(actor, file_id, _wish(read_form(Description), before), expected_version())
    except Stale:
        saved = FILE.show(actor, file_id)
        return merge_page(saved.name, FILE.address("describe", file_id), saved.version, _page(file_id), _choices(saved))
    except Invalid as error:
        return describe_form(file_id, error), error.status
    flash(_("Saved."), "success")
    return redirect(_page(file_id))


def _wish(typed: Description, before: FileView) -> FileChange:
    wish: dict[str, object] = {}
    if "description" in typed.model_fields_set:
        wish["description"] = typed.description or ""
    # A line that nobody touched changes no tag, even where programs put a comma into one.
    if "tags" in typed.model_fields_set and (typed.tags or "") != join_tags(before.tags):
        wish["tags"] = split_tags(typed.tags or "")
    return FileChange.model_validate(wish)


def _choices(saved: FileView) -> list[Choice]:
    text = choice("description", _("Description"), saved.description)
    opened = request.form.get(OPENED + "description")
    text = replace(
        text, yours=text.yours.replace("\r\n", "\n"), opened=None if opened is None else opened.replace("\r\n", "\n")
    )
    return [text, choice("tags", _("Tags"), join_tags(saved.tags))]


def _page(file_id: UUID) -> str:
    return url_for("files_pages.show_file", file_id=file_id)
