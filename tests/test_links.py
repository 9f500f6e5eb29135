"""Public links as strangers meet them: what they show, what they count, what they never tell."""

import io
import re
import zipfile
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

import pytest
from flask import Flask
from PIL import Image
from sqlalchemy import func, select, update
from werkzeug.test import TestResponse

from tests.conftest import csrf_of
from tests.letters import ordered
from tests.test_shares import happened, in_days, link
from tests.vault import Vault, differences, good, problem
from webapp.db import db
from webapp.infra.clock import now
from webapp.models.files import FileVersion
from webapp.models.shares import Share, ShareVisit
from webapp.models.users import User
from webapp.services.endings import warn_of_ends
from webapp.services.settings import in_force

TEXT = b"0123456789" * 100


class Stranger:
    """A browser without an account."""

    def __init__(self, app: Flask, address: str = "203.0.113.7") -> None:
        self.app, self.client, self.address = app, app.test_client(), address

    def get(self, path: str, **headers: str) -> TestResponse:
        return self.open("GET", path, headers=headers)

    def open(self, method: str, path: str, **options: Any) -> TestResponse:
        with self.app.app_context():
            return self.client.open(path, method=method, environ_overrides={"REMOTE_ADDR": self.address}, buffered=True,
                                    **options)  # fmt: skip

    def post(self, path: str, page: str, **data: Any) -> TestResponse:
        return self.open("POST", path, data={"csrf_token": csrf_of(self.get(page).text), **data})


@pytest.fixture
def visitor(app: Flask) -> Stranger:
    return Stranger(app)


def path_of(share: Any) -> str:
    return "/s/" + share["url"].rsplit("/", 1)[1]


def content_of(share: Any, file: Any) -> str:
    return f"{path_of(share)}/files/{file['id']}/content"


def test_a_stranger_sees_and_downloads_a_file(vault: Vault, visitor: Stranger) -> None:
    file = vault.upload("plan.txt", TEXT)
    share = link(vault, file_id=file["id"], label="As promised")
    page = good(visitor.get(path_of(share)))
    assert ("plan.txt" in page.text, "As promised" in page.text, vault.actor.email in page.text) == (True, True, False)
    got = good(visitor.get(content_of(share, file)))
    assert got.data == TEXT
    assert got.headers["Content-Disposition"].startswith("attachment")
    for answer in (page, got, visitor.get("/s/nothing")):
        assert answer.headers["Cache-Control"] == "no-store"
        assert answer.headers["Referrer-Policy"] == "no-referrer"
        assert "noindex" in answer.headers["X-Robots-Tag"]
    assert vault.get(f"/shares/{share['id']}")["downloads"] == 1
    visits = vault.get(f"/shares/{share['id']}/visits")["items"]
    assert [(v["what"], v["name"], v["address"]) for v in visits] == [
        ("downloaded", "plan.txt", "203.0.113.7"), ("opened", None, "203.0.113.7")
    ]  # fmt: skip
    assert happened() == ["share.created", "share.opened", "share.downloaded"]


def test_a_folder_is_walked_inside_and_never_above(vault: Vault, visitor: Stranger) -> None:
    top = vault.folder("Secret top")["id"]
    shared = vault.folder("Shared", top)["id"]
    inner = vault.folder("Inner", shared)["id"]
    inside = vault.upload("inside.txt", b"in", folder_id=inner)
    above = vault.upload("above.txt", b"up", folder_id=top)
    share = link(vault, folder_id=shared)
    here = path_of(share)
    page = good(visitor.get(here)).text
    assert ("Inner" in page, "Secret top" in page) == (True, False)
    page = good(visitor.get(f"{here}/folders/{inner}")).text
    assert ("inside.txt" in page, "Shared" in page, "Secret top" in page) == (True, True, False)
    assert "Secret top" not in good(visitor.get(f"{here}/files/{inside['id']}")).text
    assert good(visitor.get(content_of(share, inside))).data == b"in"
    for path in (f"folders/{top}", f"files/{above['id']}", f"files/{above['id']}/content",
                 f"files/{above['id']}/thumbnail", f"folders/{above['id']}"):  # fmt: skip
        answer = visitor.get(f"{here}/{path}")
        assert answer.status_code == 404, path
        assert "above.txt" not in answer.text
    whole = good(visitor.get(f"{here}/folders/{shared}/archive"))
    assert zipfile.ZipFile(io.BytesIO(whole.data)).namelist()[-1].endswith("inside.txt")
    assert vault.get(f"/shares/{share['id']}")["downloads"] == 2
    assert visitor.get(f"{here}/folders/{top}/archive").status_code == 404
    good(vault.change(f"/folders/{inner}", parent_id=top))
    assert visitor.get(content_of(share, inside)).status_code == 404, "moved away is no longer shared"


def test_a_file_link_shows_nothing_else(vault: Vault, visitor: Stranger) -> None:
    file, other = vault.upload("one.txt"), vault.upload("two.txt", b"two")
    share = link(vault, file_id=file["id"])
    folder = vault.folder("Mine")["id"]
    for path in (f"files/{other['id']}", f"files/{other['id']}/content", f"folders/{folder}"):
        assert visitor.get(f"{path_of(share)}/{path}").status_code == 404


def test_a_password_is_asked_for_and_changing_it_locks_again(vault: Vault, visitor: Stranger) -> None:
    file = vault.upload("plan.txt", TEXT)
    share = link(vault, file_id=file["id"], password="tell nobody")
    here = path_of(share)
    page = good(visitor.get(here)).text
    assert ("plan.txt" in page, vault.actor.name in page) == (False, False)
    locked = visitor.get(content_of(share, file))
    assert (locked.status_code, locked.headers["Location"]) == (303, here)
    wrong = visitor.post(f"{here}/password", here, password="tell somebody")
    assert wrong.status_code == 422
    assert visitor.post(f"{here}/password", here, password="tell nobody").status_code == 303
    assert "plan.txt" in good(visitor.get(here)).text
    assert good(visitor.get(content_of(share, file))).data == TEXT
    other = link(vault, file_id=file["id"], password="another one")
    assert "plan.txt" not in good(visitor.get(path_of(other))).text
    good(vault.change(f"/shares/{share['id']}", password="something new"))
    assert "plan.txt" not in good(visitor.get(here)).text
    assert "share.refused" in happened()


def test_guessing_the_password_is_slowed_down(vault: Vault, visitor: Stranger, app: Flask) -> None:
    share = link(vault, file_id=vault.upload()["id"], password="tell nobody")
    here = path_of(share)
    answers = [visitor.post(f"{here}/password", here, password=f"guess {n}").status_code for n in range(11)]
    assert answers == [422] * 10 + [429]
    assert visitor.post(f"{here}/password", here, password="tell nobody").status_code == 429
    elsewhere = Stranger(app, "198.51.100.9")
    assert elsewhere.post(f"{here}/password", here, password="tell nobody").status_code == 303


def test_unknown_revoked_and_powerless_links_look_alike(vault: Vault, visitor: Stranger) -> None:
    file = vault.upload("plan.txt")
    shares = [link(vault, file_id=file["id"]) for _ in range(2)]
    good(vault.call("POST", f"/shares/{shares[0]['id']}/revocation"))
    good(vault.call("DELETE", f"/shares/{shares[1]['id']}"), 204)
    paths = ["/s/nothing", "/s/" + "A" * 24, path_of(shares[0]), path_of(shares[1])]
    pages = []
    for path in paths:
        answer = visitor.get(path)
        assert answer.status_code == 404
        pages.append(re.sub(r'[0-9a-f-]{32,36}|nonce="[^"]*"', "", answer.text))
    assert len(set(pages)) == 1
    assert "plan.txt" not in pages[0]
    good(vault.call("POST", f"/shares/{shares[0]['id']}/restoration"))
    good(visitor.get(paths[2]))


def test_guesses_of_links_are_limited_and_good_links_still_open(vault: Vault, visitor: Stranger) -> None:
    share = link(vault, file_id=vault.upload()["id"])
    answers = [visitor.get(f"/s/guess{n}").status_code for n in range(32)]
    assert answers == [404] * 30 + [429] * 2
    good(visitor.get(path_of(share)))


def test_expired_and_used_up_links_say_so(vault: Vault, visitor: Stranger) -> None:
    file = vault.upload("plan.txt")
    used = link(vault, file_id=file["id"], download_limit=1)
    good(visitor.get(content_of(used, file)))
    for path in (path_of(used), content_of(used, file)):
        answer = visitor.get(path)
        assert (answer.status_code, "as often as it may" in answer.text, "plan.txt" in answer.text) == (
            410,
            True,
            False,
        )
    over = link(vault, file_id=file["id"], expires_at=in_days(1))
    expire(over)
    answer = visitor.get(path_of(over))
    assert (answer.status_code, "is over" in answer.text, "plan.txt" in answer.text) == (410, True, False)
    assert visitor.get(content_of(over, file)).status_code == 410


def expire(share: Any) -> None:
    with db.engine.begin() as connection:
        connection.execute(update(Share.__table__).values(expires_at=now() - timedelta(minutes=1)))


@pytest.mark.parametrize("how", ["suspended", "deleted", "ungranted", "trashed", "role"])
def test_a_link_does_no_more_than_its_maker_may(
    vault: Vault, other_vault: Vault, visitor: Stranger, how: str, app: Flask
) -> None:
    folder = vault.folder("Theirs")["id"]
    file = vault.upload("plan.txt", folder_id=folder)
    wish = {"email": other_vault.actor.email, "level": "manager"}
    good(vault.call("PUT", f"/folders/{folder}/grants", json=wish))
    share = link(other_vault, file_id=file["id"])
    good(visitor.get(path_of(share)))
    if how == "ungranted":
        good(vault.call("PUT", f"/folders/{folder}/grants", json={**wish, "level": "editor"}))
    elif how == "trashed":
        good(vault.call("DELETE", f"/files/{file['id']}"), 204)
    elif how == "role":
        from webapp.models.users import UserRole

        with db.engine.begin() as connection:
            mine = UserRole.user_id == other_vault.actor.id
            connection.execute(update(UserRole.__table__).where(mine).values(role="guest"))
    else:
        column = "suspended_at" if how == "suspended" else "deleted_at"
        with db.engine.begin() as connection:
            connection.execute(update(User.__table__).where(User.id == other_vault.actor.id).values({column: now()}))
    for path in (path_of(share), content_of(share, file)):
        answer = visitor.get(path)
        assert (answer.status_code, "plan.txt" in answer.text) == (404, False)


def test_of_many_downloads_at_once_exactly_as_many_as_allowed_come_through(vault: Vault, app: Flask) -> None:
    file = vault.upload("plan.txt", TEXT)
    share = link(vault, file_id=file["id"], download_limit=5)

    def fetch(number: int) -> int:
        return Stranger(app, f"203.0.113.{number}").get(content_of(share, file)).status_code

    with ThreadPoolExecutor(8) as pool:
        statuses = sorted(pool.map(fetch, range(1, 21)))
    assert statuses == [200] * 5 + [410] * 15
    assert vault.get(f"/shares/{share['id']}")["downloads"] == 5
    assert len([v for v in vault.every(f"/shares/{share['id']}/visits") if v["what"] == "downloaded"]) == 5


def test_head_304_and_the_rest_of_a_download_count_nothing(vault: Vault, app: Flask, visitor: Stranger) -> None:
    file = vault.upload("plan.txt", TEXT)
    share = link(vault, file_id=file["id"], download_limit=2)
    path = content_of(share, file)

    def count() -> int:
        downloads: int = vault.get(f"/shares/{share['id']}")["downloads"]
        return downloads

    assert visitor.open("HEAD", path).headers["Content-Length"] == "1000"
    assert visitor.get(path, **{"If-None-Match": f'"{file["sha256"]}"'}).status_code == 304
    assert visitor.get(path, Range="bytes=5000-").status_code == 416
    assert count() == 0
    first = visitor.get(path, Range="bytes=0-99")
    assert (first.status_code, count()) == (206, 1)
    for start in range(100, 1000, 100):
        assert visitor.get(path, Range=f"bytes={start}-{start + 99}").data == TEXT[start : start + 100]
    assert count() == 1
    other = Stranger(app, "198.51.100.9")
    assert (other.get(path, Range="bytes=100-").status_code, count()) == (206, 2), (
        "who began nothing goes on with nothing"
    )
    assert visitor.get(path, Range="bytes=500-").status_code == 206, "the last download may be finished"
    assert visitor.get(path).status_code == 410
    stale = visitor.get(path, **{"Range": "bytes=500-", "If-Range": '"another"'})
    assert stale.status_code == 410, "the whole again is a download"
    codes = [visitor.get(path, Range="bytes=1-").status_code for _ in range(45)]
    assert codes[:35] == [206] * 35
    assert codes[-1] == 410, "nobody goes on for ever"


def test_a_folder_of_files_is_handed_in_and_nothing_of_it_seen(vault: Vault, visitor: Stranger, app: Flask) -> None:
    folder = vault.folder("Inbox")["id"]
    mine = vault.upload("report.txt", b"mine", folder_id=folder)
    share = link(vault, folder_id=folder, upload_only=True)
    here = path_of(share)
    page = good(visitor.get(here)).text
    assert ("report.txt" in page, "Inbox" in page, vault.actor.name in page) == (False, False, True)
    for path in (f"folders/{folder}", f"files/{mine['id']}", f"files/{mine['id']}/content"):
        assert visitor.get(f"{here}/{path}").status_code == 404
    sent = visitor.open("POST", f"{here}/files", data={
        "csrf_token": csrf_of(page), "folder_id": "elsewhere", "name": "other",
        "file": [(io.BytesIO(b"theirs"), "report.txt"), (io.BytesIO(b"more"), "more.txt")]})  # fmt: skip
    assert (sent.status_code, sent.headers["Location"]) == (303, here)
    told = visitor.get(here).text
    assert ("2 files have arrived" in told, "report (1)" in told) == (True, False)
    stored = {f["name"]: f for f in vault.get("/files", query_string={"folder_id": folder})["items"]}
    assert set(stored) == {"report.txt", "report (1).txt", "more.txt"}
    assert vault.content(stored["report (1).txt"]["id"]).data == b"theirs"
    authors = select(func.count()).select_from(FileVersion).where(FileVersion.author_id.is_(None))
    assert db.session.scalar(authors) == 2
    db.session.rollback()
    names = [v["name"] for v in vault.get(f"/shares/{share['id']}/visits")["items"] if v["what"] == "uploaded"]
    assert names == ["more.txt", "report.txt"]
    assert differences() == []


def test_what_cannot_be_handed_in_is_refused(vault: Vault, visitor: Stranger) -> None:
    folder = vault.folder("Inbox")["id"]
    share = link(vault, folder_id=folder, upload_only=True)
    here = path_of(share)
    token = csrf_of(visitor.get(here).text)
    part = [(io.BytesIO(b"x"), "x.txt")]
    assert visitor.open("POST", f"{here}/files", data={"csrf_token": "wrong", "file": part}).status_code == 403
    assert (
        visitor.open(
            "POST", f"{here}/files", data={"csrf_token": token}, content_type="multipart/form-data"
        ).status_code
        == 422
    )
    bad = [(io.BytesIO(b"x"), "a\x01b.txt")]
    assert visitor.open("POST", f"{here}/files", data={"csrf_token": token, "file": bad}).status_code == 422
    limit_to(vault, 10)
    big = [(io.BytesIO(b"x" * 100), "big.txt")]
    assert visitor.open("POST", f"{here}/files", data={"csrf_token": token, "file": big}).status_code == 413
    plain = link(vault, folder_id=folder)
    part = [(io.BytesIO(b"x"), "x.txt")]
    assert visitor.open("POST", f"{path_of(plain)}/files", data={"csrf_token": token, "file": part}).status_code == 403
    assert vault.get("/files")["items"] == []
    assert differences() == []


def limit_to(vault: Vault, size: int) -> None:
    from webapp.models.users import Quota

    with db.engine.begin() as connection:
        connection.execute(update(Quota).where(Quota.user_id == vault.actor.id).values(byte_limit=size))


def test_looking_only_gives_no_bytes(vault: Vault, visitor: Stranger) -> None:
    file = vault.upload("plan.txt", TEXT)
    share = link(vault, file_id=file["id"], view_only=True)
    page = good(visitor.get(path_of(share))).text
    assert ("plan.txt" in page, "/content" in page) == (True, False)
    assert visitor.get(content_of(share, file)).status_code == 403


def test_opening_again_within_an_hour_is_one_opening(vault: Vault, visitor: Stranger) -> None:
    share = link(vault, file_id=vault.upload()["id"])
    for _ in range(3):
        good(visitor.get(path_of(share)))
    assert [v["what"] for v in vault.get(f"/shares/{share['id']}/visits")["items"]] == ["opened"]


def test_the_visits_of_a_link_go_with_it_and_are_its_makers(
    vault: Vault, other_vault: Vault, visitor: Stranger
) -> None:
    file = vault.upload()
    share = link(vault, file_id=file["id"])
    good(visitor.get(path_of(share)))
    assert other_vault.call("GET", f"/shares/{share['id']}/visits").status_code == 404
    good(vault.call("DELETE", f"/files/{file['id']}"), 204)
    assert vault.get(f"/shares/{share['id']}")["state"] == "gone"
    with db.engine.begin() as connection:
        from sqlalchemy import delete

        connection.execute(delete(Share.__table__))
        assert connection.execute(select(func.count()).select_from(ShareVisit)).scalar() == 0


ADA = "ada@elsewhere.example"


def code_of(email: str) -> str:
    """The code of the newest mail to this address."""
    codes: list[str] = [order.variables["code"] for order in ordered() if order.to.email == email]
    return codes[-1]


def ask_code(visitor: Stranger, here: str, email: str) -> str:
    """Ask for a code; returns the ticket of the form."""
    page = good(visitor.post(f"{here}/codes", here, email=email)).text
    found = re.search(r'name="ticket" value="([^"]+)"', page)
    assert found
    assert email not in page
    return found[1]


def test_a_recipient_comes_in_by_a_mailed_code_once(vault: Vault, app: Flask, visitor: Stranger) -> None:
    file = vault.upload("plan.txt", TEXT)
    share = link(vault, file_id=file["id"], recipients=[ADA, "Bo@elsewhere.example"])
    here = path_of(share)
    assert "plan.txt" not in good(visitor.get(here)).text
    ticket = ask_code(visitor, here, "ADA@elsewhere.example")
    code = code_of(ADA)
    assert re.fullmatch("[0-9]{6}", code)
    wrong = visitor.post(f"{here}/code", here, ticket=ticket, code=f"{(int(code) + 1) % 10**6:06d}")
    assert wrong.status_code == 422
    assert visitor.post(f"{here}/code", here, ticket=ticket, code=f"{code[:3]} {code[3:]}").status_code == 303
    good(visitor.get(content_of(share, file)))
    again = Stranger(app, "198.51.100.9")
    assert again.post(f"{here}/code", here, ticket=ticket, code=code).status_code == 410
    assert [(v["what"], v["recipient"]) for v in vault.get(f"/shares/{share['id']}/visits")["items"]] == [
        ("downloaded", ADA), ("refused", None)
    ]  # fmt: skip
    good(vault.change(f"/shares/{share['id']}", recipients=["bo@elsewhere.example"]))
    assert "plan.txt" not in good(visitor.get(here)).text, "no longer one of them"


def test_unknown_addresses_hear_the_same_and_no_code_opens(vault: Vault, visitor: Stranger) -> None:
    share = link(vault, file_id=vault.upload("plan.txt")["id"], recipients=[ADA])
    here = path_of(share)
    pages = []
    for email in (ADA, "nobody@elsewhere.example"):
        page = good(visitor.post(f"{here}/codes", here, email=email)).text
        pages.append(re.sub(r'[0-9a-f-]{32,36}|nonce="[^"]*"|name="(csrf_token|ticket)" value="[^"]*"', "", page))
    assert pages[0] == pages[1]
    assert [order.to.email for order in ordered() if order.template == "link_code"] == [ADA]
    ticket = ask_code(visitor, here, "nobody@elsewhere.example")
    statuses = [visitor.post(f"{here}/code", here, ticket=ticket, code=code_of(ADA)).status_code for _ in range(7)]
    assert statuses == [422] * 5 + [410] * 2


def test_strangers_have_three_mails_sent_to_an_address_and_no_more(vault: Vault, visitor: Stranger) -> None:
    here = path_of(link(vault, file_id=vault.upload()["id"], recipients=[ADA]))
    for _ in range(5):
        ask_code(visitor, here, ADA)
    assert len([order for order in ordered() if order.template == "link_code"]) == 3


def test_tickets_of_other_links_and_made_up_ones_open_nothing(vault: Vault, visitor: Stranger) -> None:
    file = vault.upload()["id"]
    one, two = (path_of(link(vault, file_id=file, recipients=[ADA])) for _ in range(2))
    ticket = ask_code(visitor, one, ADA)
    for wrong in (ticket + "x", "x", ""):
        assert visitor.post(f"{one}/code", one, ticket=wrong, code="123456").status_code in {410, 422}
    assert visitor.post(f"{two}/code", two, ticket=ticket, code=code_of(ADA)).status_code == 410


def photo(size: tuple[int, int] = (400, 300)) -> bytes:
    """A JPEG that lies on its side and says where it was taken."""
    exif = Image.Exif()
    exif[0x0112] = 6
    exif[0x010F] = "Harbour Cameras"
    exif.get_ifd(0x8825)[1] = "N"
    file = io.BytesIO()
    Image.new("RGB", size, (200, 30, 30)).save(file, "JPEG", exif=exif)
    return file.getvalue()


def test_pictures_come_without_what_they_tell_besides(vault: Vault, visitor: Stranger) -> None:
    data = photo()
    assert b"Harbour Cameras" in data
    file = vault.upload("quay.jpg", data)
    share = link(vault, file_id=file["id"], strip_metadata=True)
    got = good(visitor.get(content_of(share, file)))
    assert b"Harbour Cameras" not in got.data
    picture = Image.open(io.BytesIO(got.data))
    assert (picture.format, picture.size, dict(picture.getexif())) == ("JPEG", (300, 400), {})
    part = visitor.get(content_of(share, file), Range="bytes=100-199")
    assert (part.status_code, part.data) == (206, got.data[100:200])
    assert vault.content(file["id"]).data == data, "the original stays"
    text = vault.upload("plan.txt", TEXT)
    plain = link(vault, file_id=text["id"], strip_metadata=True)
    assert good(visitor.get(content_of(plain, text))).data == TEXT


@pytest.mark.parametrize(
    ("name", "data"), [("broken.jpg", photo()[:300]), ("raw.svg", b"<svg xmlns='http://www.w3.org/2000/svg'/>")]
)
def test_a_picture_that_cannot_be_cleaned_is_not_given_away(
    vault: Vault, visitor: Stranger, name: str, data: bytes
) -> None:
    file = vault.upload(name, data)
    share = link(vault, file_id=file["id"], strip_metadata=True)
    assert visitor.get(content_of(share, file)).status_code == 409
    assert vault.get(f"/shares/{share['id']}")["downloads"] == 0


def test_who_made_a_link_is_warned_of_its_end_once(vault: Vault) -> None:
    file = vault.upload("plan.txt")["id"]
    soon, _brief, _late = (link(vault, file_id=file, expires_at=in_days(days)) for days in (9, 2, 30))
    assert warn_of_ends() == 0
    with db.engine.begin() as connection:  # nine days pass for one of them, but two
        early = Share.__table__.c.uuid == UUID(soon["id"])
        times = {"created_at": now() - timedelta(days=7), "expires_at": now() + timedelta(days=2), "warned_at": None}
        connection.execute(update(Share.__table__).where(early).values(times))
    assert (warn_of_ends(), warn_of_ends()) == (1, 0)
    assert [(order.to.email, order.variables["name"]) for order in ordered()] == [(vault.actor.email, "plan.txt")]
    assert vault.get(f"/shares/{soon['id']}")["version"] == 1


def test_settings_say_how_long_links_are_good(vault: Vault, monkeypatch: pytest.MonkeyPatch) -> None:
    file = vault.upload()["id"]
    values = in_force()
    told = values.model_copy(update={"link_default_days": 7, "link_most_days": 30})
    monkeypatch.setattr("webapp.services.shares.in_force", lambda: told)
    made = link(vault, file_id=file)
    assert timedelta(days=6, hours=23) < datetime.fromisoformat(made["expires_at"]) - now() < timedelta(days=7)
    for wish in ({"expires_at": None}, {"expires_at": in_days(31)}):
        problem(vault.call("POST", "/shares", json={"file_id": file, **wish}), 422)
        problem(vault.change(f"/shares/{made['id']}", **wish), 422)
    link(vault, file_id=file, expires_at=in_days(29))
