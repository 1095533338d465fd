"""A dead letter is whole where the topic takes it, else a reference, and a replay gives each once as the record that it was."""

import asyncio
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from serving.base.errors import StartError
from serving.offline.backfill.opening import Opened, open_replay, summary
from serving.offline.kafka.client_configuration import connection
from serving.offline.kafka.dead_letters import MARK, DeadTopic, NotDead, headers_of, record_of, replays_of
from serving.offline.kafka.producer import Refused
from serving.offline.records import DeadLetter, Origin, Record, Refusal, Unreachable
from serving.settings import Settings
from serving.settings.value_file import load
from tests.running import make_service
from tests.serving.offline import broker
from tests.serving.offline.backfill.taker import Taker
from tests.waiting import on_loop

TOO_LARGE = Refused(Refusal("too_large", "the broker takes less"))
NAMES = st.sampled_from(["error", "id", MARK, "origin-topic", "by-reference", "x"])
HEADERS = st.lists(st.tuples(NAMES, st.binary(max_size=9)))
Open = Callable[..., Opened]


class Topic:
    """A topic that takes messages up to a size, and may be away. kept: what it took."""

    def __init__(self, most: int):
        self.most, self.kept = most, list[tuple[bytes | None, dict[str, bytes]]]()

    async def write(self, topic: str, key: bytes | None, value: bytes | None, headers: Sequence[tuple[str, bytes]]) -> None:
        if len(value or b"") + sum(len(name) + len(text) for name, text in headers) > self.most:
            raise TOO_LARGE
        self.kept.append((value, dict(headers)))


def letter(value: bytes | None, *headers: tuple[str, bytes]) -> DeadLetter:
    return DeadLetter(Record(Origin("videos", 1, 7), 5, b"key", value, headers), Refusal("bad_input", "no face"), "id", "v1")


def written(most: int, *letters: DeadLetter, copied: int = 1000) -> list[tuple[bytes | None, dict[str, bytes]]]:
    topic: Any = Topic(most)
    asyncio.run(DeadTopic("dead", topic, copied).write(letters))
    return topic.kept  # type: ignore[no-any-return]


def test_a_letter_has_the_records_value_and_headers_and_says_why_it_is_dead() -> None:
    [(value, headers)] = written(10_000, letter(b"abc", ("content-type", b"image/png")))
    assert value == b"abc"
    assert (headers["error"], headers["reason"], headers["id"], headers["version"]) == (b"no face", b"bad_input", b"id", b"v1")
    assert (headers["origin-topic"], headers["origin-partition"], headers["origin-offset"]) == (b"videos", b"1", b"7")
    assert headers["content-type"] == b"image/png"
    assert "by-reference" not in headers


@pytest.mark.parametrize(("size", "most"), [(1001, 10_000), (900, 500)])
def test_what_is_too_large_to_copy_is_kept_by_reference(size: int, most: int) -> None:
    [(value, headers)] = written(most, letter(b"x" * size, ("trace", b"1")))
    assert (value, headers["by-reference"], headers["trace"]) == (b"", b"1", b"1")


def test_headers_that_are_too_large_are_left_at_the_origin_too() -> None:
    [(value, headers)] = written(500, letter(b"x", ("trace", b"y" * 1000)))
    assert (value, headers["by-reference"], headers["origin-offset"]) == (b"", b"1", b"7")
    assert "trace" not in headers


def test_a_topic_that_takes_no_letter_at_all_is_waited_for() -> None:
    with pytest.raises(Unreachable, match="must take every record"):
        written(10, letter(b"x"))


@settings(deadline=None, derandomize=True, database=None)
@given(HEADERS, st.none() | st.binary(max_size=9), st.binary(max_size=9), st.integers(0, 2**62), st.text(max_size=9))
def test_a_replay_gives_the_record_that_died(
    own: list[tuple[str, bytes]], key: bytes | None, value: bytes, number: int, text: str
) -> None:
    record = Record(Origin("likes", 3, number), 1234, key, value, tuple(own))
    letter = DeadLetter(record, Refusal("bad_input", text), "id7", "v1")
    for replays in (1, 2, 3):  # dead again after each replay
        died, by_reference = record_of(headers_of(letter, False), key, value)
        assert died._replace(headers=tuple(own)) == record
        assert died.headers == (*own, ("replays", b"%d" % replays))
        assert (replays_of(died.headers), by_reference) == (replays, False)
        letter = letter._replace(record=died)


def test_a_letter_by_reference_is_a_record_without_a_value() -> None:
    record = Record(Origin("likes", 3, 7), 1234, b"k", b"value")
    headers = headers_of(DeadLetter(record, Refusal("too_large", "no"), "id7", "v1"), True)
    assert record_of(headers, b"k", b"") == (record._replace(value=None, headers=(("replays", b"1"),)), True)


@pytest.mark.parametrize("headers", [[], [("error", b"x")], [(MARK, b"1")], [(MARK, b"1"), ("origin-topic", b"\xff")]])
def test_another_message_of_the_topic_is_no_dead_letter(headers: list[tuple[str, bytes]]) -> None:
    with pytest.raises(NotDead):
        record_of(headers, None, b"x")


@pytest.fixture
def dead_topic(kafka_address: str, topic: str, group: str) -> Iterator[str]:
    """The topic of dead letters of two partitions."""
    name = f"{topic}-{group}-dead"
    broker.create_topic(kafka_address, name, 2)
    yield name
    broker.delete_topics(kafka_address, [name])
    broker.delete_group(kafka_address, f"{group}-replay")


@pytest.fixture
def small(tmp_path: Path) -> Settings:
    make_service(tmp_path / "small", 'model_path = "model/digits.onnx"')
    return load(tmp_path / "small/value.py", []).settings


@pytest.fixture
def replay(kafka_address: str, topic: str, group: str, small: Settings) -> Open:
    """Return a function that opens the replay of the topic's dead letters."""
    connected = connection({}, "monopod-test", kafka_address)
    return lambda **more: open_replay(connected, topic, group, small, **more)


def died(address: str, dead_topic: str, record: Record, partition: int = 0, by_reference: bool = False) -> None:
    """Write a dead letter."""
    headers = headers_of(DeadLetter(record, Refusal("bad_input", "no"), "id7", "v1"), by_reference)
    value = b"" if by_reference else record.value
    broker.produce(address, dead_topic, [value], partition, key=record.key, headers=list(headers))


def run(opened: Opened, finish: Callable[[Taker, Sequence[Record]], None] = Taker.finish_all) -> list[Record]:
    taker = Taker(opened, finish)
    asyncio.run(taker.run())
    return taker.taken


def test_each_dead_letter_comes_once_as_the_record_that_it_was(
    kafka_address: str, topic: str, group: str, dead_topic: str, replay: Open
) -> None:
    headers = (("content-type", b"application/json"),)
    records = [Record(Origin("likes", at % 3, at), 1000 + at, b"k%d" % at, b'{"n":1}', headers) for at in range(8)]
    for at, record in enumerate(records[:6]):
        died(kafka_address, dead_topic, record, at % 2)
    taken = run(replay())
    assert sorted(record._replace(headers=headers) for record in taken) == sorted(records[:6])
    assert {replays_of(record.headers) for record in taken} == {1}
    assert run(replay()) == []  # its commits say that all are done
    died(kafka_address, dead_topic, records[7])
    assert [record.origin for record in run(replay())] == [records[7].origin]
    assert broker.committed(kafka_address, group, topic) == (None, "")
    assert broker.committed(kafka_address, f"{group}-replay", dead_topic)[0] == 4


def test_a_limit_ends_a_replay_and_the_next_one_goes_on_there(kafka_address: str, dead_topic: str, replay: Open) -> None:
    records = [Record(Origin("likes", 0, at), 1000 + at, None, b"x") for at in range(5)]
    for record in records:
        died(kafka_address, dead_topic, record)
    assert [record.origin for record in run(replay(limit=2))] == [record.origin for record in records[:2]]
    assert [record.origin for record in run(replay())] == [record.origin for record in records[2:]]


def test_what_dies_again_waits_for_the_next_replay_with_its_count(kafka_address: str, dead_topic: str, replay: Open) -> None:
    died(kafka_address, dead_topic, Record(Origin("likes", 0, 7), 1, None, b"x"))

    def die(taker: Taker, records: Sequence[Record]) -> None:
        for record in records:
            died(kafka_address, dead_topic, record)
        taker.finish_all(records)

    for replays in (1, 2):
        again = run(replay(), die)
        assert [(record.origin, replays_of(record.headers)) for record in again] == [(Origin("likes", 0, 7), replays)]
    opened = replay()
    assert [replays_of(record.headers) for record in run(opened)] == [3]
    told = summary(opened, 1, 0, 1.0, dead_topic)
    assert (told.complete, told.dead_letters) == (True, dead_topic)


def test_a_record_by_reference_is_read_again_where_it_still_is(
    kafka_address: str, topic: str, dead_topic: str, replay: Open
) -> None:
    broker.produce(kafka_address, topic, [b"a" * 900_000, b"b" * 900_000, b"c"])
    for offset in (0, 1, 2, 3):
        died(kafka_address, dead_topic, Record(Origin(topic, 0, offset), 1, b"k", b"large"), by_reference=True)
    died(kafka_address, dead_topic, Record(Origin("monopod-test-nowhere", 0, 0), 1, b"k", b"large"), by_reference=True)
    broker.lose_before(kafka_address, topic, 1)
    taken = run(replay())
    assert [(record.origin.offset, len(record.value or b"")) for record in taken] == [
        (0, 0),
        (1, 900_000),
        (2, 1),
        (3, 0),
        (0, 0),
    ]
    refusals = [record.refusal.text if record.refusal else "" for record in taken]
    assert f" offset 0 of {topic} [0]: " in refusals[0]
    assert refusals[0].endswith("holds the offsets 1 to 2 now")
    assert "nowhere [0]: there is no such topic" in refusals[4]
    assert [record.refusal and record.refusal.reason for record in taken] == ["gone", None, None, "gone", "gone"]


def test_two_dead_letters_of_one_record_are_tried_once(kafka_address: str, dead_topic: str, replay: Open) -> None:
    for partition in (0, 0):
        died(kafka_address, dead_topic, Record(Origin("likes", 0, 7), 1, None, b"x"), partition)

    def finish_at_the_end(taker: Taker, records: Sequence[Record]) -> None:
        asyncio.get_running_loop().call_later(1, taker.finish_all, records)

    assert len(run(replay(), finish_at_the_end)) == 1
    assert run(replay()) == []


def test_what_is_no_dead_letter_is_passed_over_and_counted(kafka_address: str, dead_topic: str, replay: Open) -> None:
    broker.produce(kafka_address, dead_topic, [b"by hand"])
    opened = replay()
    assert run(opened) == []
    assert summary(opened, 0, 0, 1.0).passed_over == 1


def test_a_dry_run_commits_nothing(kafka_address: str, dead_topic: str, replay: Open) -> None:
    died(kafka_address, dead_topic, Record(Origin("likes", 0, 7), 1, None, b"x"))
    assert len(run(replay(dry_run=True))) == 1
    assert len(run(replay())) == 1


@on_loop
async def test_a_stop_commits_what_is_done(kafka_address: str, dead_topic: str, replay: Open) -> None:
    for offset in range(5):
        died(kafka_address, dead_topic, Record(Origin("likes", 0, offset), 1, None, b"x"))

    def finish(taker: Taker, records: Sequence[Record]) -> None:
        taker.finish_all([record for record in records if record.origin.offset < 2])

    taker = Taker(replay(), finish)
    running = asyncio.create_task(taker.run())
    while len(taker.taken) < 5:
        await asyncio.sleep(0.02)
    await taker.source.stop(0.5)
    await running
    again = Taker(replay(), Taker.finish_all)
    await again.run()
    assert [record.origin.offset for record in again.taken] == [2, 3, 4]


def test_no_topic_of_dead_letters_is_told(topic: str, replay: Open) -> None:
    with pytest.raises(StartError, match=f"{topic}-.*-dead at .*: the topic does not exist"):
        replay()


def test_brokers_that_are_away_are_told(small: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("serving.offline.kafka.checks.ASK_SECONDS", 1.0)
    with pytest.raises(StartError, match=r"likes-like-dead at 127.0.0.1:1: .*start again"):
        open_replay(connection({}, "monopod-test", "127.0.0.1:1"), "likes", "like", small)


def test_a_dead_letter_of_an_older_version_is_replayed() -> None:
    about = {"error": "no face", "reason": "bad_input", "id": "id7", "origin-topic": "likes", "origin-partition": "3"}
    about |= {"origin-offset": "7", "origin-time": "1234", "version": "v1"}
    headers = [("trace", b"1"), ("dead-letter", b"1"), *((name, text.encode()) for name, text in about.items())]
    expected = Record(Origin("likes", 3, 7), 1234, b"k", b"value", (("trace", b"1"), ("replays", b"1")))
    assert record_of(headers, b"k", b"value") == (expected, False)
    letter = DeadLetter(expected._replace(headers=(("trace", b"1"),)), Refusal("bad_input", "no face"), "id7", "v1")
    assert list(headers_of(letter, False)) == headers
