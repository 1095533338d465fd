"""The kinds of values that only the settings of a canary have.

Knows Python literals and what is wrong with one. Knows no setting by name.
"""

import re
from itertools import pairwise
from typing import Any

from serving.settings.kinds import Kind, number, whole

MOST_STEPS, MOST_COUNTERS = 20, 16
COUNTER = re.compile(r"[a-zA-Z_][a-zA-Z0-9_]{0,190}_total")
MARGIN = number(0.0001, 1)


def steps() -> Kind:
    """Shares of a canary in %, each above the one before. The baseline gets as much, so that 50 is the most."""
    share = whole(1, 50)

    def convert(value: Any) -> tuple[int, ...]:
        if not isinstance(value, list | tuple) or len(value) > MOST_STEPS:
            raise ValueError
        found = tuple(share.convert(each) for each in value)
        if any(after <= before for before, after in pairwise(found)):
            raise ValueError
        return found

    return Kind(f"a list of whole numbers that rise, from 1 to 50, {MOST_STEPS} at most", "[5, 25, 50]", convert)


def margins() -> Kind:
    """Three margins."""

    def convert(value: Any) -> tuple[float, float, float]:
        if not isinstance(value, list | tuple) or len(value) != 3:
            raise ValueError
        first, second, third = (MARGIN.convert(each) for each in value)
        return first, second, third

    return Kind("three numbers from 0.0001 to 1", "[0.1, 0.03, 0.015]", convert)


def counters() -> Kind:
    """A table from a counter of the service's own to its margin."""

    def convert(value: Any) -> dict[str, float]:
        if not isinstance(value, dict) or len(value) > MOST_COUNTERS:
            raise ValueError
        if not all(isinstance(name, str) and COUNTER.fullmatch(name) for name in value):
            raise ValueError
        return {name: MARGIN.convert(margin) for name, margin in value.items()}

    words = f"a table from a counter, such as faces_missed_total, to a number from 0.0001 to 1, {MOST_COUNTERS} at most"
    return Kind(words, '{"faces_missed_total": 0.02}', convert)
