"""The jobs after an upload, over the API: type, checksum, previews; twice is once, and a person never notices."""

import io
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any
from uuid import UUID

import pytest
from PIL import Image
from sqlalchemy import func, select, update

from samples import bundles, documents, pictures
from tests import hostile
from tests.vault import Vault, differences, disk, good, problem
from webapp.db import db, transaction
from webapp.infra.rendering import Rendering
from webapp.models.audit import AuditEntry
from webapp.models.files import Blob, File, FileVersion, Preview
from webapp.services import inspections, previews
from webapp.services.jobs import Hopeless

DOCX = "application/vnd.openxmlformats-officedocument.wordprocessingml.document"
PHOTO = pictures.jpeg(5, (900, 600))
Run = Callable[[], int]


@dataclass
class Work:
    """A job in the hands of its function."""

    args: dict[str, Any]
    told: list[float] = field(default_factory=list)

    def progress(self, percent: float) -> None:
        self.told.append(percent)


def file_of(view: Any) -> File:
    db.session.rollback()
    return db.session.scalars(select(File).where(File.uuid == UUID(view["id"]))).one()


def blob_of(view: Any) -> Blob:
    db.session.rollback()
    return db.session.scalars(select(Blob).where(Blob.sha256 == view["sha256"])).one()


def work_on(view: Any, number: int = 1) -> Work:
    return Work({"file_id": file_of(view).id, "number": number})


def jobs_of(vault: Vault) -> dict[tuple[str, str], Any]:
    return {(job["name"], job["about"]): job for job in vault.every("/jobs", limit=100)}


def rows_of(model: Any) -> int:
    return int(db.session.execute(select(func.count()).select_from(model)).scalar_one())


def thumbnail(vault: Vault, view: Any, size: int = 256, **headers: str) -> Any:
    return vault.call("GET", f"/files/{view['id']}/thumbnail?size={size}", headers=headers)


def test_the_type_is_found_without_making_the_persons_version_stale(vault: Vault, run_jobs: Run) -> None:
    view = vault.upload("minutes.zip", documents.minutes_docx("Minutes", 1, 2))
    assert view["mime"] == "application/zip"
    run_jobs()
    later = vault.get(f"/files/{view['id']}")
    assert later["mime"] == DOCX
    assert (later["version"], later["updated_at"]) == (view["version"], view["updated_at"])
    assert (
        good(vault.change(f"/files/{view['id']}", view["version"], name="Minutes.docx")).json["name"] == "Minutes.docx"
    )
    assert vault.content(view["id"]).content_type == DOCX


def test_facts_of_the_content_are_noted(vault: Vault, run_jobs: Run) -> None:
    views = {
        "a.zip": bundles.zip_of({"a": b"", "b": b""}), "a.txt": "Čiovo".encode("utf-16"), "a.jpg": PHOTO,
        "a.pdf": documents.report_pdf("Levels", 1, 2),
    }  # fmt: skip
    uploaded = {name: vault.upload(name, data) for name, data in views.items()}
    run_jobs()
    facts = {name: blob_of(view).facts for name, view in uploaded.items()}
    assert facts == {
        "a.zip": {"entries": 2},
        "a.txt": {"encoding": "utf-16-le"},
        "a.jpg": {"width": 900, "height": 600},
        "a.pdf": {"pages": 2},
    }


def test_an_old_versions_job_leaves_the_new_version_alone(vault: Vault, run_jobs: Run) -> None:
    view = vault.upload("thing", documents.minutes_docx("Minutes", 1, 1))
    good(vault.call("PUT", f"/files/{view['id']}/content", data=b"words", content_type="application/octet-stream"))
    run_jobs()
    assert vault.get(f"/files/{view['id']}")["mime"] == "text/plain"
    number = FileVersion.number
    mimes = select(number, FileVersion.mime).join(File, File.id == FileVersion.file_id).order_by(number)
    assert [tuple(row) for row in db.session.execute(mimes)] == [(1, DOCX), (2, "text/plain")]


def test_whole_bytes_are_marked_as_verified(vault: Vault, run_jobs: Run) -> None:
    view = vault.upload("a.bin", b"\x01\x02" * 5000)
    assert blob_of(view).verified_at is None
    run_jobs()
    assert blob_of(view).verified_at is not None
    assert differences() == []


def test_progress_is_told_while_much_is_read(vault: Vault, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(inspections, "REPORT_EVERY", 512 * 1024)
    work = work_on(vault.upload("a.bin", b"\x03" * 2_000_000))
    inspections.verify_file(work)
    assert work.told == sorted(work.told)
    assert len(work.told) >= 2
    assert all(0 < percent < 100 for percent in work.told)


@pytest.mark.parametrize("harm", ["flipped", "cut", "gone"])
def test_damaged_bytes_are_found_said_and_recorded_once(vault: Vault, run_jobs: Run, harm: str) -> None:
    view = vault.upload("report.txt", b"as it was\n" * 100)
    path = disk().path(blob_of(view).storage_key)
    data = path.read_bytes()
    path.unlink()
    if harm != "gone":
        path.write_bytes(data[:-1] + (b"" if harm == "cut" else b"X"))
    work = work_on(view)
    run_jobs()
    job = jobs_of(vault)["files.verify", "report.txt"]
    assert job["state"] == "failed"
    assert "not the ones that were uploaded" in job["error"]
    for _ in range(2):
        with pytest.raises(Hopeless):
            inspections.verify_file(work)
    blob = blob_of(view)
    assert (blob.verified_at, blob.damaged_at is None) == (None, False)
    events = db.session.scalars(select(AuditEntry).where(AuditEntry.event == "file.damaged")).all()
    assert [(entry.target_uuid, entry.actor_id) for entry in events] == [(UUID(view["id"]), None)]
    problem(vault.content(view["id"]), 409, "damaged")


def test_bytes_that_came_back_whole_are_no_longer_damaged(vault: Vault) -> None:
    view = vault.upload("a.txt", b"words")
    with transaction():
        db.session.execute(update(Blob).values(damaged_at=Blob.created_at))
    inspections.verify_file(work_on(view))
    assert blob_of(view).damaged_at is None
    assert vault.content(view["id"]).data == b"words"


def test_a_picture_has_thumbnails_in_three_sizes(vault: Vault, run_jobs: Run) -> None:
    view = vault.upload("dusk.jpg", PHOTO)
    problem(thumbnail(vault, view), 404)
    run_jobs()
    for size, shape in ((64, (64, 43)), (256, (256, 171)), (1024, (900, 600))):
        answer = good(thumbnail(vault, view, size))
        assert Image.open(io.BytesIO(answer.data)).size == shape
        assert answer.content_type == "image/jpeg"
        assert "private" in answer.headers["Cache-Control"]
        assert answer.headers["X-Content-Type-Options"] == "nosniff"
    assert good(vault.call("GET", f"/files/{view['id']}/thumbnail")).data == thumbnail(vault, view, 256).data


def test_a_known_thumbnail_is_not_sent_again(vault: Vault, run_jobs: Run) -> None:
    view = vault.upload("dusk.jpg", PHOTO)
    run_jobs()
    tag = thumbnail(vault, view).headers["ETag"]
    again = thumbnail(vault, view, **{"If-None-Match": tag})
    assert (again.status_code, again.data, again.headers["ETag"]) == (304, b"", tag)
    assert thumbnail(vault, view, 64, **{"If-None-Match": tag}).status_code == 200


def test_a_stranger_cannot_see_the_thumbnail(vault: Vault, other_vault: Vault, run_jobs: Run) -> None:
    view = vault.upload("dusk.jpg", PHOTO)
    run_jobs()
    problem(thumbnail(other_vault, view), 404)
    problem(vault.app.test_client().get(f"/api/v1/files/{view['id']}/thumbnail"), 401)


@pytest.mark.parametrize("query", ["size=65", "size=-1", "size=x", "size=", "size=64&size=256", "big=1"])
def test_another_size_is_refused(vault: Vault, query: str) -> None:
    view = vault.upload("dusk.jpg", PHOTO)
    problem(vault.call("GET", f"/files/{view['id']}/thumbnail?{query}"), 422)


def test_a_new_version_shows_its_own_thumbnail(vault: Vault, run_jobs: Run) -> None:
    view = vault.upload("dusk.jpg", PHOTO)
    run_jobs()
    first = thumbnail(vault, view).data
    other = pictures.jpeg(6, (900, 600), sky=1)
    good(vault.call("PUT", f"/files/{view['id']}/content", data=other, content_type="image/jpeg"))
    problem(thumbnail(vault, view), 404)
    run_jobs()
    assert thumbnail(vault, view).data != first


def test_the_same_content_is_drawn_once_for_everybody(
    vault: Vault, other_vault: Vault, run_jobs: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    drawn, real = [], previews.render

    def counted(path: Any, mime: str) -> Rendering:
        drawn.append(path)
        return real(path, mime)

    monkeypatch.setattr(previews, "render", counted)
    views = [
        (vault, vault.upload("a.jpg", PHOTO)),
        (vault, vault.upload("b.jpg", PHOTO)),
        (other_vault, other_vault.upload("c.jpg", PHOTO)),
    ]
    run_jobs()
    assert len(drawn) == 1
    assert len({good(thumbnail(owner, view)).data for owner, view in views}) == 1
    assert rows_of(Preview) == 3


def test_inspecting_twice_changes_nothing(vault: Vault, run_jobs: Run) -> None:
    view = vault.upload("dusk.jpg", PHOTO)
    run_jobs()
    before = (
        blob_of(view).facts,
        rows_of(Preview),
        rows_of(AuditEntry),
        vault.get(f"/files/{view['id']}"),
        thumbnail(vault, view).data,
    )
    work = work_on(view)
    for inspect in (inspections.sniff_file, inspections.verify_file, previews.make_previews):
        inspect(work)
        inspect(work)
    after = (
        blob_of(view).facts,
        rows_of(Preview),
        rows_of(AuditEntry),
        vault.get(f"/files/{view['id']}"),
        thumbnail(vault, view).data,
    )
    assert after == before
    assert differences() == []


def test_twins_that_draw_at_the_same_time_keep_one_set(vault: Vault, monkeypatch: pytest.MonkeyPatch) -> None:
    work, real = work_on(vault.upload("dusk.jpg", PHOTO)), previews.render

    def overtaken(path: Any, mime: str) -> Rendering:
        monkeypatch.setattr(previews, "render", real)
        previews.make_previews(work)
        return real(path, mime)

    monkeypatch.setattr(previews, "render", overtaken)
    previews.make_previews(work)
    assert rows_of(Preview) == 3
    assert differences() == []


def test_a_file_trashed_meanwhile_is_inspected_all_the_same(vault: Vault, run_jobs: Run) -> None:
    view = vault.upload("dusk.jpg", PHOTO)
    good(vault.call("DELETE", f"/files/{view['id']}"), 204)
    run_jobs()
    assert {job["state"] for job in vault.every("/jobs")} == {"done"}
    problem(thumbnail(vault, view), 404)
    good(vault.call("POST", f"/files/{view['id']}/restoration"))
    assert good(thumbnail(vault, view)).content_type == "image/jpeg"


def test_a_version_that_is_gone_for_good_is_nothing_to_do(vault: Vault) -> None:
    work = work_on(vault.upload("a.jpg", PHOTO), number=7)
    assert inspections.sniff_file(work) is None
    assert inspections.verify_file(work) is None
    assert previews.make_previews(work) is None
    assert rows_of(Preview) == 0


def test_content_without_a_picture_is_done_at_once(
    vault: Vault, run_jobs: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(previews, "render", lambda *_: pytest.fail("nothing to draw"))
    view = vault.upload("photo.jpg", b"only words")
    run_jobs()
    assert jobs_of(vault)["files.thumbnail", "photo.jpg"]["state"] == "done"
    problem(thumbnail(vault, view), 404)


@pytest.mark.parametrize(
    ("name", "data", "words"),
    [
        ("Lease (locked).pdf", documents.report_pdf("Lease", 1, 1, password="harbour"), "The PDF needs a password."),
        ("bomb.png", hostile.png_bomb(), "too many pixels"),
        ("cut.jpg", PHOTO[:9000], "damaged"),
        ("endless.pdf", hostile.endless_pdf(), "preview"),
    ],
)
def test_content_that_cannot_be_drawn_ends_failed_with_a_reason(
    vault: Vault, run_jobs: Run, name: str, data: bytes, words: str
) -> None:
    view = vault.upload(name, data)
    run_jobs()
    job = jobs_of(vault)["files.thumbnail", name]
    assert (job["state"], job["attempts"]) == ("failed", 1)
    assert words in job["error"]
    problem(thumbnail(vault, view), 404)
    assert vault.content(view["id"]).data == data
