"""When a form meets something that was changed meanwhile: opened, theirs, yours are compared field by field.

What only one of the two changed is taken without a question; what both did is asked on a page.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import cast

from flask import current_app, flash, redirect, render_template, request
from flask_babel import gettext as _
from werkzeug.datastructures import ImmutableMultiDict, MultiDict
from werkzeug.wrappers import Response

from webapp.http.inputs import ENVELOPE, OPENED

Answer = Response | tuple[str, int]


@dataclass(frozen=True, slots=True)
class Choice:
    """One field: what is saved now and what was typed, as the form spells them; `words` is how people read either.

    `opened` is what the person saw when they began; None where the form does not say: then both may have changed it.
    """

    name: str
    label: str
    theirs: str
    yours: str
    opened: str | None
    words: Callable[[str], str] = str

    @property
    def asked(self) -> bool:
        """Whether both changed it, and differently."""
        return self.theirs != self.yours and self.opened not in (self.theirs, self.yours)

    @property
    def merged(self) -> str:
        """What to save where nothing is to be asked."""
        return self.theirs if self.yours == self.opened else self.yours


def choice(
    name: str, label: str, theirs: object, words: Callable[[str], str] = str, yours: str | None = None
) -> Choice:
    """The choice of one field of the posted form; `yours` where several of its fields make one."""
    typed = request.form.get(name, "") if yours is None else yours
    return Choice(name, label, "" if theirs is None else str(theirs), typed, request.form.get(OPENED + name), words)


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
    """409 with what both changed, to choose; sent again, it carries the newest version. Where there is nothing to
    choose, what the person changed is saved on top of theirs.

    `deed` names what has no fields (removing, pausing): it is asked whether to do it all the same, with `danger` where
    it cannot be undone.
    """
    present = [each for each in choices if each.name in request.form]
    asked = [each for each in present if each.asked]
    merged = {each.name: each.merged for each in present if not each.asked}
    theirs = {each.name: each.theirs for each in present}
    if not asked and deed is None:
        if merged == theirs:
            flash(_("Saved."), "success")
            return redirect(back_url)
        if "If-Match" not in request.headers:  # which would name the old version again
            return _post_again(merged, theirs, version)
    names = ENVELOPE | {each.name for each in present} | {OPENED + each.name for each in present}
    kept = [(name, value) for name, values in request.form.lists() if name not in names for value in values]
    page = render_template(
        "conflict.html", title=title, choices=asked, kept=[*kept, *merged.items()], theirs=theirs, deed=deed,
        danger=danger, action=action, version=version, back_url=back_url,
    )  # fmt: skip
    return page, 409


def _post_again(merged: Mapping[str, str], theirs: Mapping[str, str], version: int) -> Answer:
    """Answer as if the person had opened the newest version and made their changes there."""
    form = MultiDict(request.form)
    for name, value in {**merged, "version": str(version), **{OPENED + n: v for n, v in theirs.items()}}.items():
        form.setlist(name, [value])
    request.form = ImmutableMultiDict(form)
    answer = cast("Answer", current_app.view_functions[request.endpoint or ""](**request.view_args or {}))
    if isinstance(answer, Response):
        flash(_("Somebody else had saved something, too. Both changes stand."), "info")
    return answer
