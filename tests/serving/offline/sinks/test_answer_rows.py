"""From an answer to a row, or to the reason why there is none."""

import pytest

from serving.offline.records import Refusal
from serving.offline.sinks.postgresql import TableRow, row_of
from tests.serving.offline.answers import TIME, answer, answer_of


def test_a_row_holds_the_records_origin_the_ids_as_text_and_the_version() -> None:
    row = row_of(answer(7, postid=12, uid="u", version="v2"), ())
    assert isinstance(row, TableRow)
    assert (row.topic, row.partition, row.offset, row.time, row.version) == ("videos", 0, 7, TIME, "v2")
    assert (row.postid, row.uid, row.seqid, row.key) == ("12", "u", None, ())


@pytest.mark.parametrize(
    "body",
    [b"", b"\xff", b'{"results":"\xff"}', b'{"results":NaN}', b'{"results":1e400}', b'"text"', b"[]", b'{"results":"\\ud800"}'],
)
def test_what_is_no_object_in_json_is_refused(body: bytes) -> None:
    row = row_of(answer_of(body), ())
    assert isinstance(row, Refusal)
    assert row.reason == "bad_answer"


@pytest.mark.parametrize("body", [rb'{"results":"\u0000"}', rb'{"results":"\\\u0000"}', rb'{"a\u0000":1}'])
def test_u_0000_is_refused(body: bytes) -> None:
    row = row_of(answer_of(body), ())
    assert isinstance(row, Refusal)
    assert "U+0000" in row.text


@pytest.mark.parametrize("body", [rb'{"results":"\\u0000"}', rb'{"results":"\\\\u0000"}'])
def test_a_backslash_before_the_digits_of_u_0000_is_no_u_0000(body: bytes) -> None:
    assert isinstance(row_of(answer_of(body), ()), TableRow)


def test_a_key_is_a_field_of_the_answer_or_of_its_results() -> None:
    row = row_of(answer(postid="p", results={"item": 3, "postid": "other"}), ("item", "postid"))
    assert isinstance(row, TableRow)
    assert row.key == ("3", "p")


@pytest.mark.parametrize("value", [None, True, 1.5, [1], {"a": 1}])
def test_an_answer_without_the_key_is_refused_with_the_fields_name(value: object) -> None:
    row = row_of(answer(postid=value), ("postid",))
    assert isinstance(row, Refusal)
    assert "offline_key names 'postid'" in row.text
