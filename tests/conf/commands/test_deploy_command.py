"""Release windows at a deploy. No cluster is there, so each refusal comes before any is asked."""

import json
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from conf.clusters.regions import Region, load
from conf.commands.deploy_command import closed_regions, refusals
from conf.rollout.report import OUTSIDE_WINDOWS
from conf.rollout.targets import RegionTrack
from serving.settings import Settings
from serving.settings.weekly_hours import DAYS
from tests.conf.rollout.checkout import Checkout
from tests.conf.rollout.images import NOT_ASKED

FRIDAY, SATURDAY = datetime(2026, 1, 2, 12, tzinfo=UTC), datetime(2026, 1, 3, 12, tzinfo=UTC)
OFFICE, ALWAYS = "mon-fri 09:00-18:00", "mon-sun 00:00-24:00"
NOWHERE = {"KUBECONFIG": "/nowhere/config"}
IN_TWO_DAYS = datetime.now(UTC) + timedelta(days=2)
LATER = f"{DAYS[IN_TWO_DAYS.weekday()]} 00:00-24:00"  # closed today and tomorrow


@pytest.fixture
def checkout(tmp_path: Path) -> Checkout:
    return Checkout(tmp_path / "service", "like", {"hk": "hk", "eu": "eu", "na": "na"})


def spots(checkout: Checkout, track: str = "prod", **windows: str) -> list[RegionTrack]:
    checkout.set_windows(**windows)
    regions: dict[str, Region] = load(checkout.regions_file).regions
    return [RegionTrack(each, track, Settings(service_name="digits", username="like"), True) for each in regions.values()]


def test_a_region_is_closed_by_its_own_windows_at_the_moment_that_is_given(checkout: Checkout) -> None:
    found = spots(checkout, eu=OFFICE, na=ALWAYS)
    assert closed_regions(found, FRIDAY) == {}
    assert list(closed_regions(found, SATURDAY)) == ["eu"]
    assert "until mon 2026-01-05 09:00, or say" in closed_regions(found, SATURDAY)["eu"]


@pytest.mark.parametrize("track", ["grey", "ab"])
def test_windows_do_not_bind_the_tracks_beside_prod(checkout: Checkout, track: str) -> None:
    assert closed_regions(spots(checkout, track, hk=OFFICE, eu=OFFICE, na=OFFICE), SATURDAY) == {}


def test_one_closed_region_holds_all_chosen_ones_back_and_each_says_why(checkout: Checkout) -> None:
    found = spots(checkout, eu=OFFICE)
    results = refusals(found, closed_regions(found, SATURDAY))
    assert [(each.region, each.state, each.status) for each in results] == [
        ("hk", "not begun", OUTSIDE_WINDOWS), ("eu", "not begun", OUTSIDE_WINDOWS), ("na", "not begun", OUTSIDE_WINDOWS),
    ]  # fmt: skip
    assert results[1].words.startswith("outside its release windows: it is sat")
    assert results[0].words == results[2].words
    assert results[0].words.startswith("eu is outside its release windows")


def test_a_deploy_into_a_closed_region_is_refused_with_a_status_of_its_own(checkout: Checkout) -> None:
    checkout.set_windows(eu=LATER)
    done = checkout.run("deploy", tag=NOT_ASKED, status=31, more=NOWHERE)
    assert done.out == ""
    lines = done.err.splitlines()
    assert [line.partition(":")[0] for line in lines] == ["hk, prod", "eu, prod", "na, prod"]
    assert f"deploys are allowed {LATER} (UTC); wait until {LATER[:3]} {IN_TWO_DAYS:%Y-%m-%d} 00:00, or say" in lines[1]
    found = json.loads(checkout.run("deploy", "--json", tag=NOT_ASKED, status=31, more=NOWHERE).out)
    assert [(each["state"], each["status"], each["runs"]) for each in found] == [("not begun", 31, None)] * 3


@pytest.mark.parametrize(
    "words", [["--region", "hk"], ["--track", "ab"], ["--override", "the orders of today fail"]], ids=lambda words: words[0]
)
def test_what_windows_do_not_bind_goes_on_to_the_cluster(checkout: Checkout, words: list[str]) -> None:
    checkout.set_windows(eu=LATER)
    assert "context 'hk' cannot be used" in checkout.run("deploy", *words, tag=NOT_ASKED, status=11, more=NOWHERE).err


@pytest.mark.parametrize("command", [["rollback"], ["stop", "--yes"]], ids=lambda words: words[0])
def test_what_takes_a_release_away_is_bound_by_no_window(checkout: Checkout, command: list[str]) -> None:
    checkout.set_windows(hk=LATER, eu=LATER, na=LATER)
    assert "context 'hk' cannot be used" in checkout.run(*command, status=11, more=NOWHERE).err


@pytest.mark.parametrize(
    ("reason", "status", "told"),
    [
        *((reason, 2, "is not a reason") for reason in ("", "  ", "\x1b[2J", "why " * 100)),
        ("to be sure", 11, "--override was not needed"),
    ],
)
def test_a_reason_that_says_nothing_or_too_much_is_refused_and_one_that_nothing_needs_told(
    checkout: Checkout, reason: str, status: int, told: str
) -> None:
    assert told in checkout.run("deploy", "--override", reason, tag=NOT_ASKED, status=status, more=NOWHERE).err


def test_mistakes_of_value_py_come_before_windows(checkout: Checkout) -> None:
    checkout.set_windows(hk=LATER)
    checkout.write_value(cpu="much")
    assert "value.py:" in checkout.run("deploy", tag=NOT_ASKED, status=1, more=NOWHERE).err
