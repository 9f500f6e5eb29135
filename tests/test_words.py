"""Words of templates: escaped where they go into HTML, plain in text, once for each catalogue."""

from functools import partial

import pytest
from flask import Flask, render_template_string


@pytest.mark.parametrize(
    ("source", "shown"),
    [
        ('{{ _("Files & folders") }}', "Files & folders"),
        ('{{ _("Hello %(name)s", name="<b>") }}', "Hello &lt;b&gt;"),
        ('{{ _("90 %% full") }}', "90 % full"),
        ('{{ _("%(num)d %% full", num=7) }}', "7 % full"),
        ('{% autoescape false %}{{ _("Hello %(name)s", name="<b>") }}, {{ _("90 %% full") }}{% endautoescape %}',
         "Hello <b>, 90 % full"),
        ('{{ ngettext("%(num)d file", "%(num)d files", 2) }}', "2 files"),
    ],
)  # fmt: skip
def test_words_are_formatted_and_their_variables_escaped(app: Flask, source: str, shown: str) -> None:
    with app.test_request_context():
        assert [render_template_string(source) for _ in range(2)] == [shown] * 2


def test_each_catalogue_has_its_own_words(app: Flask, monkeypatch: pytest.MonkeyPatch) -> None:
    class Catalogue:
        def __init__(self, language: str) -> None:
            self.language = language

        def ugettext(self, text: str) -> str:
            return f"{text} ({self.language})"

    english, german = Catalogue("en"), Catalogue("de")
    for catalogue in (english, german, english):
        monkeypatch.setattr("webapp.http.words.get_translations", partial(lambda present: present, catalogue))
        with app.test_request_context():
            assert render_template_string('{{ _("Files") }}') == f"Files ({catalogue.language})"
