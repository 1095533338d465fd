"""The bytes of an answer are HTTP/1.1, and none is longer or shorter than it says."""

import time
from email.utils import parsedate_to_datetime

import pytest

from serving.core.messages import Reply
from serving.web.front import answers
from serving.web.front.answers import answer


def fields(made: bytes) -> list[tuple[str, str]]:
    """Return the header lines of an answer, in order."""
    lines = made.partition(b"\r\n\r\n")[0].decode("latin-1").split("\r\n")[1:]
    return [(name, value) for name, _, value in (line.partition(": ") for line in lines)]


def test_an_answer_has_a_status_line_its_headers_and_its_body() -> None:
    made = answer(Reply(b'{"a":1}'), "id-7")
    head, _, body = made.partition(b"\r\n\r\n")
    assert head.startswith(b"HTTP/1.1 200 OK\r\nDate: ")
    assert body == b'{"a":1}'
    found = dict(fields(made))
    assert found.pop("Date")
    assert found == {"X-Request-Id": "id-7", "Content-Type": "application/json", "Content-Length": "7"}


def test_headers_of_one_name_stay_apart_and_in_order() -> None:
    made = answer(Reply(b"", headers=(("Set-Cookie", "a=1"), ("Allow", "GET"), ("Set-Cookie", "b=2"))), "x")
    assert [each for each in fields(made) if each[0] in ("Set-Cookie", "Allow")] == [
        ("Set-Cookie", "a=1"),
        ("Allow", "GET"),
        ("Set-Cookie", "b=2"),
    ]


def test_more_lines_come_as_they_are() -> None:
    made = answer(Reply(b"x"), "x", answers.CLOSE + answers.RETRY)
    assert ("Connection", "close") in fields(made)
    assert ("Retry-After", "1") in fields(made)


@pytest.mark.parametrize("status", [204, 304])
def test_a_status_without_a_body_gets_neither_a_body_nor_a_length(status: int) -> None:
    made = answer(Reply(b"left over", "", status), "x")
    assert made.endswith(b"\r\n\r\n")
    assert "Content-Length" not in dict(fields(made))


def test_the_answer_to_head_tells_the_length_of_the_body_that_it_leaves_out() -> None:
    made = answer(Reply(b"12345"), "x", with_body=False)
    assert made.endswith(b"\r\n\r\n")
    assert dict(fields(made))["Content-Length"] == "5"


def test_the_answer_to_head_tells_no_length_where_the_body_is_not_known() -> None:
    """A length of 0 would be wrong: GET has another one (RFC 9110, 8.6)."""
    assert "Content-Length" not in dict(fields(answer(Reply(b"", "text/html"), "x", with_body=False)))
    given = answer(Reply(b"", "text/html", headers=(("Content-Length", "900"),)), "x", with_body=False)
    assert [value for name, value in fields(given) if name == "Content-Length"] == ["900"]


@pytest.mark.parametrize(
    ("status", "line"),
    [
        (413, b"413 Content Too Large"),
        (422, b"422 Unprocessable Content"),
        (429, b"429 Too Many Requests"),
        (599, b"599 Status"),
    ],
)
def test_each_status_has_a_phrase(status: int, line: bytes) -> None:
    assert answer(Reply(b"", status=status), "x").startswith(b"HTTP/1.1 " + line + b"\r\n")


def test_no_content_type_is_sent_where_there_is_none() -> None:
    assert "Content-Type" not in dict(fields(answer(Reply(b"", ""), "x")))


def test_a_header_beyond_latin_1_does_no_harm() -> None:
    made = answer(Reply(b"x", headers=(("X-Name", "snow \u2603"),)), "x")
    assert ("X-Name", "snow ?") in fields(made)


def test_the_date_is_the_second_of_the_answer(monkeypatch: pytest.MonkeyPatch) -> None:
    now = 1_800_000_000.9
    monkeypatch.setattr(time, "time", lambda: now)
    dates = []
    for now in (1_800_000_000.1, 1_800_000_000.9, 1_800_000_001.0):  # noqa: B007
        dates.append(dict(fields(answer(Reply(b""), "x")))["Date"])
    assert [parsedate_to_datetime(each).timestamp() % 100 for each in dates] == [0, 0, 1]
    assert dates[0].endswith(" GMT")


@pytest.mark.parametrize("more", ["", answers.CLOSE])
def test_answers_of_json_are_those_that_are_written_one_by_one(more: str) -> None:
    bodies, names = [b"[1]", b"", b'"' + b"x" * 1000 + b'"'], ["a", "b.1", "c"]
    assert answers.json_answers(bodies, names, more) == [
        answer(Reply(body), name, more) for body, name in zip(bodies, names, strict=True)
    ]
