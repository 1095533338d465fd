"""The description of the machine above a page's figures."""

from bench.machine import Machine


def test_the_description_has_the_day_the_parts_and_the_load() -> None:
    machine = Machine("2026-01-02", 2, "a processor", "Linux 6", "Python 3.11", 0.5)
    words = "2026-01-02, 2 cores (a processor), Linux 6; Python 3.11. Load of the machine before the run: 0.50."
    assert str(machine) == words
