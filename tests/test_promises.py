"""docs/promises.md names the tests that prove each promise: they are there, and those marked long are the long ones."""

import ast
import re
from functools import cache
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
PAGE = (ROOT / "docs/promises.md").read_text()
SECURITY = (ROOT / "docs/security.md").read_text()
ROWS = re.findall(r"^\| (\d+) \| .+? \| (.+) \|$", PAGE, re.MULTILINE)
NAMED = re.findall(r"`(tests/[\w/]+\.py)::(test_\w+)`[^·|\n]*?(†)?(?= ·| \|)", PAGE)
OURS = {
    1,
    2,
    3,
    4,
    5,
    6,
    7,
    8,
    9,
    11,
    12,
    13,
    14,
    15,
    16,
    17,
    19,
    22,
    23,
    26,
    27,
    28,
}  # of issues that are done or begun


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


def test_the_page_about_security_names_tests_that_exist() -> None:
    named = re.findall(r"`(tests/[\w/]+\.py)::(test_\w+)`", SECURITY)
    assert len(named) == SECURITY.count("::test_") >= 90
    assert [f"{path}::{name}" for path, name in named if name not in functions_in(path)] == []


def test_the_page_about_security_has_every_row_of_level_two_once() -> None:
    """Of chapters 6 to 10 of ASVS 5.0; what being an authorization server asks for is one row."""
    table = SECURITY.partition("## The standard")[2]
    cells = re.findall(r"^\| ([^|]+) \|", table, re.MULTILINE)
    rows = [row for cell in cells for row in re.findall(r"\b\d+\.\d+\.\d+\b", cell)]
    level_two = {f"6.1.{n}" for n in (1, 2, 3)} | {f"6.2.{n}" for n in range(1, 12)} | {f"6.3.{n}" for n in (1, 2, 3)}
    level_two |= {f"6.4.{n}" for n in (1, 2, 3, 4)} | {f"6.5.{n}" for n in range(1, 6)} | {"6.8.1", "6.8.2", "6.8.3"}
    level_two |= {f"7.1.{n}" for n in (1, 2, 3)} | {f"7.2.{n}" for n in (1, 2, 3, 4)} | {"7.3.1", "7.3.2"}
    level_two |= {f"7.4.{n}" for n in range(1, 6)} | {"7.5.1", "7.5.2", "7.6.1", "7.6.2"}
    level_two |= {"8.1.1", "8.1.2", "8.2.1", "8.2.2", "8.2.3", "8.3.1", "8.4.1"}
    level_two |= {"9.1.1", "9.1.2", "9.1.3", "9.2.1", "9.2.2", "9.2.3", "9.2.4"}
    level_two |= {"10.1.1", "10.1.2", "10.2.1", "10.2.2"} | {f"10.3.{n}" for n in (1, 2, 3, 4)}
    level_two |= {f"10.5.{n}" for n in range(1, 6)}
    assert level_two - set(rows) == set()
    assert len(rows) == len(set(rows))
