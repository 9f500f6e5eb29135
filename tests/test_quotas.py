"""Quotas: charged once, never passed, whatever arrives together; a refusal leaves nothing."""

from concurrent.futures import ThreadPoolExecutor
from typing import Any

from sqlalchemy import select

from tests.vault import Vault, differences, good, problem, raw, traces
from webapp.db import db
from webapp.models.users import Quota


def used(vault: Vault) -> int:
    with db.engine.connect() as connection:
        return int(connection.execute(select(Quota.byte_used).where(Quota.user_id == vault.actor.id)).scalar_one())


def test_every_version_is_charged_once_and_the_trash_still_counts(vault: Vault) -> None:
    file = vault.upload("a.txt", b"x" * 100)
    good(vault.call("PUT", f"/files/{file['id']}/content", **raw(b"y" * 50)))
    good(vault.send_form(("b.txt", b"x" * 7), ("c.txt", b"")), 201)
    assert used(vault) == 157
    good(vault.call("DELETE", f"/files/{file['id']}"), 204)
    assert used(vault) == 157
    assert differences() == []


def test_the_same_bytes_are_charged_to_each_who_holds_them(vault: Vault, other_vault: Vault) -> None:
    for one in (vault, other_vault):
        one.upload("a.txt", b"same bytes")
        assert used(one) == 10


def test_what_fits_exactly_fits_by_every_way(vault: Vault, quota: Any) -> None:
    quota(vault.actor, 3000)
    file = vault.upload("raw.bin", b"x" * 1000)
    good(vault.send_form(("form.bin", b"y" * 1000)), 201)
    good(vault.call("PUT", f"/files/{file['id']}/content", **raw(b"z" * 1000)))
    assert used(vault) == 3000
    vault.upload("empty.bin", b"")
    assert differences() == []


def test_what_does_not_fit_is_413_by_every_way_and_leaves_nothing(vault: Vault, quota: Any) -> None:
    file = vault.upload("kept.txt", b"x" * 100)
    quota(vault.actor, 150)
    before = traces()
    for answer in (
        vault.try_upload("raw.bin", b"x" * 51),
        vault.send_form(("form.bin", b"x" * 51)),
        vault.send_form(("one.bin", b"x" * 26), ("two.bin", b"y" * 26)),
        vault.call("PUT", f"/files/{file['id']}/content", **raw(b"x" * 51)),
        vault.try_upload("huge.bin", b"x" * 2_000_000),
        vault.send_form(("huge.bin", b"x" * 2_000_000)),
    ):
        problem(answer, 413, "quota_exceeded")
    assert traces() == before
    assert vault.content(file["id"]).data == b"x" * 100
    vault.upload("fits.bin", b"x" * 50)


def test_a_refused_name_charges_nothing(vault: Vault) -> None:
    vault.upload("taken.txt", b"x" * 10)
    problem(vault.try_upload("taken.txt", b"y" * 10), 409)
    problem(vault.send_form(("taken.txt", b"y" * 10)), 409)
    assert used(vault) == 10


def test_of_twenty_uploads_at_once_only_those_that_fit_are_charged(vault: Vault, quota: Any) -> None:
    quota(vault.actor, 1050)
    with ThreadPoolExecutor(20) as pool:
        wishes = [pool.submit(vault.twin().try_upload, f"{n}.bin", b"%03d" % n * 33 + b"x") for n in range(20)]
        answers = [wish.result() for wish in wishes]
    statuses = [answer.status_code for answer in answers]
    assert set(statuses) == {201, 413}
    assert {answer.json["code"] for answer in answers if answer.status_code == 413} == {"quota_exceeded"}
    assert used(vault) == 100 * statuses.count(201) <= 1050
    assert statuses.count(201) == 10, "as many as fit"
    assert differences() == []


def test_uploads_of_the_same_bytes_at_once_are_one_blob_that_counts_them_all(vault: Vault, other_vault: Vault) -> None:
    with ThreadPoolExecutor(12) as pool:
        people = [vault, other_vault] * 6
        wishes = [pool.submit(one.twin().try_upload, f"{n}.bin", b"same" * 50_000) for n, one in enumerate(people)]
        statuses = [wish.result().status_code for wish in wishes]
    assert set(statuses) <= {201, 503}
    assert 201 in statuses
    assert differences() == []
