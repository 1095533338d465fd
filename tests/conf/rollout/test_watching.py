"""How long a release is waited for. What is looked at meanwhile is shown on a cluster."""

from conf.rollout.watching import Patience


def test_patience_counts_anew_whenever_one_more_pod_is_ready() -> None:
    waiting = Patience(60, 1000)
    assert [waiting.sees(ready, 1000 + 50 * ready) for ready in range(1, 6)] == [True] * 5
    assert not waiting.is_over(1000 + 50 * 5 + 59)
    assert waiting.is_over(1000 + 50 * 5 + 61)


def test_a_pod_that_is_ready_again_and_again_gains_no_time() -> None:
    waiting = Patience(60, 1000)
    assert [waiting.sees(ready, 1010 + at) for at, ready in enumerate((1, 0, 1, 0, 1))] == [True, False, False, False, False]
    assert waiting.is_over(1071)


def test_without_any_pod_it_is_over_in_its_time() -> None:
    waiting = Patience(60, 1000)
    assert not waiting.sees(0, 1050)
    assert (waiting.is_over(1060), waiting.is_over(1061)) == (False, True)
