"""Schemathesis on files and folders that exist: what the document allows, and what it forbids, sent at the real thing.

tests/test_openapi_fuzz.py asks every operation with made-up ids, which mostly end as 404; here the ids are of a file,
a trashed file and a folder of the caller's, so that the services behind are reached.
"""

from typing import Any

import pytest
import schemathesis
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis.errors import Unsatisfiable
from schemathesis import Case, GenerationMode
from schemathesis.checks import CHECKS
from schemathesis.core.failures import Failure, FailureGroup

from tests.vault import Vault, differences, good

schemathesis.serializer.alias("application/offset+octet-stream", "application/octet-stream")  # parts of uploads
EXAMPLES = 12  # of each operation and mode
OURS = ("/files", "/folders", "/trash")
# What is allowed or forbidden is not judged: no schema says which names are free, and the made-up ids are replaced.
NOT_ASKED = ["positive_data_acceptance", "negative_data_rejection", "ignored_auth", "use_after_free"]


@pytest.mark.parametrize("mode", list(GenerationMode), ids=lambda mode: f"{mode.value}")
def test_every_answer_about_what_exists_is_a_documented_one(vault: Vault, mode: GenerationMode) -> None:
    folder, inner = vault.folder("Real"), vault.folder("Other")
    file = vault.upload("real.txt", b"some bytes", folder_id=folder["id"])
    trashed = vault.upload("gone.txt", b"other bytes")
    good(vault.call("DELETE", f"/files/{trashed['id']}"), 204)
    document = schemathesis.openapi.from_wsgi("/api/v1/openapi.json", vault.app)
    faults: dict[str, str] = {}
    asked = 0
    for found in document.get_all_operations():
        operation = found.ok()
        path = operation.path.removeprefix("/api/v1")
        if not path.startswith(OURS):
            continue
        asked += 1
        known = {"folder_id": inner["id"], "file_id": trashed["id"] if path.endswith("/restoration") else file["id"]}
        try:
            _ask(
                operation.as_strategy(generation_mode=mode),
                {**vault.headers, "Accept-Encoding": "identity"},
                known,
                vault,
            )
        except Unsatisfiable:  # nothing to forbid
            continue
        except (FailureGroup, Failure) as fault:
            faults[operation.label] = str(fault)
    assert not faults, "\n\n".join(faults.values())
    assert asked >= 12
    assert differences() == []


def _ask(cases: Any, headers: dict[str, str], known: dict[str, str], vault: Vault) -> None:
    @settings(max_examples=EXAMPLES, deadline=None, database=None, suppress_health_check=list(HealthCheck),
              phases=[Phase.explicit, Phase.generate], derandomize=True)  # fmt: skip
    @given(case=cases)
    def ask(case: Case) -> None:
        for name in case.path_parameters or {}:
            case.path_parameters[name] = known.get(name, case.path_parameters[name])
        with vault.app.app_context():
            case.call_and_validate(headers=headers, excluded_checks=CHECKS.get_by_names(NOT_ASKED))

    ask()
