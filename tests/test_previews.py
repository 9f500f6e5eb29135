"""What a file's page shows of it: every kind, for others as for the owner, bounded; nothing of a file runs or loads."""

import io
import re
import time
from collections.abc import Callable
from typing import Any

import pytest
from flask.testing import FlaskClient
from PIL import Image

from samples import documents
from tests.test_grants import share
from tests.vault import Vault, good, problem
from webapp.infra import excerpts, markdown
from webapp.infra.markdown import to_html
from webapp.policies import Actor

Run = Callable[[], int]
Browser = FlaskClient
SLOW = 30.0  # seconds: ten times what is promised, for slow machines
N = 256 * 1024


@pytest.fixture
def browser(vault: Vault, signed_in: Callable[[Actor], Browser]) -> Browser:
    return signed_in(vault.actor)


def shown(browser: Browser, view: Any, query: str = "") -> str:
    """The preview alone, as HTML."""
    page = browser.get(f"/files/{view['id']}{query}")
    assert page.status_code == 200
    found = re.search(r'<section class="panel preview.*?</section>', page.text, re.DOTALL)
    assert found
    return found[0]


# Text, code, tables ---------------------------------------------------------------------------------------------------


def test_text_and_code_are_shown_as_they_are_written_and_code_with_numbers(vault: Vault, browser: Browser) -> None:
    plain = shown(browser, vault.upload("note.txt", b"<b>one</b>\ntwo"))
    assert "&lt;b&gt;one&lt;/b&gt;\ntwo" in plain
    assert "preview-numbers" not in plain
    code = shown(browser, vault.upload("run.py", b"a = 1\n\nb = 2\n"))
    assert re.search(r'preview-numbers" aria-hidden="true">1\n2\n3</pre>', code)


@pytest.mark.parametrize(
    ("name", "data"),
    [
        ("page.html", b"<!doctype html><script>alert(1)</script><img src=x onerror=alert(1)>"),
        ("drawing.svg", b'<svg xmlns="http://www.w3.org/2000/svg" onload="alert(1)"><script>alert(1)</script></svg>'),
        ("sheet.xml", b'<?xml version="1.0"?><?xml-stylesheet href="javascript:alert(1)"?><a>alert(1)</a>'),
        ("app.js", b"alert(1)"),
    ],
)
def test_what_could_run_is_shown_as_code(vault: Vault, browser: Browser, name: str, data: bytes) -> None:
    found = shown(browser, vault.upload(name, data))
    assert "preview-numbers" in found
    assert "alert(1)" in found
    assert "<script" not in found
    assert "<svg xmlns" not in found


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "utf-16-le", "utf-32", "cp1252"])
def test_the_usual_encodings_are_read(encoding: str) -> None:
    text = "Preis;Größe\r\n“Äpfel”;3 €\r\n" * 20
    assert excerpts.decode(text.encode(encoding)) == text
    assert excerpts.decode(text.encode(encoding)[:200])[:90] == text[:90] or encoding.startswith("utf-32")


def test_a_text_that_is_cut_within_a_character_stays_readable() -> None:
    data = ("a" + "ü" * 50).encode()
    assert excerpts.decode(data[:-1]).startswith("aüü")


@pytest.mark.parametrize(
    ("text", "delimiter"),
    [
        ("a,b\n1,2\n", ","), ("a;b\n1,5;2,5\n3,5;4,5\n", ";"), ("a\tb\n1\t2\n", "\t"), ("a|b|c\n1|2|3\n", "|"),
        ('"a;x",b\n"c;y;z",d\n', ","), ("one column\nonly\n", ","), ("", ","),
    ],
)  # fmt: skip
def test_the_delimiter_is_the_one_that_lines_have_equally_often(text: str, delimiter: str) -> None:
    assert excerpts.delimiter_of(text) == delimiter


def test_a_table_is_shown_as_one_and_as_written_on_request(vault: Vault, browser: Browser) -> None:
    view = vault.upload("fish.csv", 'Name;Länge\n<b>Hai</b>;2,5\n"Zwei\nZeilen";\n'.encode("cp1252"))
    table = shown(browser, view)
    assert '<th scope="col">Länge</th>' in table
    assert "<td>&lt;b&gt;Hai&lt;/b&gt;</td>" in table
    assert table.count("<tr>") == 3
    assert "Name;Länge" in shown(browser, view, "?plain=1")


def test_large_tables_and_texts_are_cut_with_a_note(vault: Vault, browser: Browser) -> None:
    wide = "\n".join(",".join("7" * 60) for _ in range(3000))
    table = shown(browser, vault.upload("wide.csv", wide.encode()))
    assert table.count("<tr>") == excerpts.ROWS + 1
    assert table.count("<th ") == excerpts.COLUMNS
    assert "The first 500 rows" in table
    lines = shown(browser, vault.upload("long.py", b"x\n" * 20_000))
    assert "The first 5,000 lines" in lines
    long = shown(browser, vault.upload("long.txt", b"word " * 200_000))
    assert "The first 256 kB" in long
    assert len(long) < 300_000


@pytest.mark.parametrize(
    "data",
    [b"x" * N, b'"' * (N - 1), b'"' + b"x" * N, b"," * N, b'a,"b\n' * 40_000, b"\n" * N, b"\0" * 5000, b"\xff" * N,
     b";,\t|" * 60_000],
)  # fmt: skip
def test_hostile_tables_cost_no_time_and_no_fault(data: bytes) -> None:
    begun = time.monotonic()
    table = excerpts.read_table(excerpts.decode(data), cut=True)
    assert table is None or (len(table.rows) <= excerpts.ROWS and len(table.head) <= excerpts.COLUMNS)
    excerpts.clip(excerpts.decode(data))
    assert time.monotonic() - begun < SLOW / 10


# Markdown -------------------------------------------------------------------------------------------------------------


def test_markdown_is_shown_formatted_and_as_written_on_request(vault: Vault, browser: Browser) -> None:
    view = vault.upload("plan.md", b"# Plan\n\n- *one*\n- [site](https://example.org)\n\n|a|b|\n|-|-|\n|1|2|\n")
    html = shown(browser, view)
    for part in ("<h2>Plan</h2>", "<em>one</em>", '<a href="https://example.org" rel="noopener noreferrer nofollow">',
                 "<td>1</td>"):  # fmt: skip
        assert part in html
    assert "# Plan" in shown(browser, view, "?plain=1")


@pytest.mark.parametrize(
    "text",
    [
        "<script>alert(1)</script>", "<img src=x onerror=alert(1)>", "[x](javascript:alert(1))",
        "[x](JaVaScRiPt&#58;alert(1))", "[x](data:text/html;base64,PHNjcmlwdD4=)", "![x](https://evil.example/pixel.png)",
        "![x](javascript:alert(1))", "<a href='javascript:alert(1)'>x</a>", "[x](/account)", "[x](//evil.example)",
        "[x]: javascript:alert(1)\n\n[x]", "<javascript:alert(1)>", '[x](https://a.example "\\" onmouseover=alert(1)")',
        "```\"><script>alert(1)</script>\nx\n```", "<svg><style><img src=x onerror=alert(1)></style></svg>",
        "<form action=//evil.example><button>x</button></form>", "<iframe srcdoc='<script>1</script>'></iframe>",
        "[x](vbscript:x) <style>*{display:none}</style>", "| a |\n| :-: |\n| b |", "[a](\x01javascript:alert(1))",
    ],
)  # fmt: skip
def test_hostile_markdown_makes_nothing_that_runs_loads_or_leads_into_the_vault(text: str) -> None:
    html = to_html(text)
    assert html is not None
    tags = re.findall(r"<(/?[a-zA-Z0-9]+)([^>]*)>", html)
    assert {name.strip("/") for name, _ in tags} <= {
        "p", "a", "pre", "code", "table", "thead", "tbody", "tr", "th", "td", "em", "br",
    }  # fmt: skip
    for _, inside in tags:
        named = {name for name, _ in re.findall(r'([a-z-]+)="([^"]*)"', inside)}
        assert named <= {"href", "rel", "title"}
    for address in re.findall(r'href="([^"]*)"', html):
        assert address.startswith(("http://", "https://", "mailto:"))


@pytest.mark.parametrize(
    "text",
    ["[" * N, "_*" * (N // 2), "![" * (N // 2), "[a](b" * (N // 5), ">" * N, "`a" * (N // 2), "<" * N,
     "\n".join("  " * depth + "- a" for depth in range(500)), "[a]: b\n" * (N // 7), "x|y\n" * 60_000],
)  # fmt: skip
def test_markdown_made_to_take_minutes_is_given_up(text: str) -> None:
    begun = time.monotonic()
    html = to_html(text[:N])
    assert html is None or len(html) < markdown.MOST
    assert time.monotonic() - begun < SLOW


def test_what_is_too_intricate_is_shown_as_it_is_written(vault: Vault, browser: Browser) -> None:
    found = shown(browser, vault.upload("bomb.md", b"[" * N))
    assert "too intricate" in found
    assert "[[[[" in found


# Pictures and pages ---------------------------------------------------------------------------------------------------


def test_pages_of_a_pdf_are_drawn_one_by_one(vault: Vault, browser: Browser, run_jobs: Run) -> None:
    view = vault.upload("report.pdf", documents.report_pdf("Levels", 3, 3))
    run_jobs()
    first = shown(browser, view)
    assert "thumbnail?size=1024" in first
    pages = int(re.search(r"Page 1 of (\d+)", first)[1])  # type: ignore[index]
    assert pages > 1
    assert 'rel="next"' in first
    assert 'rel="prev"' not in first
    last = shown(browser, view, f"?page={pages + 50}")
    assert f"Page {pages} of {pages}" in last
    assert 'rel="next"' not in last
    address = f"/files/{view['id']}/pages/{pages}"
    answer = good(vault.call("GET", address))
    picture = Image.open(io.BytesIO(answer.data))
    assert max(picture.size) == 1400
    assert vault.call("GET", address, headers={"If-None-Match": answer.headers["ETag"]}).status_code == 304
    for number in (0, pages + 1, 10**9):
        problem(vault.call("GET", f"/files/{view['id']}/pages/{number}"), 404)
    problem(vault.call("GET", f"/files/{vault.upload('a.txt', b'a')['id']}/pages/1"), 409, "no_pages")


def test_a_file_that_cannot_be_drawn_says_why(vault: Vault, browser: Browser, run_jobs: Run) -> None:
    locked = vault.upload("locked.pdf", documents.report_pdf("Levels", 3, 1, "secret"))
    broken = vault.upload("broken.png", b"\x89PNG\r\n\x1a\n" + b"x" * 100)
    assert "no preview yet" in shown(browser, locked)
    run_jobs()
    assert "needs a password" in shown(browser, locked)
    assert "damaged" in shown(browser, broken)


def test_a_failed_step_is_tried_again_from_the_files_page(
    vault: Vault, other_vault: Vault, browser: Browser, run_jobs: Run, signed_in: Callable[[Actor], Browser]
) -> None:
    view = vault.upload("locked.pdf", documents.report_pdf("Levels", 3, 1, "secret"))
    run_jobs()
    page = browser.get(f"/files/{view['id']}").text
    token = re.search(r'name="csrf_token" value="([^"]+)"', page)[1]  # type: ignore[index]
    again, _of_its_text = re.findall(r'<form class="step-again" method="post"\s+action="([^"]+)"', page)
    back = browser.post(again, data={"csrf_token": token, "from": "file"})
    assert (back.status_code, back.location) == (302, f"/files/{view['id']}")
    job = again.split("/")[2]
    assert vault.get(f"/jobs/{job}")["state"] == "queued"
    run_jobs()
    assert good(vault.call("POST", f"/jobs/{job}/replay")).json["state"] == "queued"
    share(vault, f"/files/{view['id']}", other_vault, "manager")
    assert "step-again" not in signed_in(other_vault.actor).get(f"/files/{view['id']}").text
    problem(other_vault.call("POST", f"/jobs/{job}/replay"), 404)


def test_whom_a_file_is_shared_with_sees_the_same(
    vault: Vault, other_vault: Vault, browser: Browser, run_jobs: Run, signed_in: Callable[[Actor], Browser]
) -> None:
    views = [vault.upload("plan.md", b"# Plan"), vault.upload("a.csv", b"a,b\n1,2\n"),
             vault.upload("r.pdf", documents.report_pdf("Levels", 3, 2)), vault.upload("x.py", b"x = 1")]  # fmt: skip
    run_jobs()
    other = signed_in(other_vault.actor)
    for view in views:
        assert other.get(f"/files/{view['id']}").status_code == 404
        share(vault, f"/files/{view['id']}", other_vault)
        assert shown(other, view) == shown(browser, view)
    good(other_vault.call("GET", f"/files/{views[2]['id']}/pages/1"))


@pytest.mark.parametrize("query", ["?page=0", "?page=x", "?page=-1", "?plain=maybe", "?page=99999999999999999999"])
def test_nonsense_in_the_address_is_said_so(vault: Vault, browser: Browser, query: str) -> None:
    view = vault.upload("a.txt", b"a")
    assert browser.get(f"/files/{view['id']}{query}").status_code == 422


# Never inline ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "data"),
    [
        ("a.html", b"<!doctype html><script>1</script>"), ("a.xhtml", b"<html xmlns='http://www.w3.org/1999/xhtml'/>"),
        ("a.svg", b"<svg xmlns='http://www.w3.org/2000/svg'/>"), ("a.xml", b"<?xml version='1.0'?><a/>"),
        ("a.js", b"alert(1)"), ("a.css", b"*{}"), ("a.swf", b"FWS\x06" + b"\0" * 50), ("a.json", b"{}"),
        ("a.eml", b"From: a\nContent-Type: text/html\n\n<script>"),
        ("a.hta", b"<script>1</script>"), ("a.jpg", b"<html><script>1</script></html>"),
        ("a.md", b"<script>1</script>"),
        ("a.csv", b"=cmd|' /C calc'!A0,1\n"), ("a.wasm", b"\0asm\x01\0\0\0"), ("a.exe", b"MZ" + b"\0" * 100),
        ("a.ics", b"BEGIN:VCALENDAR\n"), ("a.vcf", b"BEGIN:VCARD\n"), ("a.zip", b"PK\x05\x06" + b"\0" * 18),
    ],
)  # fmt: skip
def test_dangerous_types_come_as_attachments_in_a_sandbox(vault: Vault, name: str, data: bytes) -> None:
    view = vault.upload(name, data)
    answer = good(vault.call("GET", f"/files/{view['id']}/content?inline=1"))
    assert answer.headers["Content-Disposition"].startswith("attachment")
    assert answer.headers["Content-Security-Policy"] == "default-src 'none'; sandbox"
    assert answer.headers["X-Content-Type-Options"] == "nosniff"
