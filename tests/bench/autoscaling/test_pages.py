"""The committed page and picture come from the words of this tree."""

from xml.etree import ElementTree

import pytest

from bench.autoscaling import picture, report, runs
from bench.autoscaling.costs import Costs
from bench.autoscaling.fleet import Week
from bench.autoscaling.runs import Figures, Way
from bench.autoscaling.week import made
from serving.settings import Settings
from serving.settings.weekly_hours import Hours

SVG = "{http://www.w3.org/2000/svg}"
COSTS = Costs("moderation", {1: 0.0125, 4: 0.04}, 2, "2026-11-23", "a processor")


def test_a_way_has_a_row_with_its_cost_and_what_it_missed_for_each_start() -> None:
    weeks = {start: Week(rows=1000, refused=start, late=1, pod_seconds=36_000, most=3, changes=4) for start in (30, 300)}
    text = report.section(Figures(COSTS, made(), 24, 6.0, 600, 60, 0.5, "USD", [Way("queue and busy time", weeks)]))
    assert "| **queue and busy time** | 10 | USD 5.00 | 3 | 4 | 3.100% | 30.100% |" in text
    assert "12.5 ms for 1, 40.0 ms for 4 rows" in text


@pytest.mark.parametrize(("rows", "limit", "wanted"), [(0, 24, 6), (0, 1_000_000, 0.5 * 5 * 4 / 0.04), (17, 24, 17), (0, 1, 1)])
def test_the_queues_target_is_the_platforms(rows: int, limit: int, wanted: float) -> None:
    own = Settings(service_name="a", username="b", timeout_second=10, autoscale_queue_rows=rows, queue_limit=limit)
    assert runs.rows_of_a_pod(COSTS, own) == pytest.approx(wanted)


def test_the_simulated_hours_are_windows_of_value_py() -> None:
    for each, hours in zip(report.scale_hours(), runs.HOURS, strict=True):
        found = Hours(each)
        assert (found.window.days, found.window.begin, found.window.end) == (set(hours.days), 60 * hours.begin, 60 * hours.end)
        assert found.pods == hours.pods


def test_a_picture_has_a_panel_for_each_way_and_a_point_for_each_change() -> None:
    pods = [1] * 700 + [3] * 40 + [2] * 700
    drawn = ElementTree.fromstring(picture.draw([("by queue & busy time", pods), ("fixed", [3] * 1440)], pods, "about"))
    paths = [each.get("d", "") for each in drawn.iter(f"{SVG}path")]
    assert len(paths) == 4
    assert [path.count("V") for path in paths] == [3, 2, 3, 0]


def test_a_picture_says_what_its_line_and_its_area_are_and_cuts_no_words() -> None:
    drawn = ElementTree.fromstring(picture.draw([("fixed", [3] * 1440)], [1] * 1440, "about"))
    words = {each.text or "": each for each in drawn.iter(f"{SVG}text")}
    assert {"pods", "pods that the load needed, known in advance", "fixed"} < {*words}
    assert float(words["24:00"].get("x", 0)) + 4 * len("24:00") < picture.WIDTH  # half of its width, at 8 pixels a letter
