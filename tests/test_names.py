"""Promise 21: names round-trip byte for byte and never escape; how they compare and sort."""

import unicodedata
from urllib.parse import unquote

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from werkzeug.http import parse_options_header

from tests.naughty import KEPT, REFUSED
from tests.vault import Vault, good, problem, quoted, traces
from webapp.errors import Invalid
from webapp.http.downloads import disposition
from webapp.services.names import MAX_BYTES, check_name, name_key, next_free, sibling_prefix, sort_key

anything = st.text(st.characters(), max_size=300)


def test_names_come_back_byte_for_byte_from_upload_list_download_and_rename(vault: Vault) -> None:
    folder, inside = vault.folder("upper"), vault.folder("inside")
    ids = {}
    for name in KEPT:
        file = vault.upload(name, b"x")
        assert file["name"] == name
        assert name_in(good(vault.content(file["id"])).headers["Content-Disposition"]) == name
        ids[name] = file["id"]
    assert {item["name"]: item["id"] for item in vault.every("/files", limit=50)} == ids
    renamed = vault.upload("between", b"y", folder_id=inside["id"])
    for name in KEPT:
        assert good(vault.change(f"/files/{renamed['id']}", name=name)).json["name"] == name
        assert vault.folder(name, folder["id"])["name"] == name
    found = vault.every("/folders", parent_id=folder["id"])
    assert sorted(item["name"] for item in found) == sorted(KEPT)


def test_names_that_are_paths_or_hide_something_are_refused_everywhere(vault: Vault) -> None:
    file, folder = vault.upload("kept.txt"), vault.folder("Kept")
    before = traces()
    for name in REFUSED:
        problem(vault.try_upload(name, b"x"), (400, 422))
        problem(vault.change(f"/files/{file['id']}", name=name), (400, 422))
        problem(vault.call("POST", "/folders", json={"name": name}), (400, 422))
        problem(vault.change(f"/folders/{folder['id']}", name=name), (400, 422))
    assert traces() == before


def test_255_bytes_are_a_name_and_256_are_not(vault: Vault) -> None:
    longest = "ü" * 125 + "n.txt"
    assert len(longest.encode()) == 255
    assert vault.upload(longest)["name"] == longest
    assert problem(vault.try_upload("ü" * 126 + ".txt", b"x"), 422)["errors"][0]["field"] == "name"
    problem(vault.try_upload("x" * 256, b"x"), 422)
    problem(vault.try_upload("x" * 100_000, b"x"), (413, 414, 422))


@pytest.mark.parametrize("first_form", ["NFC", "NFD"])
def test_composed_and_decomposed_spellings_are_the_same_name(vault: Vault, first_form: str) -> None:
    second_form = {"NFC": "NFD", "NFD": "NFC"}[first_form]
    first, second = (unicodedata.normalize(form, "Übergröße é.txt") for form in (first_form, second_form))  # type: ignore[arg-type]
    assert first != second
    assert vault.upload(first)["name"] == first
    problem(vault.try_upload(second, b"x"), 409, "name_taken")
    problem(vault.call("POST", "/folders", json={"name": second}), 409, "name_taken")
    assert vault.upload(second, conflict="rename")["name"] == second[:-4] + " (1).txt"


def test_names_that_differ_only_in_case_are_two_names(vault: Vault) -> None:
    assert {vault.upload(name)["name"] for name in ("a.txt", "A.txt")} == {"a.txt", "A.txt"}


PATHS = {
    "../x.txt": "x.txt",
    "../../etc/passwd": "passwd",
    "C:\\Users\\mira\\y.txt": "y.txt",
    "\\\\host\\share\\z.txt": "z.txt",
    "..%2fx.txt": "..%2fx.txt",
    "%2e%2e%2fx.txt": "%2e%2e%2fx.txt",
    "/tmp/a b.txt": "a b.txt",
}


def test_of_a_path_in_a_form_only_the_last_part_is_the_name(vault: Vault) -> None:
    for sent, kept in PATHS.items():
        escaped = sent.replace("\\", "\\\\")  # as the quoted-string of the header demands
        assert good(vault.send_form((escaped, b"x")), 201).json["name"] == kept


def test_a_path_without_a_usable_last_part_is_refused(vault: Vault) -> None:
    before = traces()
    for sent in ("..", "../", "a/..", "dir/", "\\", "x/\x01"):
        problem(vault.send_form((sent, b"x")), (400, 422))
    assert traces() == before


@given(anything)
@settings(deadline=None, max_examples=400)
def test_every_text_is_kept_as_it_is_or_refused(name: str) -> None:
    try:
        kept = check_name(name)
    except Invalid as refusal:
        assert refusal.errors[0].field == "name"
        return
    assert kept == name
    assert 0 < len(name.encode()) <= MAX_BYTES
    assert not set(name) & set("/\\\0\n\r")
    assert name not in {".", ".."}
    assert len(name_key(name)) <= 255, "the column holds it"
    assert len(sort_key(name)) <= 400
    header = disposition("attachment", name)
    assert header.isascii()
    assert header.isprintable()
    assert name_in(header) == name


@given(anything.filter(lambda name: name.strip(". ") != ""), st.integers(0, 30))
@settings(deadline=None, max_examples=200)
def test_a_free_name_is_free_and_fits_and_keeps_its_suffix(name: str, count: int) -> None:
    try:
        check_name(name)
    except Invalid:
        return
    taken = {name_key(name)}
    for _ in range(count % 5 + 1):
        free = next_free(name, taken)
        assert name_key(free) not in taken
        assert check_name(free) == free
        assert name_key(free).startswith(sibling_prefix(name)), "else the search for taken names overlooks it"
        taken.add(name_key(free))


@pytest.mark.parametrize(
    ("name", "free"),
    [
        ("report.pdf", "report (1).pdf"),
        ("archive.tar.gz", "archive (1).tar.gz"),
        ("README", "README (1)"),
        (".bashrc", ".bashrc (1)"),
        ("x" * 251 + ".txt", "x" * 247 + " (1).txt"),
        ("é" * 125 + "n.txt", "é" * 123 + " (1).txt"),
    ],
)
def test_the_number_stands_before_the_suffix(name: str, free: str) -> None:
    assert next_free(name, {name_key(name)}) == free


def test_names_sort_as_people_expect() -> None:
    ordered = ["a", "B", "c", "file1", "file2", "File10", "file10b", "file010c", "Straße", "STRASSEN"]
    assert sorted(ordered, key=sort_key) == ordered


def name_in(header: str) -> str:
    """The name a browser would save under: filename* before filename (RFC 6266, 4.3)."""
    kind, options = parse_options_header(header)
    assert kind == "attachment"
    exact = [part for part in header.split("; ") if part.startswith("filename*=UTF-8''")]
    if exact:
        encoded = exact[0].removeprefix("filename*=UTF-8''")
        assert encoded == quoted(unquote(encoded))
        return unquote(encoded)
    return options["filename"]
