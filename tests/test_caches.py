"""What services cache, and that what they change clears it, and no more than that."""

from collections.abc import Callable
from typing import Any

import pytest

from tests.vault import Vault
from webapp.services import previews


@pytest.fixture
def read(monkeypatch: pytest.MonkeyPatch) -> list[Any]:
    """The files whose previews' addresses were read from the database."""
    read: list[Any] = []
    real = previews._read_address
    monkeypatch.setattr(
        previews, "_read_address", lambda owner, file, size: read.append(str(file)) or real(owner, file, size)
    )
    return read


def test_an_event_of_one_file_clears_its_preview_and_no_other_ones(vault: Vault, read: list[Any]) -> None:
    first, second = (vault.upload(f"{name}.txt")["id"] for name in ("first", "second"))

    def ask() -> None:
        for file in (first, second):
            assert vault.call("GET", f"/files/{file}/thumbnail").status_code == 404

    ask()
    ask()
    assert read == [first, second], "none is remembered, too"
    vault.call("PATCH", f"/files/{first}", json={"name": "renamed.txt"})
    ask()
    assert read == [first, second, first]


def test_a_preview_is_there_as_soon_as_it_is_drawn(vault: Vault, run_jobs: Callable[[], int], read: list[Any]) -> None:
    from tests.browser.stage import picture

    file = vault.upload("quay.jpg", picture(80, 53))["id"]
    assert vault.call("GET", f"/files/{file}/thumbnail").status_code == 404
    run_jobs()
    assert vault.call("GET", f"/files/{file}/thumbnail").status_code == 200
