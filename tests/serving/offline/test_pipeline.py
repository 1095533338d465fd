"""Records run through a model that answers as a test says, with a source and sinks in memory."""

import asyncio
import inspect
from collections.abc import Callable, Sequence
from typing import Any

import pytest

from serving.base.errors import BadInput, DeadlinePassed, FetchFailed, ModelFailed, QueueFull, ServiceFailed, ServingError
from serving.core.messages import Done, RawRequest, Reply, Result
from serving.offline.batch_writer import BatchWriter
from serving.offline.offline_metrics import OfflineMetrics
from serving.offline.pipeline import Bounds, Pipeline
from serving.offline.records import Answer, DeadLetter, Origin, Record, Refusal, Unreachable
from serving.offline.retry_policy import RetryTimes
from serving.telemetry.metrics import Metrics

TIMES = RetryTimes(0.01, 1.0, 0.02, 0.0)
BOUNDS = Bounds(limit=4, timeout=5.0, max_record=100, retries=2, times=TIMES, revoke_second=0.05, version="v1")


def record(offset: int, value: bytes | None = b"x", partition: int = 0, refusal: Refusal | None = None) -> Record:
    return Record(Origin("videos", partition, offset), 0, None, value, (), refusal)


class Memory:
    """A source, a model, a sink and dead letters, which note what they are given."""

    def __init__(self, bounds: Bounds = BOUNDS):
        self.finished_offsets: list[int] = []
        self.dropped_offsets: list[int] = []
        self.held = False
        self.begun: list[tuple[RawRequest, Done]] = []
        self.most_running = self.running = 0
        self.result: Callable[[bytes], Result | None] = lambda value: Reply(b"{}")
        self.answers: list[Answer] = []
        self.letters: list[DeadLetter] = []
        self.refusals: dict[int, Refusal] = {}
        self.away, self.writes = False, 0
        loop = asyncio.get_running_loop()
        sink = BatchWriter[Answer]("sink", self.write, TIMES, lambda seconds: None)
        dead = BatchWriter[DeadLetter]("dead", self.bury, TIMES, lambda seconds: None)
        source: Any = self
        self.metrics = OfflineMetrics(Metrics())
        self.pipeline = Pipeline(loop, self.answer, source, [sink], dead, bounds, self.metrics)
        self.tasks = [asyncio.create_task(sink.run()), asyncio.create_task(dead.run())]

    # As the source.

    def finished(self, origin: Origin) -> None:
        self.finished_offsets.append(origin.offset)

    def dropped(self, origin: Origin) -> None:
        self.dropped_offsets.append(origin.offset)

    def hold(self, held: bool) -> None:
        self.held = held

    # As the core.

    def answer(self, raw: RawRequest, done: Done) -> None:
        self.begun.append((raw, done))
        self.running += 1
        self.most_running = max(self.most_running, self.running)
        result = self.result(raw.read())
        if result is not None:
            asyncio.get_running_loop().call_soon(self.give, done, result)

    def give(self, done: Done, result: Result) -> None:
        self.running -= 1
        done(result)

    # As sinks.

    async def write(self, answers: Sequence[Answer]) -> list[Refusal | None]:
        self.writes += 1
        if self.away:
            raise Unreachable("the sink is away")
        self.answers += answers
        return [self.refusals.get(answer.record.origin.offset) for answer in answers]

    async def bury(self, letters: Sequence[DeadLetter]) -> list[None]:
        self.letters += letters
        return [None] * len(letters)

    def reasons(self) -> dict[int, str]:
        return {letter.record.origin.offset: letter.refusal.reason for letter in self.letters}

    async def until(self, true: Callable[[], bool]) -> None:
        for _ in range(2000):
            if true():
                return
            await asyncio.sleep(0.005)
        raise AssertionError("it did not come true")


def on_loop(bounds: Bounds = BOUNDS) -> Callable[[Callable[..., Any]], Callable[..., None]]:
    """Return a decorator that runs a test with a Memory, as its first argument."""

    def decorate(test: Callable[..., Any]) -> Callable[..., None]:
        async def main(**given: Any) -> None:
            memory = Memory(bounds)
            await test(memory, **given)
            for task in memory.tasks:
                task.cancel()

        def ran(**given: Any) -> None:
            asyncio.run(main(**given))

        others = [each for each in inspect.signature(test).parameters.values() if each.name != "memory"]
        ran.__signature__ = inspect.Signature(others)  # type: ignore[attr-defined]
        return ran

    return decorate


@on_loop()
async def test_every_record_is_answered_in_order_and_no_more_than_the_limit_are_in_the_core_at_once(memory: Memory) -> None:
    memory.pipeline.take([record(offset) for offset in range(50)])
    await memory.until(lambda: len(memory.finished_offsets) == 50)
    assert memory.finished_offsets == list(range(50))
    assert [answer.record.origin.offset for answer in memory.answers] == list(range(50))
    assert memory.most_running == BOUNDS.limit
    assert memory.pipeline.unfinished == {}
    assert memory.answers[0].version == "v1"


@on_loop()
async def test_an_answer_that_comes_at_once_begins_the_next_record_without_a_call_inside_a_call(memory: Memory) -> None:
    memory.pipeline._answer = lambda raw, done: done(Reply(b"{}"))
    memory.pipeline.take([record(offset) for offset in range(5000)])
    await memory.until(lambda: len(memory.finished_offsets) == 5000)


@on_loop()
async def test_a_tombstone_is_finished_without_an_answer_and_a_refused_or_large_one_is_dead_without_a_try(
    memory: Memory,
) -> None:
    memory.pipeline.take(
        [
            record(0, None),
            record(1, b"x" * 101),
            record(2, None, refusal=Refusal("killed_process", "it killed")),
            record(3, b""),
        ]
    )
    await memory.until(lambda: len(memory.finished_offsets) == 4)
    assert memory.reasons() == {1: "too_large", 2: "killed_process"}
    assert [answer.record.origin.offset for answer in memory.answers] == [3]
    assert memory.pipeline.outcomes == {"tombstone": 1, "dead": 2, "answered": 1}


@on_loop()
async def test_wrong_input_is_dead_at_once_and_an_error_that_may_pass_after_its_tries(memory: Memory) -> None:
    errors: dict[bytes, ServingError] = {
        b"bad": BadInput("no face"), b"model": ModelFailed("nan"), b"url": FetchFailed("the server is away")
    }  # fmt: skip
    memory.result = lambda value: errors.get(value, Reply(b"{}"))
    memory.pipeline.take([record(0, b"bad"), record(1, b"model"), record(2, b"url"), record(3)])
    await memory.until(lambda: len(memory.finished_offsets) == 4)
    assert memory.reasons() == {0: "bad_input", 1: "model_failed", 2: "bad_input"}
    tries = [raw.read() for raw, _ in memory.begun]
    assert (tries.count(b"bad"), tries.count(b"model"), tries.count(b"url")) == (1, 3, 3)
    assert memory.letters[-1].refusal.text.endswith("(after 3 tries)")


@on_loop()
async def test_an_error_that_passes_leaves_no_trace(memory: Memory) -> None:
    seen: set[bytes] = set()

    def second_time(value: bytes) -> Result:
        return Reply(b"{}") if value in seen or seen.add(value) else ServiceFailed("once")  # type: ignore[func-returns-value]

    memory.result = second_time
    memory.pipeline.take([record(offset, b"%d" % offset) for offset in range(9)])
    await memory.until(lambda: len(memory.finished_offsets) == 9)
    assert memory.letters == []


@on_loop()
async def test_a_record_that_finds_no_room_waits_for_another_to_leave_however_often_that_is(memory: Memory) -> None:
    memory.result = lambda value: None if value == b"slow" else QueueFull("full")
    memory.pipeline.take([record(0, b"slow"), record(1), record(2)])
    await asyncio.sleep(0.1)
    assert len(memory.begun) == 3  # none that was turned away has tried again
    memory.result = lambda value: Reply(b"{}")
    memory.give(memory.begun[0][1], Reply(b"{}"))
    await memory.until(lambda: len(memory.finished_offsets) == 3)
    assert memory.letters == []


@on_loop()
async def test_a_record_that_never_finds_room_though_it_is_alone_is_dead(memory: Memory) -> None:
    memory.result = lambda value: QueueFull("more rows than the queue has")
    memory.pipeline.take([record(0)])
    await memory.until(lambda: memory.finished_offsets == [0])
    assert memory.reasons() == {0: "queue_full"}


@on_loop(BOUNDS._replace(timeout=0.05))
async def test_a_try_that_nobody_answers_ends_at_its_deadline_and_a_late_answer_is_ignored(memory: Memory) -> None:
    memory.result = lambda value: None
    memory.pipeline.take([record(0)])
    await memory.until(lambda: memory.finished_offsets == [0])
    assert memory.reasons() == {0: "deadline_passed"}
    for _, done in memory.begun:
        done(Reply(b"{}"))
    await asyncio.sleep(0.05)
    assert (memory.answers, memory.finished_offsets) == ([], [0])


@on_loop()
async def test_a_failing_model_stops_the_reading_and_empties_nothing_into_dead_letters(memory: Memory) -> None:
    memory.result = lambda value: ServiceFailed("a broken release")
    memory.pipeline.take([record(offset) for offset in range(60)])
    await memory.until(lambda: memory.held)
    tried = len(memory.begun)
    await memory.until(lambda: len(memory.begun) > tried + BOUNDS.limit)
    memory.most_running = memory.running
    await memory.until(lambda: len(memory.begun) > tried + 4 * BOUNDS.limit)
    assert memory.most_running == 1
    assert len(memory.letters) == 10
    memory.result = lambda value: Reply(b"{}")
    await memory.until(lambda: len(memory.finished_offsets) == 60)
    assert (memory.held, len(memory.letters), len(memory.answers)) == (False, 10, 50)


@on_loop()
async def test_a_record_that_was_never_tried_ends_the_stop_though_those_that_failed_are_all_bad(memory: Memory) -> None:
    memory.result = lambda value: DeadlinePassed("slow") if value == b"bad" else Reply(b"{}")
    memory.pipeline.take([record(offset, b"bad") for offset in range(15)])
    await memory.until(lambda: memory.held)
    memory.pipeline.take([record(99, b"good")])  # it was on its way when the reading stopped
    await memory.until(lambda: not memory.held)
    await memory.until(lambda: len(memory.finished_offsets) == 16)
    assert [answer.record.origin.offset for answer in memory.answers] == [99]


@on_loop()
async def test_a_sink_that_is_away_is_waited_for_and_what_it_refuses_is_dead(memory: Memory) -> None:
    memory.away = True
    memory.refusals = {1: Refusal("refused_by_sink", "a zero byte")}
    memory.pipeline.take([record(0), record(1)])
    await memory.until(lambda: memory.writes > 2)
    assert memory.finished_offsets == []
    memory.away = False
    await memory.until(lambda: sorted(memory.finished_offsets) == [0, 1])
    assert memory.reasons() == {1: "refused_by_sink"}


@pytest.mark.parametrize(
    ("reply", "reason"),
    [
        (Reply(b"no", "text/plain"), "not_json"),
        (Reply(b"{}", status=422), "refused_by_service"),
        (Reply(b"{}", status=500), "service_failed"),
    ],
)
@on_loop()
async def test_an_answer_that_no_sink_takes_is_a_dead_letter(memory: Memory, reply: Reply, reason: str) -> None:
    memory.result = lambda value: reply
    memory.pipeline.take([record(0)])
    await memory.until(lambda: memory.finished_offsets == [0])
    assert (memory.reasons(), memory.answers) == ({0: reason}, [])


@on_loop(BOUNDS._replace(revoke_second=1.0))  # in which even a busy machine writes the first answer
async def test_a_withdrawn_partition_keeps_what_was_begun_and_drops_the_rest(memory: Memory) -> None:
    memory.result = lambda value: None
    memory.pipeline.take([record(offset) for offset in range(6)] + [record(9, b"y", partition=1)])
    assert [origin.offset for origin in memory.pipeline.withdraw("videos", 0)] == [4, 5]
    memory.give(memory.begun[0][1], Reply(b"{}"))
    memory.give(memory.begun[1][1], ServiceFailed("it is not tried again"))
    await memory.until(lambda: memory.finished_offsets == [0])
    assert memory.dropped_offsets == [1]
    await memory.until(lambda: memory.dropped_offsets == [1, 2, 3])  # their time is over
    memory.give(memory.begun[2][1], Reply(b"{}"))
    await asyncio.sleep(0.05)
    assert [answer.record.origin.offset for answer in memory.answers] == [0]
    assert [work.record.origin.partition for work in memory.pipeline.unfinished] == [1]


@on_loop()
async def test_after_its_time_a_withdrawn_answer_is_not_written_to_a_sink_that_comes_back(memory: Memory) -> None:
    memory.away = True
    memory.pipeline.take([record(0), record(1, partition=1)])
    await memory.until(lambda: memory.writes > 0)
    assert memory.pipeline.withdraw("videos", 0) == []
    await memory.until(lambda: memory.dropped_offsets == [0])
    memory.away = False
    await memory.until(lambda: memory.finished_offsets == [1])
    assert [answer.record.origin.offset for answer in memory.answers] == [1]


@on_loop()
async def test_records_that_wait_for_a_further_try_or_for_the_model_are_dropped_at_once(memory: Memory) -> None:
    memory.result = lambda value: ServiceFailed("a broken release")
    memory.pipeline.take([record(offset) for offset in range(30)])
    await memory.until(lambda: memory.held)
    memory.result = lambda value: None
    memory.pipeline.withdraw("videos", 0)
    await memory.until(lambda: not memory.pipeline.unfinished)
    await memory.until(lambda: not memory.held)  # or the next owner's records would never be read


@on_loop()
async def test_a_sink_that_is_away_keeps_no_answer_of_a_partition_that_comes_and_goes(memory: Memory) -> None:
    memory.away = True
    (sink,) = memory.pipeline._sinks
    memory.pipeline.take([record(0)])  # of a partition that stays, so the batch that is tried again never empties
    await memory.until(lambda: memory.writes > 0)
    for turn in range(1, 11):
        memory.pipeline.take([record(offset, partition=1) for offset in range(20)])
        await memory.until(lambda: sink.waiting() >= 21)
        memory.pipeline.withdraw("videos", 1)
        await memory.until(lambda turn=turn: len(memory.dropped_offsets) == 20 * turn)  # type: ignore[misc]
        assert sink.waiting() == 1
    memory.away = False
    await memory.until(lambda: memory.finished_offsets == [0])
