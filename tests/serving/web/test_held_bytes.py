"""The held bytes of requests are counted, and requests over the bound are ended in an order that lets good clients through."""

import pytest

from conf.plan.pods import CACHES, SPOOLED_BODIES
from serving.base.errors import BodiesFull, QueueFull
from serving.web.front.held_bytes import Bodies, Share, bound
from tests.memory import MIB

GIB = 2**30


class SmallBound:
    """Bodies of a hundred bytes at most. ended: the numbers of the ended bodies, in order."""

    def __init__(self) -> None:
        self.bodies, self.ended = Bodies(100), list[int]()

    def begin(self, number: int, count: int = 0) -> Share:
        share = self.bodies.begin(lambda error: self.ended.append(number))
        self.grow(share, count)
        return share

    def grow(self, share: Share, count: int) -> None:
        share.add(count)
        self.bodies.make_room()


def test_the_held_bytes_are_those_added_and_not_released() -> None:
    held = SmallBound()
    one, two = held.begin(1, 10), held.begin(2, 20)
    assert held.bodies.held == 30
    one.finish()
    assert held.bodies.held == 30
    for _ in range(2):
        one.release()
        two.release()
        assert (held.bodies.held, held.bodies.released) == (0, 2)
    two.add(5)
    assert (held.bodies.held, held.ended) == (0, [])


def test_of_equal_bodies_the_oldest_is_ended_and_not_the_newest() -> None:
    held = SmallBound()
    for number in range(12):
        held.begin(number, 10)
    assert held.ended == [0, 1]
    assert held.bodies.held == 100


def test_small_bodies_stay_however_old_and_young_large_ones_end_last() -> None:
    held = SmallBound()
    for number in range(10):
        held.begin(number, 1)  # slow, and small
    liars = [held.begin(number, 8) for number in range(10, 20)]
    assert held.ended == []
    good = held.begin(20, 30)
    assert held.ended == [10, 11, 12]
    held.grow(good, 20)
    assert held.ended == [10, 11, 12, 13, 14]
    assert sum(share.bytes for share in liars if not share.released) + good.bytes + 10 == held.bodies.held


def test_a_body_that_is_alone_over_the_bound_is_ended_itself() -> None:
    held = SmallBound()
    held.begin(1, 101)
    assert held.ended == [1]
    assert held.bodies.held == 0


def test_whole_requests_are_answered_and_hold_others_back_at_their_heads() -> None:
    held = SmallBound()
    whole = held.begin(1, 90)
    whole.finish()
    assert held.bodies.refusal(10) is None
    refusal = held.bodies.refusal(11)
    assert isinstance(refusal, QueueFull), "that is load: more pods help"
    assert "hold 90 bytes" in str(refusal)
    held.begin(2, 11)
    assert held.ended == [2]
    assert held.bodies.refusal(0) is None, "a ping has no body"
    whole.release()
    assert held.bodies.refusal(100) is None


def test_a_body_that_is_ended_is_told_so_once() -> None:
    held = SmallBound()
    again: list[Share] = []

    def end(error: BodiesFull) -> None:
        held.ended.append(1)
        again[0].release()
        held.bodies.make_room()

    share = held.bodies.begin(end)
    again.append(share)
    held.grow(share, 1000)
    held.grow(share, 1000)
    assert (held.ended, held.bodies.held) == ([1], 0)


@pytest.mark.parametrize(
    ("memory", "max_body", "limit"), [(2 * GIB, 16 * MIB, 256), (4 * GIB, 100 * MIB, 400), (256 * MIB, 8 * MIB, 64)]
)
def test_the_bound_is_a_part_of_memory_and_four_bodies_at_least(memory: int, max_body: int, limit: int) -> None:
    assert bound(memory, max_body) == limit * MIB
    assert bound(memory, max_body) <= CACHES + SPOOLED_BODIES * max_body, "so much /tmp has"
