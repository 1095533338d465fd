"""Times between tries grow up to their cap, and an error is tried again where it may pass."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from serving.base.errors import (
    ERROR_CLASSES,
    BadInput,
    DeadlinePassed,
    FetchFailed,
    MemoryFull,
    ModelFailed,
    NotFound,
    NotReady,
    QueueFull,
    ServiceFailed,
    ServingError,
    TooLarge,
    WrongContentType,
    WrongInputs,
)
from serving.offline.retry_policy import RetryTimes, Verdict, retry_times, verdict_of
from serving.settings import Settings

SECONDS = st.floats(0.01, 3600)


def test_times_double_up_to_the_cap() -> None:
    times = RetryTimes(0.5, 2.0, 5.0, 0.0)
    assert [pytest.approx(times.pause(tries, 0.7)) for tries in range(1, 7)] == [0.5, 1, 2, 4, 5, 5]


def test_chance_takes_its_share_alone() -> None:
    times = RetryTimes(1.0, 1.0, 1.0, 0.25)
    assert (times.pause(1, 0.0), times.pause(1, 1.0)) == (1.0, 0.75)


@given(SECONDS, st.floats(1, 100), SECONDS, st.floats(0, 1), st.integers(1, 10**6), st.floats(0, 1))
def test_no_time_is_longer_than_the_cap_however_many_tries_there_were(
    first: float, factor: float, cap: float, jitter: float, tries: int, chance: float
) -> None:
    settings = Settings(
        service_name="small",
        username="like",
        offline_retry_second=first,
        offline_retry_factor=factor,
        offline_retry_cap_second=cap,
        offline_retry_jitter=jitter,
    )
    times = retry_times(settings)
    pause = times.pause(tries, chance)
    assert 0 <= pause <= cap
    assert pause <= times.pause(tries + 1, chance) * (1 + 1e-9)


@pytest.mark.parametrize(
    ("kinds", "verdict"),
    [
        ((BadInput, WrongInputs, TooLarge, WrongContentType, NotFound), Verdict.FOR_GOOD),
        ((QueueFull, MemoryFull), Verdict.NO_ROOM),
        ((NotReady, FetchFailed), Verdict.MAY_PASS),
        ((ModelFailed, ServiceFailed, DeadlinePassed, ServingError), Verdict.MODEL),
    ],
)
def test_an_error_says_whether_a_further_try_may_succeed(kinds: tuple[type[ServingError], ...], verdict: Verdict) -> None:
    assert {verdict_of(kind("words")) for kind in kinds} == {verdict}


@pytest.mark.parametrize("kind", ERROR_CLASSES)
def test_an_error_of_the_client_is_never_the_models(kind: type[ServingError]) -> None:
    assert (verdict_of(kind("words")) is Verdict.MODEL) <= (kind.status >= 500)
