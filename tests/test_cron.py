"""When a cron expression fires: every hour of the year, the one that does not exist, the one that comes twice."""

from datetime import UTC, datetime, timedelta
from itertools import islice, pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from webapp.errors import Invalid
from webapp.infra.cron import firings, next_after


def at(text: str) -> datetime:
    return datetime.fromisoformat(text).replace(tzinfo=UTC)


def days(cron: str, zone: str, start: str, count: int) -> list[str]:
    return [f"{instant:%m-%d %H:%M}" for instant in islice(firings(cron, zone, at(start)), count)]


def test_the_next_firing_is_later_than_the_moment_and_in_utc() -> None:
    assert next_after("0 3 * * *", "Europe/Berlin", at("2026-01-10 01:59:59.999")) == at("2026-01-10 02:00")
    assert next_after("0 3 * * *", "Europe/Berlin", at("2026-01-10 02:00")) == at("2026-01-11 02:00")
    assert next_after("0 3 * * *", "Europe/Berlin", at("2026-01-10 02:00:00.001")) == at("2026-01-11 02:00")


def test_a_daily_time_keeps_its_wall_clock_across_both_changes() -> None:
    assert days("0 9 * * *", "Europe/Berlin", "2026-03-27 12:00", 3) == ["03-28 08:00", "03-29 07:00", "03-30 07:00"]
    assert days("0 9 * * *", "Europe/Berlin", "2026-10-23 12:00", 3) == ["10-24 07:00", "10-25 08:00", "10-26 08:00"]


def test_a_time_that_does_not_exist_that_day_fires_right_after_the_gap() -> None:
    assert days("30 2 * * *", "Europe/Berlin", "2026-03-28 00:00", 3) == ["03-28 01:30", "03-29 01:00", "03-30 00:30"]


def test_a_time_that_exists_twice_fires_once_at_its_first_coming() -> None:
    assert days("30 2 * * *", "Europe/Berlin", "2026-10-24 00:00", 3) == ["10-24 00:30", "10-25 00:30", "10-26 01:30"]


def test_planning_within_the_second_coming_of_an_hour_does_not_name_the_first_again() -> None:
    assert next_after("30 2 * * *", "Europe/Berlin", at("2026-10-25 01:10")) == at("2026-10-26 01:30")


def test_every_hour_is_every_hour_also_when_the_clock_is_changed() -> None:
    assert days("17 * * * *", "Europe/Berlin", "2026-03-29 00:00", 3) == ["03-29 00:17", "03-29 01:17", "03-29 02:17"]
    assert days("17 * * * *", "Europe/Berlin", "2026-10-25 00:00", 3) == ["10-25 00:17", "10-25 01:17", "10-25 02:17"]


@pytest.mark.parametrize(
    "zone", ["Australia/Lord_Howe", "Africa/Cairo", "America/Havana", "Pacific/Apia", "Asia/Kathmandu"]
)
def test_odd_zones_never_name_an_instant_twice_nor_leave_a_day_out(zone: str) -> None:
    found = list(islice(firings("30 0 * * *", zone, at("2026-01-01 00:00")), 366))
    gaps = {later - earlier for earlier, later in pairwise(found)}
    assert gaps <= {timedelta(hours=hours / 2) for hours in range(46, 51)}


@pytest.mark.parametrize("cron", ["0 0 31 2 *", "0 0 30 2 *", "0 0 31 4,6,9,11 *", "0 0 */29 * MON#2"])
def test_a_time_that_never_comes_is_refused_as_such(cron: str) -> None:
    with pytest.raises(Invalid) as caught:
        next_after(cron, "UTC", at("2026-01-01 00:00"))
    assert [fault.code for fault in caught.value.errors] == ["never"]


BROKEN = ("", "* * * *", "* * * * * *", "60 * * * *", "* 24 * * *", "a b c d e", "*/0 * * * *", "5-1 * * * *", "@daily",
          "* * 0 * *", "-1 * * * *", "\u0661 * * * *", "0 0 1 1 *" + " " * 99)  # fmt: skip


@pytest.mark.parametrize("cron", BROKEN)
def test_a_broken_expression_is_refused(cron: str) -> None:
    with pytest.raises(Invalid) as caught:
        next_after(cron, "UTC", at("2026-01-01 00:00"))
    assert [fault.field for fault in caught.value.errors] == ["cron"]


@pytest.mark.parametrize("zone", ["", "Mars/Olympus", "../../etc/passwd", "/etc/localtime", "\0", "Europe"])
def test_an_unknown_zone_is_refused(zone: str) -> None:
    with pytest.raises(Invalid) as caught:
        next_after("0 0 * * *", zone, at("2026-01-01 00:00"))
    assert [fault.field for fault in caught.value.errors] == ["zone"]


@given(
    st.one_of(
        st.text(max_size=110),
        st.lists(st.text("0123456789*/,-#LWMONJA", max_size=6), min_size=5, max_size=5).map(" ".join),
    )
)
@settings(max_examples=300, deadline=None)
def test_whatever_is_typed_is_an_answer_or_a_refusal(cron: str) -> None:
    moment = at("2026-03-29 00:59:30")
    try:
        instant = next_after(cron, "Europe/Berlin", moment)
    except Invalid:
        return
    assert instant > moment
