"""A notification of Alertmanager is read, and a body that is none is refused."""

import json
from typing import Any

import pytest

from relay.notifications import NoNotification, read
from tests.relay.relays import ALERT, GROUP, notification


def test_a_notification_is_read_and_fields_that_nobody_needs_are_passed_over() -> None:
    found = read(notification([ALERT, {**ALERT, "status": "resolved"}], truncatedAlerts=3, unknown=[1]))
    assert (found.group, found.left_out) == (GROUP, 3)
    assert [each.firing for each in found.alerts] == [True, False]
    assert found.alerts[0].labels["alertname"] == "NoPodAnswers"


def test_a_go_program_writes_null_for_an_empty_table() -> None:
    found = read(notification([{**ALERT, "annotations": None}], groupLabels=None))
    assert (found.group, found.alerts[0].annotations) == ({}, {})


@pytest.mark.parametrize("body", [b"", b"\xff\xfe", b"{", b"[" * 200_000, b"9" * 10_000, b"<html>"])
def test_what_is_no_json_is_refused(body: bytes) -> None:
    with pytest.raises(NoNotification, match="the body is no JSON|the body is no notification"):
        read(body)


@pytest.mark.parametrize(
    ("fields", "words"),
    [
        ({"version": "3"}, '"version" is not "4"'),
        ({"version": 4}, '"version" is not "4"'),
        ({"alerts": []}, '"alerts" is no list of alerts'),
        ({"alerts": {"a": 1}}, '"alerts" is no list of alerts'),
        ({"alerts": [ALERT, 1]}, '"alerts\\[1\\]" has no "status"'),
        ({"alerts": [{**ALERT, "status": "suppressed"}]}, '"alerts\\[0\\]" has no "status"'),
        ({"alerts": [{**ALERT, "labels": {"a": 1}}]}, '"alerts\\[0\\].labels" is no table of texts'),
        ({"alerts": [{**ALERT, "annotations": ["a"]}]}, '"alerts\\[0\\].annotations" is no table of texts'),
        ({"alerts": [{**ALERT, "startsAt": 1}]}, '"alerts\\[0\\].startsAt" is no text'),
        ({"alerts": [{**ALERT, "endsAt": None}]}, '"alerts\\[0\\].endsAt" is no text'),
        ({"groupLabels": "x"}, '"groupLabels" is no table of texts'),
        ({"truncatedAlerts": "many"}, '"truncatedAlerts" is no count'),
        ({"truncatedAlerts": -1}, '"truncatedAlerts" is no count'),
        ({"truncatedAlerts": 10**4_299}, '"truncatedAlerts" is no count'),
        ({"unknown": [0] * 250_000}, "the body has more than 250,000 commas and brackets: set max_alerts in Alertmanager"),
    ],
)
def test_a_field_of_another_form_is_named(fields: dict[str, Any], words: str) -> None:
    with pytest.raises(NoNotification, match=words):
        read(notification(**fields))


@pytest.mark.parametrize("body", [1, "x", None, [], [{}], {}])
def test_json_of_another_form_is_refused(body: object) -> None:
    with pytest.raises(NoNotification, match="no notification of Alertmanager"):
        read(json.dumps(body).encode())
