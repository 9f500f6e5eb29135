"""Everything moves to another store and lies as the settings say, while it is read, and after any stop."""

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from flask import Flask
from sqlalchemy import select

from samples import pictures
from tests.buckets import bucket_server, new_bucket
from tests.vault import Vault, differences, good
from webapp.config import current_settings, use_settings
from webapp.db import db
from webapp.infra.drafts import is_sealed
from webapp.infra.storage import store
from webapp.infra.twostores import TwoStores
from webapp.models.files import Blob, Preview
from webapp.services import moves
from webapp.services.stored import read_blob

CONTENTS = {f"{number}.bin": bytes([number]) * (number * 100_000 + 1) for number in range(4)}


class Work:
    """A running job, which may be stopped."""

    def __init__(self, after: int = 10**6) -> None:
        self.left = after

    def progress(self, percent: float) -> None:
        self.left -= 1
        if self.left < 0:
            raise KeyboardInterrupt


@pytest.fixture(scope="module")
def server() -> Iterator[str]:
    with bucket_server() as endpoint:
        yield endpoint


@pytest.fixture(autouse=True)
def settings_back(app: Flask) -> Iterator[None]:
    before = current_settings()
    yield
    use_settings(before)


def using(**values: Any) -> None:
    use_settings(current_settings().model_copy(update=values))


def keys() -> list[str]:
    db.session.rollback()
    return [*db.session.scalars(select(Blob.storage_key)), *db.session.scalars(select(Preview.storage_key))]


def assert_all_there(vault: Vault, views: dict[str, Any]) -> None:
    using(verify_downloads=True)
    for name, view in views.items():
        assert good(vault.content(view["id"])).data == CONTENTS[name]
    using(verify_downloads=False)


@pytest.mark.parametrize("way", ["to the bucket", "from the bucket"])
def test_everything_moves_and_is_read_all_the_while(
    stored_as: str, vault: Vault, server: str, tmp_path: Path, way: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(moves, "BATCH", 1)
    bucket, folder = new_bucket(server), f"file://{tmp_path / 'blobs'}"
    (tmp_path / "blobs").mkdir()
    places = [folder, bucket["storage_url"]]
    old, new = places if way == "to the bucket" else places[::-1]
    using(**{**bucket, "var_dir": tmp_path / "var", "storage_url": old})
    views = {name: vault.upload(name, data) for name, data in CONTENTS.items()}
    using(storage_url=new, former_storage_url=old)
    assert_all_there(vault, views)
    with pytest.raises(KeyboardInterrupt):
        moves.move_stored(Work(after=1))
    stores = store()
    assert isinstance(stores, TwoStores)
    assert len(list(stores.former.keys_older_than(-60))) == 2, "stopped in the middle"
    assert_all_there(vault, views)
    assert moves.move_stored(Work())["moved"] == 2
    assert list(stores.former.keys_older_than(-60)) == []
    assert moves.move_stored(Work())["moved"] == 0
    using(former_storage_url="")
    assert_all_there(vault, views)
    assert differences() == []


def test_bytes_that_are_damaged_stay_where_they_are(vault: Vault, tmp_path: Path) -> None:
    old, new = tmp_path / "old", tmp_path / "new"
    old.mkdir()
    new.mkdir()
    using(storage_url=f"file://{old}")
    view = vault.upload("a.bin", b"whole")
    (old / store().key(view["sha256"])).write_bytes(b"wrong")
    using(storage_url=f"file://{new}", former_storage_url=f"file://{old}")
    assert moves.move_stored(Work()) == {"moved": 0, "bytes": 0, "damaged": 1, "continues": 0}
    assert [path for path in new.rglob("*") if path.is_file()] == []


@pytest.mark.parametrize("sealed", [True, False], ids=["encrypt", "decrypt"])
def test_what_is_there_is_encrypted_or_decrypted_with_its_previews(
    vault: Vault, run_jobs: Callable[[], int], sealed: bool
) -> None:
    using(encrypt_files=not sealed)
    views = {name: vault.upload(name, data) for name, data in CONTENTS.items()}
    photo = vault.upload("photo.jpg", pictures.jpeg(5, (900, 600)))
    run_jobs()
    drawn = good(vault.call("GET", f"/files/{photo['id']}/thumbnail?size=256")).data
    assert [is_sealed(key) for key in keys()] == [not sealed] * 8
    using(encrypt_files=sealed)
    assert moves.convert_stored(Work())["converted"] == 8
    assert [is_sealed(key) for key in keys()] == [sealed] * 8
    assert_all_there(vault, views)
    assert good(vault.call("GET", f"/files/{photo['id']}/thumbnail?size=256")).data == drawn
    assert moves.convert_stored(Work()) == {"converted": 0, "unreadable": 0, "continues": 0}
    assert all(b"".join(read_blob(key)) for key in keys())
    assert differences() == []


def test_the_commands_queue_each_job_once(app: Flask, vault: Vault, tmp_path: Path) -> None:
    run = app.test_cli_runner().invoke
    assert "FORMER_STORAGE_URL" in run(args=["storage", "move"]).output
    using(former_storage_url=f"file://{tmp_path}")
    for word in ("move", "convert", "scrub"):
        assert "Queued as job" in run(args=["storage", word]).output
        again = run(args=["storage", word])
        assert (again.exit_code, "under way already" in again.output) == (1, True)
