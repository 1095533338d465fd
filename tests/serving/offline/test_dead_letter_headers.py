import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from serving.offline.kafka.dead_letters import MARK, NotDead, headers_of, record_of, replays_of
from serving.offline.records import DeadLetter, Origin, Record, Refusal

NAMES = st.sampled_from(["error", "id", MARK, "origin-topic", "by-reference", "x"])
HEADERS = st.lists(st.tuples(NAMES, st.binary(max_size=9)))


@settings(deadline=None, derandomize=True, database=None)
@given(HEADERS, st.none() | st.binary(max_size=9), st.binary(max_size=9), st.integers(0, 2**62), st.text(max_size=9))
def test_a_replay_gives_the_record_that_died(
    own: list[tuple[str, bytes]], key: bytes | None, value: bytes, number: int, text: str
) -> None:
    record = Record(Origin("likes", 3, number), 1234, key, value, tuple(own))
    letter = DeadLetter(record, Refusal("bad_input", text), "id7", "v1")
    for replays in (1, 2, 3):  # dead again after each replay
        dead = record_of(headers_of(letter, False), key, value)
        assert dead.record._replace(headers=tuple(own)) == record
        assert dead.record.headers == (*own, ("replays", b"%d" % replays))
        assert (replays_of(dead.record.headers), dead.by_reference) == (replays, False)
        letter = letter._replace(record=dead.record)


def test_what_is_too_large_to_copy_is_kept_by_reference() -> None:
    record = Record(Origin("likes", 3, 7), 1234, b"k", b"value")
    headers = headers_of(DeadLetter(record, Refusal("too_large", "no"), "id7", "v1"), True)
    assert record_of(headers, b"k", b"") == (record._replace(value=None, headers=(("replays", b"1"),)), True)


@pytest.mark.parametrize("headers", [[], [("error", b"x")], [(MARK, b"1")], [(MARK, b"1"), ("origin-topic", b"\xff")]])
def test_another_message_of_the_topic_is_no_dead_letter(headers: list[tuple[str, bytes]]) -> None:
    with pytest.raises(NotDead):
        record_of(headers, None, b"x")
