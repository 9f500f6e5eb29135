"""What becomes of one field of a form that was overtaken: opened, theirs, yours."""

import pytest

from webapp.http.merges import Choice


@pytest.mark.parametrize(
    ("opened", "theirs", "yours", "asked", "merged"),
    [
        ("a", "a", "a", False, "a"),
        ("a", "b", "a", False, "b"),  # they changed it
        ("a", "a", "b", False, "b"),  # you did
        ("a", "b", "b", False, "b"),  # both, alike
        ("a", "b", "c", True, None),
        ("a", "", "c", True, None),
        (None, "a", "a", False, "a"),  # a form that does not say
        (None, "a", "b", True, None),
    ],
)
def test_what_one_side_changed_is_taken_and_what_both_did_is_asked(
    opened: str | None, theirs: str, yours: str, asked: bool, merged: str | None
) -> None:
    field = Choice("name", "Name", theirs, yours, opened)
    assert field.asked is asked
    assert asked or field.merged == merged
