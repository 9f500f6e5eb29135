"""How bytes lie: encrypted with a key each or plain with marks, and what happens to those that somebody changed."""

import hashlib
import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from flask import Flask
from pydantic import SecretStr
from sqlalchemy import LargeBinary, literal, select, update

from tests.vault import Vault, differences, disk, good, problem, stored_keys
from webapp.config import current_settings, use_settings
from webapp.db import db, transaction
from webapp.errors import DamagedContent, Unavailable
from webapp.infra.crypto import sealed_column
from webapp.infra.drafts import LocalDraft, is_sealed
from webapp.infra.segments import MARKED, SEALED, TAG
from webapp.infra.storage import store
from webapp.models.audit import AuditEntry
from webapp.models.files import Blob
from webapp.models.stored import StoredObject
from webapp.services import keys, scrubs
from webapp.services.blobs import read_blob, sweep_blobs
from webapp.services.stored import drop_draft, handed_over, hold_draft, keep_draft, reopen_draft

SIZES = (0, 1, SEALED - 1, SEALED, SEALED + 1, MARKED - 1, MARKED, MARKED + 1, 3 * MARKED + 5)
SECRET = b"nobody reads this on the disk"


class Quiet:
    """A job that nobody watches."""

    def progress(self, percent: float) -> None: ...


@pytest.fixture(autouse=True)
def settings_back(app: Flask) -> Iterator[None]:
    before = current_settings()
    yield
    use_settings(before)


def using(**values: Any) -> None:
    use_settings(current_settings().model_copy(update=values))


@pytest.fixture(params=["plain", "sealed"])
def mode(request: pytest.FixtureRequest, settings_back: None) -> str:
    """Encrypted, or plain and checked on the way out."""
    using(encrypt_files=request.param == "sealed", verify_downloads=True)
    return str(request.param)


@pytest.fixture
def sealed(settings_back: None) -> None:
    using(encrypt_files=True)


def noise(size: int) -> bytes:
    return os.urandom(size)


def stored(data: bytes) -> str:
    with transaction(), store().draft() as draft:
        draft.write(data)
        return keep_draft(draft)


def key_of(view: Any) -> str:
    with db.engine.connect() as connection:
        chosen = select(Blob.storage_key).where(Blob.sha256 == view["sha256"])
        return str(connection.execute(chosen).scalar_one())


def path_of(view: Any) -> Path:
    return Path(disk().path(key_of(view)))


def take_all(key: str, into: bytearray) -> None:
    for piece in read_blob(key):
        into += piece


def events() -> list[str]:
    db.session.rollback()
    return list(db.session.scalars(select(AuditEntry.event).order_by(AuditEntry.id)))


# Whole ----------------------------------------------------------------------------------------------------------------


def test_every_size_and_every_part_comes_back(mode: str, vault: Vault) -> None:
    for size in SIZES:
        data = noise(size)
        key = stored(data)
        assert is_sealed(key) is (mode == "sealed")
        assert b"".join(read_blob(key)) == data
        for start in {0, 1, SEALED - 1, SEALED, MARKED, MARKED + 1, size - 1, size, size + 5}:
            for length in (0, 1, 2, SEALED, MARKED + 1, None):
                if start >= 0:
                    wanted = data[start:] if length is None else data[start : start + length]
                    assert b"".join(read_blob(key, start, length)) == wanted, (size, start, length)


def test_a_range_over_http_is_the_same_part(mode: str, vault: Vault) -> None:
    data = noise(MARKED + 1000)
    view = vault.upload("a.bin", data)
    assert good(vault.content(view["id"])).data == data
    part = good(vault.content(view["id"], Range=f"bytes={SEALED - 5}-{SEALED + 4}"), 206)
    assert part.data == data[SEALED - 5 : SEALED + 5]
    assert good(vault.content(view["id"], Range="bytes=-3"), 206).data == data[-3:]


def test_nothing_plain_is_on_the_disk_at_any_time_and_no_name_tells_the_content(sealed: None, vault: Vault) -> None:
    data = SECRET * 40_000
    with store().draft() as draft:
        draft.write(data)
        assert SECRET not in draft.path.read_bytes()
        hold_draft(draft)
    every = [path for path in disk().root.rglob("*") if path.is_file()]
    assert len(every) == 2
    assert not any(SECRET[:8] in path.read_bytes() for path in every)
    drop_draft(draft.place)
    view = vault.upload("a.txt", data)
    assert not any(SECRET[:8] in (disk().root / key).read_bytes() for key in stored_keys())
    assert view["sha256"] not in "".join(stored_keys())


def test_the_same_content_is_stored_once_however_it_lies(vault: Vault) -> None:
    first = vault.upload("plain.txt", b"the same")
    using(encrypt_files=True)
    vault.upload("later.txt", b"the same")
    second = vault.upload("sealed.txt", b"another")
    using(encrypt_files=False)
    vault.upload("again.txt", b"another")
    assert (is_sealed(key_of(first)), is_sealed(key_of(second)), len(stored_keys())) == (False, True, 2)
    assert differences() == []
    assert vault.content(second["id"]).data == b"another"


def test_nginx_gets_plain_content_only(vault: Vault) -> None:
    using(x_accel_redirect="/_blobs/")
    plain = vault.upload("a.txt", b"plain")
    assert "X-Accel-Redirect" in vault.content(plain["id"]).headers
    using(encrypt_files=True)
    sealed = vault.upload("b.txt", b"sealed")
    answer = vault.content(sealed["id"])
    assert "X-Accel-Redirect" not in answer.headers
    assert answer.data == b"sealed"


def test_another_program_gets_the_content_without_a_file_of_it(sealed: None, vault: Vault) -> None:
    view = vault.upload("a.txt", SECRET)
    with handed_over(key_of(view), len(SECRET)) as file:
        assert str(Path(f"/proc/self/fd/{file.fileno()}").readlink()).startswith("/memfd:")
        assert file.read() == SECRET


# Tampering ------------------------------------------------------------------------------------------------------------

DATA = b"".join(bytes([number]) * (256 * 1024) for number in range(10))  # ten sealed segments, three marked ones


def flip(path: Path, at: int) -> None:
    body = bytearray(path.read_bytes())
    body[at] ^= 1
    path.write_bytes(body)


def swap_segments(path: Path, size: int) -> None:
    body = path.read_bytes()
    path.write_bytes(body[size : 2 * size] + body[:size] + body[2 * size :])


DEEDS: dict[str, Callable[[Path, int], object]] = {
    "flip": lambda path, size: flip(path, size + 7),
    "flip the tag": lambda path, size: flip(path, 2 * size - 1),
    "flip the last": lambda path, size: flip(path, path.stat().st_size - 1),
    "cut a byte": lambda path, size: os.truncate(path, path.stat().st_size - 1),
    "cut a segment": lambda path, size: os.truncate(path, (path.stat().st_size - 1) // size * size),
    "swap": swap_segments,
    "repeat": lambda path, size: path.write_bytes(path.read_bytes()[:size] + path.read_bytes()[: -size or None]),
}


@pytest.mark.parametrize("deed", DEEDS)
def test_no_changed_segment_is_sent_and_the_change_is_noted(deed: str, mode: str, vault: Vault) -> None:
    view = vault.upload("a.bin", DATA)
    DEEDS[deed](path_of(view), SEALED + TAG if mode == "sealed" else MARKED)
    got = bytearray()
    with pytest.raises(DamagedContent):
        take_all(key_of(view), got)
    assert DATA.startswith(bytes(got))
    assert len(got) < len(DATA)
    assert events().count("file.damaged") == 1
    problem(vault.content(view["id"]), 409, "damaged")


def test_a_bad_first_segment_is_an_answer_and_a_later_one_cuts_the_connection(mode: str, vault: Vault) -> None:
    first, later = vault.upload("first.bin", DATA), vault.upload("later.bin", DATA[::-1])
    flip(path_of(first), 5)
    problem(vault.content(first["id"]), 409, "damaged")
    flip(path_of(later), len(DATA) - 5)
    with pytest.raises(DamagedContent):
        vault.content(later["id"])
    assert events().count("file.damaged") == 2


def test_one_object_in_the_place_of_another_is_not_read(sealed: None, vault: Vault) -> None:
    one, two = vault.upload("1.bin", b"1" * 100), vault.upload("2.bin", b"2" * 100)
    path_of(two).write_bytes(path_of(one).read_bytes())
    problem(vault.content(two["id"]), 409, "damaged")


def test_keys_and_bytes_moved_together_are_not_read_either(sealed: None, vault: Vault) -> None:
    """Who writes to both the store and the database makes no file of another, without a key."""
    one, two = vault.upload("1.bin", b"1" * 100), vault.upload("2.bin", b"2" * 100)
    path_of(two).write_bytes(path_of(one).read_bytes())
    with transaction():
        raw = select(sealed_column(StoredObject.data_key)).where(StoredObject.key == key_of(one))
        moved = db.session.execute(raw).scalar_one()
        table = StoredObject.__table__
        db.session.execute(update(table).where(table.c.key == key_of(two)).values(data_key=literal(moved, LargeBinary)))  # type: ignore[arg-type]
    problem(vault.content(two["id"]), 409, "damaged")


def test_the_scrub_finds_what_was_changed_and_an_upload_heals_it(mode: str, vault: Vault) -> None:
    view = vault.upload("a.bin", DATA)
    before = path_of(view).read_bytes()
    flip(path_of(view), 99)
    assert scrubs.scrub_blobs(Quiet())["damaged"] == 1
    problem(vault.content(view["id"]), 409, "damaged")
    path_of(view).write_bytes(before)
    assert scrubs.scrub_blobs(Quiet())["damaged"] == 0
    assert good(vault.content(view["id"])).data == DATA
    path_of(view).write_bytes(before + b"more")
    assert scrubs.scrub_blobs(Quiet())["damaged"] == 1
    vault.upload("b.bin", DATA)
    assert good(vault.content(view["id"])).data == DATA
    sweep_blobs(young=-1)
    assert differences() == []


# Keys -----------------------------------------------------------------------------------------------------------------


def test_a_rotation_wraps_every_key_anew_and_the_bytes_stay(sealed: None, vault: Vault) -> None:
    old, new = current_settings().data_keys, SecretStr("n" * 40)
    view = vault.upload("a.txt", SECRET)
    before = path_of(view).read_bytes()
    using(data_keys=(new, *old))
    assert {(use.place, use.number) for use in keys.count_values()} >= {("stored_objects.data_key", 2)}
    keys.rotate_keys(Quiet())
    using(data_keys=(new,))
    assert good(vault.content(view["id"])).data == SECRET
    assert path_of(view).read_bytes() == before


def test_a_lost_key_is_said_and_nothing_is_marked(sealed: None, vault: Vault) -> None:
    key = stored(SECRET)
    using(data_keys=(SecretStr("m" * 40),))
    with pytest.raises(Unavailable, match="DATA_KEYS"):
        read_blob(key)
    assert "file.damaged" not in events()


# Drafts ---------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("pieces", [(1, 1, 1), (SEALED, SEALED, 1), (SEALED - 1, 2, SEALED), (MARKED + 7, 0, MARKED)])
def test_a_draft_is_written_on_after_any_pause(mode: str, vault: Vault, pieces: tuple[int, ...]) -> None:
    data = noise(sum(pieces))
    with store().draft() as draft:
        place = hold_draft(draft)
    at = 0
    for size in pieces:
        draft = reopen_draft(place)
        assert (draft.size, draft.head()) == (at, data[: min(at, 8192)])
        draft.write(data[at : at + size])
        at += size
        hold_draft(draft)
        assert sweep_blobs(young=-1) == 0
    with transaction(), reopen_draft(place) as draft:
        draft.sync()
        assert draft.sha256() == hashlib.sha256(data).hexdigest()
        key = keep_draft(draft)
    assert b"".join(read_blob(key)) == data
    assert stored_keys() == {key}


def test_what_a_crash_took_from_a_draft_is_missing_at_its_end_and_nowhere_else(mode: str, vault: Vault) -> None:
    data = noise(2 * SEALED + 77)
    with store().draft() as draft:
        draft.write(data[:100])
        place = hold_draft(draft)
    died = reopen_draft(place)
    died.write(data[100:])
    os.close(died._file)  # nobody suspended it
    again = reopen_draft(place)
    assert again.size in {2 * SEALED, len(data)}
    again.write(data[again.size :])
    with transaction(), again:
        key = keep_draft(again)
    assert b"".join(read_blob(key)) == data


@pytest.mark.parametrize("size", [0, 5, SEALED, SEALED + 5, 2 * SEALED])
def test_a_draft_whose_end_came_to_nothing_can_end_again(mode: str, vault: Vault, size: int) -> None:
    data = noise(size)
    with store().draft() as draft:
        draft.write(data)
        place = hold_draft(draft)
    for _ in range(3):
        draft = reopen_draft(place)
        assert draft.size == size
        draft.sync()
        assert draft.sha256() == hashlib.sha256(data).hexdigest()
    again = reopen_draft(place)
    again.write(b"more")
    with transaction(), again:
        key = keep_draft(again)
    assert b"".join(read_blob(key)) == data + b"more"
    assert stored_keys() == {key}


def test_a_dropped_draft_leaves_nothing(mode: str, vault: Vault) -> None:
    with store().draft() as draft:
        draft.write(SECRET)
        place = hold_draft(draft)
    drop_draft(place)
    drop_draft(place)
    assert stored_keys() == set()
    with pytest.raises((Unavailable, DamagedContent)):
        reopen_draft(place)


def test_a_draft_says_how_it_will_lie(app: Flask, tmp_path: Path) -> None:
    draft = LocalDraft(tmp_path, "drafts/1-ab")
    draft.write(b"x" * (MARKED + 1))
    draft.sync()
    assert draft.lying.marks is not None
    assert len(draft.lying.marks) == 2 * TAG
    draft.discard()
