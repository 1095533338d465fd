"""A matcher finds exactly the value that it was made of, whatever stands in it."""

import promql_parser
import pytest
from hypothesis import given
from hypothesis import strategies as st

from conf.base.matchers import chooses, matchers


def value_of(query: str) -> str:
    tree = promql_parser.parse(query)
    assert isinstance(tree, promql_parser.VectorSelector)
    [matcher] = tree.matchers.matchers
    assert matcher.op == promql_parser.MatchOp.Equal
    return matcher.value


@pytest.mark.parametrize("value", ["demo", ".*", "a|b", 'x"} or up{a="', "C:\\temp", "two\nlines", "用户", ""])
def test_a_value_that_looks_like_a_pattern_or_ends_the_text_stays_one_value(value: str) -> None:
    assert value_of(f"up{{{matchers(service=value)}}}") == value


@given(st.text(st.characters(exclude_categories=["Cs", "Cc"])))
def test_any_value_is_found_again(value: str) -> None:
    assert value_of(f"up{{{matchers(service=value)}}}") == value


@pytest.mark.parametrize(
    ("found", "is_chosen"),
    [
        ('code="500"', True),
        ('code="50"', False),
        ('code!="500"', False),
        ('code=~"5.."', True),
        ('code=~"5."', False),
        ('code!~"4..",reason!="short_deadline"', True),
        ('code!~"4..",reason!="internal"', False),
        ('route=""', True),  # A label that is missing is empty.
    ],
)
def test_matchers_choose_a_series_as_prometheus_does(found: str, is_chosen: bool) -> None:
    assert chooses(found, {"code": "500", "reason": "internal"}) == is_chosen


@pytest.mark.parametrize("found", ["code", 'code="a,b"', 'code="500",', ""])
def test_what_is_no_matcher_is_refused(found: str) -> None:
    with pytest.raises(ValueError, match="not matchers"):
        chooses(found, {"code": "500"})


def test_several_labels_stand_in_their_order() -> None:
    assert matchers(namespace="like", service="demo") == 'namespace="like",service="demo"'
