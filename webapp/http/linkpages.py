"""The pages around mailed links: one that says a mail is on its way, one for a link that is over."""

from flask import render_template

from webapp.errors import Gone


def sent_page(email: str, words: str, again: str) -> str:
    """Look into your mailbox; the same page for every address. `again` takes the address once more."""
    return render_template("auth/sent.html", email=email, words=words, again=again)


def over_page(error: Gone, url: str, text: str) -> tuple[str, int]:
    """410, with what can be done instead."""
    return render_template("auth/over.html", title=error.title, words=error.detail, url=url, text=text), error.status
