"""Schemathesis sends what the document allows and what it forbids: every answer is a documented one, none is a 5xx."""

from collections.abc import Iterator
from typing import Any

import pytest
import schemathesis
from flask import Flask
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis.errors import Unsatisfiable
from schemathesis import Case, GenerationMode
from schemathesis.checks import CHECKS
from schemathesis.core.failures import Failure, FailureGroup

from webapp.app import create_app
from webapp.db import db
from webapp.infra import ids

from .conftest import PASSWORD, make_settings, migrate
from .plumbing import make_person

schemathesis.serializer.alias("application/offset+octet-stream", "application/octet-stream")  # parts of uploads
NOT_ASKED, TUS = ["positive_data_acceptance"], ["negative_data_rejection"]  # without its version, tus says 412
EXAMPLES = 15  # of each operation and kind


@pytest.fixture(scope="module", params=["sqlite", "postgresql"])
def vault(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Flask]:
    extra = {"DATABASE_URL": request.getfixturevalue("postgres_url")} if request.param == "postgresql" else {}
    app = create_app(make_settings(tmp_path_factory.mktemp("fuzz"), **extra))
    ids._forget()
    with app.app_context():
        migrate(app)
    yield app
    ids._forget()
    with app.app_context():
        db.engine.dispose()


@pytest.fixture(scope="module")
def bearers(vault: Flask) -> tuple[dict[str, str], dict[str, str]]:
    """Of one who stays signed in, and of one who signs out."""
    return bearer(vault, "pia"), bearer(vault, "leaving")


def bearer(vault: Flask, name: str) -> dict[str, str]:
    make_person(vault, name)
    wish = {"email": f"{name}@harbour.example", "password": PASSWORD}
    return {"Authorization": f"Bearer {vault.test_client().post('/api/v1/auth/login', json=wish).json['access_token']}"}


@pytest.mark.timeout(600)  # it asks every operation there is
@pytest.mark.parametrize("mode", list(GenerationMode), ids=lambda mode: f"{mode.value}")
def test_every_answer_is_a_documented_one(
    vault: Flask, bearers: tuple[dict[str, str], ...], mode: GenerationMode
) -> None:
    """`positive` sends what the document allows, `negative` what it forbids.

    That allowed data is accepted is not asked: a schema cannot say which names a file may have.
    """
    document = schemathesis.openapi.from_wsgi("/api/v1/openapi.json", vault)
    faults: dict[str, str] = {}
    for found in document.get_all_operations():
        operation = found.ok()
        if operation.path.endswith("/events"):  # its answer has no end; tests/test_streams.py asks it
            continue
        headers = {**bearers["logout" in operation.path], "If-Match": "*", "Accept-Encoding": "identity"}
        try:
            _ask(operation.as_strategy(generation_mode=mode), headers, NOT_ASKED + TUS * ("/uploads" in operation.path))
        except Unsatisfiable:  # nothing to forbid
            continue
        except (FailureGroup, Failure) as fault:
            faults[operation.label] = str(fault)
    assert vault.test_client().get("/api/v1/users/me", headers=bearers[0]).status_code == 200
    assert not faults, "\n\n".join(faults.values())


def _ask(cases: Any, headers: dict[str, str], unasked: list[str]) -> None:
    @settings(max_examples=EXAMPLES, deadline=None, database=None, suppress_health_check=list(HealthCheck),
              phases=[Phase.explicit, Phase.generate], derandomize=True)  # fmt: skip
    @given(case=cases)
    def ask(case: Case) -> None:
        case.call_and_validate(headers=headers, excluded_checks=CHECKS.get_by_names(unasked))

    ask()
