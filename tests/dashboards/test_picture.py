"""The picture in the docs has its lines where their values say, and the panel's words."""

import re
from xml.etree import ElementTree

import pytest

from dashboards.parts import RATE, SHARE, panel
from dashboards.picture import Line, draw

SPAN = (0.0, 100.0)


def heights(text: str) -> list[list[float]]:
    """Return the heights of each line's points above the axis, in pixels."""
    found = re.findall(r'<polyline points="([^"]*)"', text)
    return [[134 - float(point.split(",")[1]) for point in each.split()] for each in found]


def test_a_line_is_as_high_as_its_share_of_the_highest_value() -> None:
    shown = panel("Traffic", RATE, "All of it.", ("x", "{{route}}"))
    lines = [Line({"route": "service"}, "{{route}}", [(0, 1), (50, 2), (100, 4)])]
    text = draw("traffic", [(shown, lines)], SPAN, [50.0])
    assert heights(text) == [[26, 52, 104]]
    words = [each.text for each in ElementTree.fromstring(text).iter("{http://www.w3.org/2000/svg}text")]
    assert words == ["Traffic", "0 /s", "2 /s", "4 /s", "service"]


def test_stacked_lines_stand_on_one_another() -> None:
    shown = panel("Stages", SHARE, "All of them.", ("x", "{{stage}}"), kind="stacked")
    lines = [Line({"stage": name}, "{{stage}}", [(0, 0.25), (100, value)]) for name, value in (("queue", 0.5), ("infer", 0.5))]
    assert heights(draw("stages", [(shown, lines)], SPAN, []))[1] == [pytest.approx(52), pytest.approx(104)]


def test_no_data_and_a_value_that_is_no_number_leave_the_panel_empty() -> None:
    shown = panel("Errors & more", SHARE, "None.", ("x", "errors"))
    text = draw("errors", [(shown, [Line({}, "errors", [(0, float("nan"))])]), (shown, [])], SPAN, [])
    assert heights(text) == [[]]
    assert "Errors &amp; more" in text
