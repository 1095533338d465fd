"""The part of docs/performance.md about other servers, and the picture, on invented figures."""

import json
from dataclasses import asdict, replace
from xml.etree import ElementTree

from bench.machine import Machine
from bench.peers import goals
from bench.peers.goals import GOALS
from bench.peers.peer import Group, Peer
from bench.peers.report import draw, write
from bench.peers.rounds import Load, Result, Turn, parsed
from bench.peers.works import MANY
from bench.work import ROOT

MACHINE = Machine("2026-01-02", 2, "a processor", "Linux 6", "Python 3.11", 0.1)


def peer(name: str, group: Group = "python") -> Peer:
    return Peer(name, f"Server {name}", name, "numpy", (), {}, "As it comes.", lacks="No tensors.", group=group)


def result(name: str, *rates: float, work: str = "small-json", error: str = "") -> Result:
    """A result whose rounds have these rates of the peer, where this server always has 1000."""
    turns = [Turn(Load(1000, 1, 2, 0.5), Load(rate, 3, 4, 0.25)) for rate in rates]
    found = {work: {MANY: turns}} if turns else {}
    return Result(name, f"Server {name}", "1.2", "2026-01-02", 60.0, found, error, "abc of 2026-01-01")


def results(*all_of_them: Result) -> dict[str, Result]:
    return {one.name: one for one in all_of_them}


def test_a_ratio_is_the_median_of_the_rounds_own() -> None:
    assert goals.ratio(result("a", 500, 250, 2000), "small-json", MANY) == 2
    assert goals.ratio(result("a"), "small-json", MANY) is None


def test_the_best_peer_of_a_group_decides_and_before_is_derived_from_turns_with_both() -> None:
    peers = [peer("slow"), peer("quick"), peer("loop", "bare")]
    measured = results(result("slow", 100), result("quick", 800), result("loop", 4000), result("before", 500))
    best = goals.found(GOALS[1], peers, measured)
    assert (best.peer, best.ratio, best.before) == ("Server quick", 1.25, 0.625)
    assert goals.found(GOALS[0], peers, measured).ratio == 0.25


def test_a_peer_that_is_ahead_is_named_with_where() -> None:
    peers = [peer("slow"), peer("loop", "bare")]
    text = write(peers, results(result("slow", 100), result("loop", 4000)), MACHINE)
    assert "**Server loop is ahead of this server**: small-json with 32 connections (ratio 0.25)." in text
    assert "Server slow is ahead" not in text
    assert "No peer is ahead" in write(peers, results(result("slow", 100)), MACHINE)


def test_a_goal_says_whether_goal_or_floor_was_reached_or_nothing_measured() -> None:
    text = write([peer("a", "bare")], results(result("a", 1600, work="jpeg"), result("before", 400, work="jpeg")), MACHINE)
    assert "| JPEG: of the bare uvloop loop | 0.8 | 0.9 | **0.62** | 0.25 | **no** |" in text
    assert "| JPEG: of Triton | 0.9 | 1.1 | not measured |  |  |" in text
    assert "| **0.85**" in write([peer("a", "bare")], results(result("a", 1000 / 0.85, work="jpeg")), MACHINE)


def test_what_is_missing_is_named_with_its_error() -> None:
    text = write([peer("a"), peer("b"), peer("c")], results(result("a", 100), result("b", error="pip exits\n with 1")), MACHINE)
    assert "- Server c: not measured yet." in text
    assert "- Server b: pip exits with 1" in text


def test_an_error_on_the_page_names_no_path_or_address_of_this_machine() -> None:
    error = f"{ROOT}/bench/x: no answer from https://index.example.org/simple"
    assert "- Server a: ./bench/x: no answer from (address)\n" in write([peer("a")], results(result("a", error=error)), MACHINE)


def test_a_peers_settings_stand_above_its_figures() -> None:
    text = write([peer("a")], results(result("a", 400, 500, 800)), MACHINE)
    section = text[text.index("### Server a") :]
    assert "numpy 1.2, measured 2026-01-02 beside this server at abc of 2026-01-01. As it comes.\n\nNo tensors.\n" in section
    assert "| small-json | 32 | 500 | 1000 | **2.00** (1.25-2.50) | 3.0 | 4.0 | 1.0 | 2.0 | 0.25 | 0.50 |" in section


def test_the_picture_has_a_bar_for_each_server_the_quickest_first() -> None:
    drawn = draw([peer("a"), peer("<b>")], results(result("a", 500), result("<b>", 4000), result("before", 250)))
    root = ElementTree.fromstring(drawn)
    widths = [float(bar.attrib["width"]) for bar in root.iter("{http://www.w3.org/2000/svg}rect")]
    assert [round(width / widths[1], 2) for width in widths] == [4, 1, 0.5, 0.25]


def test_a_result_is_read_as_it_was_written() -> None:
    written = replace(result("a", 500, 700), error="jpeg: none")
    assert parsed(json.dumps(asdict(written))) == written
