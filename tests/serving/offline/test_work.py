"""A record's value is read as online: an object as JSON, else by its header, else as the bytes of a file."""

import pytest

from serving.offline.records import Origin, Record
from serving.offline.work import RawRecord


def raw(value: bytes, *headers: tuple[str, bytes]) -> RawRecord:
    return RawRecord(Record(Origin("videos", 0, 7), 0, None, value, headers), "an-id", 2.0, lambda attempt, result: None)


@pytest.mark.parametrize("value", [b'{"data": 1}', b'\r\n\t {"data": 1}', b"{"])
def test_an_object_is_json_whatever_its_header_says(value: bytes) -> None:
    assert raw(value).kind == "application/json"
    assert raw(value, ("content-type", b"image/png")).kind == "application/json"


@pytest.mark.parametrize("value", [b"\xff\xd8\xff\xe0", b"[1]", b"", b" " * 300 + b"{"])
def test_other_bytes_are_a_file(value: bytes) -> None:
    assert raw(value).kind == "application/octet-stream"


def test_a_header_says_what_other_bytes_are() -> None:
    found = raw(b"....", ("trace", b"1"), ("Content-Type", b"Video/MP4; codecs=avc1"))
    assert (found.content_type, found.kind) == ("Video/MP4; codecs=avc1", "video/mp4")
    assert raw(b"....", ("content-type", b"")).kind == "application/octet-stream"


def test_a_try_has_its_own_time_and_gives_the_value_as_it_is() -> None:
    record = raw(b"abc")
    assert (record.read(), record.length, record.id, dict(record.parameters())) == (b"abc", 3, "an-id", {})
    assert 1.5 < record.life.left() <= 2.0
