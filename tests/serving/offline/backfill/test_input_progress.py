from collections.abc import Sequence

from hypothesis import given, settings
from hypothesis import strategies as st

from serving.offline.backfill.input_progress import InFlight, Item
from serving.offline.records import Origin, Record


def item(number: int) -> Item:
    return Item(Record(Origin("a.jsonl", 0, number), 0, None, b"{}"), number, [number, 10 * number], 10.0 * number)


@settings(deadline=None, derandomize=True, database=None)
@given(st.integers(1, 12).flatmap(lambda count: st.tuples(st.permutations(range(1, count + 1)), st.integers(0, count))))
def test_what_is_noted_tells_exactly_which_items_are_done(case: tuple[Sequence[int], int]) -> None:
    order, done = case
    unfinished = InFlight()
    for number in sorted(order):
        assert unfinished.give(item(number))
    for number in order[:done]:
        unfinished.finish(number)
    first = unfinished.after[0] if isinstance(unfinished.after, list) else 0
    assert {*range(1, int(first) + 1), *unfinished.finished()} == set(order[:done])
    assert unfinished.spread() == len(order) - int(first)
    assert unfinished.through == 10.0 * int(first)


@settings(deadline=None, derandomize=True, database=None)
@given(st.integers(1, 12).flatmap(lambda count: st.tuples(st.permutations(range(1, count + 1)), st.integers(0, count))))
def test_a_second_run_is_given_what_the_first_one_left(case: tuple[Sequence[int], int]) -> None:
    order, done = case
    first = InFlight()
    for number in sorted(order):
        first.give(item(number))
    for number in order[:done]:
        first.finish(number)
    second = InFlight(first.after, first.through, first.finished())
    assert second.finished() == sorted(first.finished(), key=str)  # before it has read them, it still knows them
    begin = int(first.after[0]) if isinstance(first.after, list) else 0
    given_again = [number for number in range(begin + 1, len(order) + 1) if second.give(item(number))]
    assert given_again == sorted(order[done:])
    for number in given_again:
        second.finish(number)
    assert second.spread() == 0
