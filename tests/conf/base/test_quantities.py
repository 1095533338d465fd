"""Numbers as a person reads them."""

import math

import pytest

from conf.base.quantities import counted, significant


@pytest.mark.parametrize(
    ("number", "words"),
    [
        (100.0, "100"),
        (99.96, "100"),
        (12_345.6, "12,346"),
        (9.96, "10"),
        (1.24, "1.2"),
        (2.0, "2"),
        (0.0123, "0.012"),
        (0.00001234, "0.000012"),
        (0.0, "0"),
        (-0.4, "-0.4"),
        (math.inf, "inf"),
    ],
)
def test_a_number_has_its_first_digits_and_never_an_exponent(number: float, words: str) -> None:
    assert significant(number, 2) == words


def test_one_thing_is_told_in_the_singular() -> None:
    assert [counted(each, "hour") for each in (0, 1, 2, 1234)] == ["0 hours", "1 hour", "2 hours", "1,234 hours"]
