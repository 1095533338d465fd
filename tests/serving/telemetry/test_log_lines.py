"""Each line of the log is one short JSON object, whatever is logged."""

import json
import logging
import re
from typing import Any

import pytest

from serving.telemetry.log_lines import FIELD, LINE_BYTES, JsonFormatter, json_of, origin_of

ENVIRONMENT = {
    "MONOPOD_SERVICE": "of the pod",
    "MONOPOD_USER": "of the pod",
    "MONOPOD_TRACK": "grey",
    "MONOPOD_REGION": "hk",
    "MONOPOD_VERSION": "4f7cb14",
    "MONOPOD_POD": "demo-5d9-x",
}
ORIGIN = origin_of(ENVIRONMENT, "demo", "like")


def line(message: str = "m", error: BaseException | None = None, **fields: Any) -> dict[str, Any]:
    """Log one record and return its line, parsed."""
    record = logging.LogRecord("a.b", logging.WARNING, "f.py", 1, message, (), (type(error), error, None) if error else None)
    vars(record).update(fields)
    text = JsonFormatter(ORIGIN).format(record)
    assert "\n" not in text
    assert len(text.encode()) < LINE_BYTES
    parsed: dict[str, Any] = json.loads(text)
    return parsed


def test_a_line_says_when_how_grave_who_and_what() -> None:
    found = line("3 rows of \u00e9")
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z", found.pop("time"))
    assert found == {"level": "warning", "logger": "a.b", "message": "3 rows of \u00e9", **ORIGIN}


def test_the_time_is_utc() -> None:
    assert line(created=1_700_000_000.25, msecs=250.0)["time"] == "2023-11-14T22:13:20.250Z"


def test_the_fields_of_a_request_stand_beside_it() -> None:
    fields: dict[str, Any] = {
        "request_id": "r",
        "trace_id": "t",
        "route": "/api/demo",
        "code": 200,
        "reason": "",
        "milliseconds": 1.5,
    }
    found = line(**fields, other=object())
    assert {name: found[name] for name in fields} == fields
    assert "other" not in found


def test_a_traceback_stays_on_the_line() -> None:
    assert line(error=ValueError("two\nlines"))["traceback"] == "ValueError: two\nlines"


@pytest.mark.parametrize("text", ["two\nlines", 'quotes " and \\', "\0\x1b[31m\u2028", "a \ud800 b", "\udcff", "x" * 2_000])
def test_any_text_is_one_line(text: str) -> None:
    kept = text.encode("utf-8", "backslashreplace").decode()
    assert line(text)["message"] == kept
    assert line(error=ValueError(text))["traceback"] == f"ValueError: {kept}"


@pytest.mark.parametrize("value", [b"bytes", 2**70, {1, 2}, object, "\ud800", float("nan")])
def test_a_field_that_json_cannot_hold_loses_no_line(value: Any) -> None:
    assert line("answered", request_id=value)["message"] == "answered"


def test_every_part_of_a_line_is_bounded_and_says_what_is_left_out() -> None:
    long = "begin" + "x" * 1_000_000 + "end"
    found = line(long, error=ValueError(long), request_id=long, trace_id=long, route=long, reason=long)
    for part in ("message", "traceback", "request_id", "trace_id", "route", "reason"):
        assert re.search(r"begin.* characters left out .*end$", found[part]), part


def test_a_line_says_of_which_pod_it_is() -> None:
    expected = {"service": "demo", "user": "like", "track": "grey", "region": "hk", "version": "4f7cb14", "pod": "demo-5d9-x"}
    assert expected == ORIGIN
    assert origin_of({**ENVIRONMENT, "MONOPOD_ARM": "canary"}, "demo", "like") == {**expected, "arm": "canary"}
    unread = origin_of(ENVIRONMENT)
    assert (unread["service"], unread["user"]) == ("of the pod", "of the pod")
    assert set(origin_of({}).values()) == {"", "dev"}


@pytest.mark.parametrize("character", ["x", "\x1b", "\u00e9", "\u4f60", "\U0001f600", '"', "\n", "\ud800"])
def test_a_line_of_any_alphabet_keeps_within_its_bytes_and_both_ends_of_each_part(character: str) -> None:
    long = f"begin{character * 100_000}end"
    found = line(long, ValueError(long), request_id=long, trace_id=long, route=long, reason=long)
    assert len(json.dumps(found, ensure_ascii=False).encode()) > LINE_BYTES / 4  # no more is left out than needed
    assert (found["message"][:5], found["message"][-3:]) == ("begin", "end")
    assert (found["traceback"][:17], found["traceback"][-3:]) == ("ValueError: begin", "end")
    assert "characters left out" in found["traceback"]


def test_a_line_with_nothing_long_is_not_cut() -> None:
    parts = {"message": "m" * 6_000, "traceback": "t" * 8_000, "reason": "r" * FIELD}
    assert json.loads(json_of(parts)) == parts


def test_the_length_of_a_line_has_a_bound_even_where_every_part_is_long() -> None:
    parts = {f"part {number}": "\x1b" * 100_000 for number in range(60)}
    assert len(json_of(parts).encode()) < LINE_BYTES
