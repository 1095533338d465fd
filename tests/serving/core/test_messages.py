"""The stages of a request follow each other without a gap."""

import threading

from serving.core.messages import Reply, StageTimes
from tests.serving.stage_begins import seconds_of


class Clock:
    """A clock that the test sets."""

    now = 10.0

    def __call__(self) -> float:
        return self.now


def test_the_stages_add_up_to_the_time_from_the_first_byte_to_the_end() -> None:
    clock = Clock()
    times = StageTimes(8.0, clock)
    for now, stage in ((10.0, "queue"), (10.5, "decode"), (12.0, "queue"), (12.25, "infer")):
        clock.now = now
        times.begin(stage)
    clock.now = 20.0
    assert times.end() == 20.0
    assert seconds_of(times.begins) == {"upload": 2.0, "queue": 0.75, "decode": 1.5, "infer": 7.75}
    assert sum(seconds_of(times.begins).values()) == 12.0


def test_a_stage_may_begin_at_a_moment_that_was_noted_before() -> None:
    clock = Clock()
    times = StageTimes(8.0, clock)
    clock.now = 100.0
    times.begin("batch", 9.0)
    times.begin("infer", 9.5)
    times.end()
    assert seconds_of(times.begins) == {"upload": 1.0, "batch": 0.5, "infer": 90.5}


def test_the_stage_under_way_gets_the_time_until_the_end() -> None:
    clock = Clock()
    times = StageTimes(8.0, clock)
    times.begin("queue")
    clock.now = 40.0
    times.end()
    assert seconds_of(times.begins) == {"upload": 2.0, "queue": 30.0}


def test_a_request_that_ends_in_a_batch_is_with_the_model_since_the_batch_took_it() -> None:
    for stage, taken, queue in (("queue", 12.0, 2.0), ("queue", 0.0, 30.0), ("queue", 9.5, 30.0), ("handle", 12.0, 0.0)):
        clock = Clock()
        times = StageTimes(8.0, clock)
        times.begin(stage)
        clock.now = 40.0
        assert times.end(taken) == 40.0
        found = seconds_of(times.begins)
        assert (found.get("queue", 0.0), sum(found.values())) == (queue, 32.0)
        assert found.get("infer", 0.0) == (28.0 if queue == 2.0 else 0.0)


def test_what_a_thread_reports_after_the_end_is_left_out() -> None:
    clock = Clock()
    times = StageTimes(8.0, clock)
    times.end()
    clock.now = 50.0
    thread = threading.Thread(target=times.begin, args=("decode",))
    thread.start()
    thread.join(20)
    times.batch_ended(55.0, 60.0, 65.0)
    assert seconds_of(times.begins) == {"upload": 2.0}


def test_the_stages_of_a_batch_are_noted_at_once() -> None:
    clock = Clock()
    times = StageTimes(8.0, clock)
    times.begin("queue")
    times.batch_ended(10.25, 10.5, 12.5)
    clock.now = 13.0
    times.end()
    assert seconds_of(times.begins) == {"upload": 2.0, "queue": 0.25, "batch": 0.25, "infer": 2.0, "encode": 0.5}


def test_an_answer_is_good_json_unless_it_says_otherwise() -> None:
    assert (Reply(b"").status, Reply(b"").content_type, Reply(b"").headers) == (200, "application/json", ())
