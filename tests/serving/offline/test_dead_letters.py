"""A dead letter is whole where the topic takes it, and else a reference to its record."""

import asyncio
from collections.abc import Sequence
from typing import Any

import pytest

from serving.offline.kafka.dead_letters import DeadTopic
from serving.offline.kafka.producer import Refused
from serving.offline.records import DeadLetter, Origin, Record, Refusal, Unreachable

TOO_LARGE = Refused(Refusal("too_large", "the broker takes less"))


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
