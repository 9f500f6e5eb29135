"""docs/promises.md names the tests that prove each promise: they are there, and those marked long are the long ones."""

import ast
import re
from functools import cache
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
PAGE = (ROOT / "docs/promises.md").read_text()
ROWS = re.findall(r"^\| (\d+) \| .+? \| (.+) \|$", PAGE, re.MULTILINE)
NAMED = re.findall(r"`(tests/[\w/]+\.py)::(test_\w+)`[^·|\n]*?(†)?(?= ·| \|)", PAGE)
OURS = {1, 2, 3, 4, 5, 6, 11, 12, 13, 14, 15, 16, 17, 19, 22, 23, 26, 27, 28}  # of issues that are done or begun


@cache
def functions_in(path: str) -> dict[str, bool]:
    """Each test function of a file, and whether only `make chaos` runs it."""
    functions = [node for node in ast.parse((ROOT / path).read_text()).body if isinstance(node, ast.FunctionDef)]
    return {one.name: any("chaos" in ast.unparse(mark) for mark in one.decorator_list) for one in functions}


def test_every_test_that_the_page_names_exists_and_is_as_long_as_it_says() -> None:
    assert len(NAMED) == PAGE.count("::test_")
    wrong = [f"{path}::{name}" for path, name, long in NAMED if functions_in(path).get(name) is not bool(long)]
    assert wrong == []


def test_every_promise_has_a_row_and_a_test_that_each_run_of_the_suite_takes() -> None:
    assert {int(number) for number, _ in ROWS} >= OURS
    long_only = [number for number, tests in ROWS if all("†" in one for one in tests.split(" · "))]
    assert long_only == []
