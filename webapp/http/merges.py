"""The page that a form meets when the thing was changed meanwhile: theirs, yours, to choose field by field."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from flask import flash, redirect, render_template, request
from flask_babel import gettext as _
from werkzeug.wrappers import Response

from webapp.http.inputs import ENVELOPE

Answer = Response | tuple[str, int]


@dataclass(frozen=True, slots=True)
class Choice:
    """One field: what is saved now and what was typed, as the form spells them; `words` is how people read either."""

    name: str
    label: str
    theirs: str
    yours: str
    words: Callable[[str], str] = str


def choice(name: str, label: str, theirs: object, words: Callable[[str], str] = str) -> Choice:
    """The choice of one field of the posted form."""
    return Choice(name, label, "" if theirs is None else str(theirs), request.form.get(name, ""), words)


def merge_page(
    title: str,
    action: str,
    version: int,
    back_url: str,
    choices: Sequence[Choice] = (),
    *,
    deed: str | None = None,
    danger: bool = False,
) -> Answer:
    """409 with the choices that the form posted and that differ; sent again, it carries the newest version.

    `deed` names what has no fields (removing, pausing): it is asked whether to do it all the same, with `danger` where
    it cannot be undone. Where theirs and yours agree there is nothing to choose and nothing to save.
    """
    asked = [each for each in choices if each.name in request.form and each.theirs != each.yours]
    if not asked and deed is None:
        flash(_("Saved."), "success")
        return redirect(back_url)
    names = ENVELOPE | {each.name for each in asked}
    kept = [(name, value) for name, values in request.form.lists() if name not in names for value in values]
    page = render_template(
        "conflict.html", title=title, choices=asked, kept=kept, deed=deed, danger=danger, action=action,
        version=version, back_url=back_url,
    )  # fmt: skip
    return page, 409
