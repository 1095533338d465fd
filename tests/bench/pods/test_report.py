"""The section on invented figures."""

import math
from dataclasses import replace

import pytest

from bench.machine import Machine
from bench.pods.ladder import Sides
from bench.pods.report import Even, Figures, section, verdicts
from bench.pods.servers import CardUse

CARDS = (CardUse(50.0, 9000), CardUse(52.0, 9100), CardUse(51.0, 9300), CardUse(50.5, 9200))
EVEN = Even(700.0, 60, 20.0, 45.0, 42000, 42000, CARDS, 0, 20.0, 4.0, 3.0)


def figures(even: Even = EVEN, pods: float = 1000.0) -> Figures:
    machine = Machine("2026-01-02", 2, "a processor", "Linux 6", "Python 3.11", 0.1)
    climbed = [{pods / 2: 30.0, pods: p99, pods + 100: 150.0} for p99 in (45.0, 55.0, 90.0)]
    ways = {"another": [{200.0: 20.0, 320.0: 70.0}] * 3, "one": [{200.0: 20.0, 320.0: 50.0, 350.0: math.inf}] * 3}
    return Figures(machine, Sides(1280, 381), 32, 5, climbed, ways, even)


def test_rates_are_those_of_the_median_over_the_rounds() -> None:
    assert figures().rates(60) == Sides(1000, 320)
    assert figures().rates(40) == Sides(500, 200)


def test_both_targets_are_held_against_what_was_found() -> None:
    assert [(found, met) for _, _, found, met in verdicts(figures())] == [("3.12", True), ("1.040", True)]
    uneven = replace(EVEN, cards=(CardUse(40.0, 1), *CARDS))
    assert [met for *_, met in verdicts(figures(uneven, 900.0))] == [False, False]


def test_an_even_load_of_which_a_part_was_refused_meets_no_target() -> None:
    assert [met for *_, met in verdicts(figures(replace(EVEN, good=EVEN.due - 1)))] == [True, False]


def test_a_side_that_holds_no_step_is_no_division_by_zero() -> None:
    assert Sides(500.0, 0.0).ratio == math.inf
    assert replace(EVEN, cards=(CardUse(0.0, 0), *CARDS)).balance == math.inf


def test_the_section_says_that_there_is_no_card_and_how_each_side_is_set_up() -> None:
    text = section(figures())
    assert text.startswith("## Four pods behind Envoy\n")
    assert "No card is in this" in text
    assert "max_batch_size = 32" in text
    assert "`one`" in text
    assert "| 350 | not all answered |" in text


@pytest.mark.parametrize(
    "row",
    [
        "| `another` | 200 | 200 | 320 | 320 |",
        "| 60 ms | 320 | 1000 | **3.12** |",
        "| 52 % | 200 | 20.0 | 500 | 30.0 |",
        "| 2 | 52.00 | 87 % | 9100 |",
        "| most, of least | **1.040** |  | 1.033 |",
    ],
)
def test_a_table_has_the_row(row: str) -> None:
    assert row in section(figures())
