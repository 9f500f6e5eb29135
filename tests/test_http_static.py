"""Assets: cached for ever under the address with their hash, fresh after a restart."""

import gzip
from pathlib import Path

import pytest
from flask import Flask

from webapp.http.static import serve_static


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "css").mkdir()
    (tmp_path / "css" / "app.css").write_text("a{}" * 100)
    (tmp_path / "css" / "app.css.gz").write_bytes(gzip.compress(b"a{}" * 100))
    (tmp_path / "icon").write_bytes(b"x")
    (tmp_path / ".hidden").write_text("secret")
    return tmp_path


def serve(folder: Path) -> Flask:
    app = Flask("static", static_folder=None)
    serve_static(app, folder)
    return app


def test_a_hashed_address_is_cached_for_ever(folder: Path) -> None:
    app = serve(folder)
    address = app.jinja_env.globals["static_url"]("css/app.css")
    assert address.startswith("/static/css/app.")
    answer = app.test_client().get(address, buffered=True)
    assert answer.text == "a{}" * 100
    assert "immutable" in answer.headers["Cache-Control"]
    assert answer.headers["X-Content-Type-Options"] == "nosniff"


def test_the_plain_address_is_asked_again(folder: Path) -> None:
    client = serve(folder).test_client()
    answer = client.get("/static/css/app.css", buffered=True)
    assert answer.headers["Cache-Control"] == "max-age=60, public"
    assert (
        client.get("/static/css/app.css", buffered=True, headers={"If-None-Match": answer.headers["ETag"]}).status_code
        == 304
    )


def test_a_compressed_twin_is_sent_to_those_who_take_it(folder: Path) -> None:
    app = serve(folder)
    for address in ("/static/css/app.css", app.jinja_env.globals["static_url"]("css/app.css")):
        answer = app.test_client().get(address, buffered=True, headers={"Accept-Encoding": "gzip"})
        assert answer.headers["Content-Encoding"] == "gzip"
        assert gzip.decompress(answer.data) == b"a{}" * 100


def test_a_changed_file_has_another_address_after_a_restart(folder: Path) -> None:
    before = serve(folder).jinja_env.globals["static_url"]("css/app.css")
    (folder / "css" / "app.css").write_text("b{}")
    (folder / "css" / "app.css.gz").unlink()
    app = serve(folder)
    after = app.jinja_env.globals["static_url"]("css/app.css")
    assert before != after
    assert app.test_client().get(after, buffered=True).text == "b{}"
    assert app.test_client().get(before, buffered=True).status_code == 404


def test_what_is_not_there_is_not_found(folder: Path) -> None:
    app = serve(folder)
    assert app.jinja_env.globals["static_url"]("js/none.js") == "/static/js/none.js"
    for path in (
        "/static/js/none.js",
        "/static/.hidden",
        "/static/css/",
        "/static/../test_http_static.py",
        "/static/css/app.css.gz",
    ):
        assert app.test_client().get(path, buffered=True).status_code == 404, path


def test_a_file_without_extension_and_a_missing_folder(folder: Path, tmp_path: Path) -> None:
    app = serve(folder)
    assert app.test_client().get(app.jinja_env.globals["static_url"]("icon"), buffered=True).data == b"x"
    assert serve(tmp_path / "none").test_client().get("/static/x", buffered=True).status_code == 404
