"""A notification is read or refused, and becomes a message whose words and length in bytes are right."""

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from relay.messages import Alert, Notification, WrongNotification, fitting, message_text, read
from tests.relay.relays import ALERT, GROUP, alert, notification

MOST = 4096


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
    with pytest.raises(WrongNotification, match="^the body is not "):
        read(body)


@pytest.mark.parametrize(
    ("fields", "words"),
    [
        ({"version": "3"}, '"version" is not "4"'),
        ({"version": 4}, '"version" is not "4"'),
        ({"alerts": []}, '"alerts" is not a list of alerts'),
        ({"alerts": {"a": 1}}, '"alerts" is not a list of alerts'),
        ({"alerts": [ALERT, 1]}, '"alerts\\[1\\]" has no "status"'),
        ({"alerts": [{**ALERT, "status": "suppressed"}]}, '"alerts\\[0\\]" has no "status"'),
        ({"alerts": [{**ALERT, "labels": {"a": 1}}]}, '"alerts\\[0\\].labels" is not a table of texts'),
        ({"alerts": [{**ALERT, "annotations": ["a"]}]}, '"alerts\\[0\\].annotations" is not a table of texts'),
        ({"alerts": [{**ALERT, "startsAt": 1}]}, '"alerts\\[0\\].startsAt" is not a text'),
        ({"alerts": [{**ALERT, "endsAt": None}]}, '"alerts\\[0\\].endsAt" is not a text'),
        ({"groupLabels": "x"}, '"groupLabels" is not a table of texts'),
        ({"truncatedAlerts": "many"}, '"truncatedAlerts" is not a count'),
        ({"truncatedAlerts": -1}, '"truncatedAlerts" is not a count'),
        ({"truncatedAlerts": 10**4_299}, '"truncatedAlerts" is not a count'),
        ({"unknown": [0] * 250_000}, "the body has more than 250,000 commas and brackets: set max_alerts in Alertmanager"),
    ],
)
def test_a_field_of_another_form_is_named(fields: dict[str, Any], words: str) -> None:
    with pytest.raises(WrongNotification, match=words):
        read(notification(**fields))


@pytest.mark.parametrize("body", [1, "x", None, [], [{}], {}])
def test_json_of_another_form_is_refused(body: object) -> None:
    with pytest.raises(WrongNotification, match="not a notification of Alertmanager"):
        read(json.dumps(body).encode())


def text_of(body: bytes, region: str = "hk") -> str:
    return message_text(read(body), region, MOST)


def test_a_message_says_what_is_wrong_where_since_when_and_what_to_do() -> None:
    assert text_of(notification()) == (
        '<font color="warning">**1 firing**</font> like/cats in hk\n'
        '> <font color="warning">NoPodAnswers</font> critical: like/cats: no pod is ready, since 11-22 14:03 UTC'
        " [what to do](https://docs.example.com/runbook.html#no-pod)"
    )


OVER = {**ALERT, "status": "resolved", "endsAt": "2026-11-22T14:41:00Z"}


def test_a_message_about_what_is_over_is_green_and_says_from_when_to_when_it_fired() -> None:
    assert text_of(notification([OVER])) == (
        '<font color="info">**1 resolved**</font> like/cats in hk\n'
        '> <font color="info">NoPodAnswers is over</font>, it fired from 11-22 14:03 to 14:41 UTC; it said: '
        "like/cats: no pod is ready [what to do](https://docs.example.com/runbook.html#no-pod)"
    )


def test_what_is_over_since_another_day_has_both_days() -> None:
    assert "from 11-22 14:03 to 11-23 00:10 UTC;" in text_of(notification([{**OVER, "endsAt": "2026-11-23T00:10:00Z"}]))


def test_a_message_has_the_details_and_the_command_to_type_next() -> None:
    annotations = {"summary": "a", "description": "On 2 of 2 pods.", "command": "monopod status --region hk"}
    text = text_of(notification([{**ALERT, "annotations": annotations}]))
    assert ": a. On 2 of 2 pods, since 11-22 14:03" in text
    assert text.endswith(" next: `monopod status --region hk`")


def test_a_command_cannot_end_its_code_mention_people_or_begin_a_line() -> None:
    text = text_of(notification([{**ALERT, "annotations": {"command": "a` <@all>\n> b"}}]))
    assert ", next: `a ＜@all> > b`" in text


def test_the_page_is_named_where_it_has_no_address_on_the_web() -> None:
    annotations = {"runbook_url": "docs/runbook.md#nopodanswers"}
    assert text_of(notification([{**ALERT, "annotations": annotations}])).endswith(", what to do: docs/runbook.md#nopodanswers")


def test_what_fires_stands_first_the_critical_before_the_warning() -> None:
    given = [
        alert("resolved", alertname="A"), alert(alertname="B"), alert(alertname="C", severity="warning"),
        alert(alertname="D", severity="critical"),
    ]  # fmt: skip
    head, *lines = text_of(notification(given)).splitlines()
    assert "**3 firing, 1 resolved**" in head
    assert [line.partition(">")[2].partition(">")[2][0] for line in lines] == ["D", "C", "B", "A"]


@pytest.mark.parametrize(
    ("group", "words"),
    [
        ({"namespace": "grey", "service": "cats", "track": "grey"}, "grey/cats (grey) in hk"),
        ({"namespace": "like", "service": "cats"}, "like/cats in hk"),
        ({"namespace": "like", "service": "", "track": ""}, "namespace like in hk"),
        ({}, "the cluster in hk"),
    ],
)
def test_the_first_line_names_what_the_group_is_about(group: dict[str, str], words: str) -> None:
    assert text_of(notification(groupLabels=group)).splitlines()[0].endswith(f"</font> {words}")


def test_each_pod_is_told_and_an_alert_without_a_summary_has_its_name() -> None:
    assert '> <font color="warning">Restarts</font>, pod cats-1' in text_of(
        notification([{**alert(alertname="Restarts", pod="cats-1"), "annotations": {}}])
    )


def test_500_alerts_are_one_message_of_at_most_4096_bytes_that_counts_the_others() -> None:
    text = text_of(notification([alert(alertname=f"告警{number}") for number in range(500)], truncatedAlerts=7))
    assert len(text.encode()) <= MOST
    head, *lines, last = text.splitlines()
    assert "**500 firing**" in head
    assert last == f"> and {507 - len(lines)} more"
    assert len(lines) > 20


@pytest.mark.parametrize("size", [10, 3_000, 100_000])
def test_chinese_text_is_cut_between_characters(size: int) -> None:
    annotations = {"summary": "猫" * size, "runbook_url": "https://docs.example.com"}
    text = text_of(
        notification([{**alert(alertname="猫" * size), "annotations": annotations}] * 5, groupLabels={"猫": "猫" * size})
    )
    assert len(text.encode()) <= MOST
    assert ("…" in text) == (size > 10)
    assert "\ufffd" not in text


def test_a_label_cannot_mention_people_or_begin_a_line() -> None:
    text = text_of(notification([alert(alertname="<@all>\n**1 firing**")], groupLabels={"x": "<@all>\n> "}))
    assert "<@" not in text
    assert len(text.splitlines()) == 2


@pytest.mark.parametrize("address", ["javascript:alert(1)", "https://x y", "https://x)[y](", "x", "https://x/" + "y" * 1000])
def test_what_is_no_web_address_is_no_link(address: str) -> None:
    assert "what to do" not in text_of(notification([{**ALERT, "annotations": {"runbook_url": address}}]))


texts = st.dictionaries(
    st.sampled_from(["alertname", "summary", "description", "command", "pod", "severity", "service", "runbook_url"]), st.text()
)
alerts = st.builds(Alert, st.booleans(), texts, texts, st.text(), st.text())


@given(st.builds(Notification, texts, st.lists(alerts, min_size=1).map(tuple), st.integers(0, 10**6)))
def test_any_notification_is_a_text_of_at_most_4096_bytes(given: Any) -> None:
    text = message_text(given, "hk", MOST)
    assert len(text.encode()) <= MOST
    shown = [line for line in text.split("\n")[1:] if not line.startswith("> and ")]
    if text.split("\n")[-1].startswith("> and "):
        assert text.endswith(f"> and {len(given.alerts) + given.left_out - len(shown)} more")
    else:
        assert (len(shown), given.left_out) == (len(given.alerts), 0)


@pytest.mark.parametrize("most", range(30, 60))
def test_as_many_lines_as_fit_are_kept(most: int) -> None:
    lines = ["> one", "> two", "> three", "> four", "> five"]
    text = fitting("head", lines, 0, most)
    assert len(text.encode()) <= most
    kept = text.split("\n")[1:]
    if kept == lines:
        return
    assert kept[-1] == f"> and {5 - (len(kept) - 1)} more"
    assert len(text) + len(lines[len(kept) - 1]) + 1 > most  # one more line would not have fitted


def test_of_many_alerts_those_without_room_are_counted_and_not_made_into_lines() -> None:
    text = text_of(notification([alert(alertname="A")] * 5_000, truncatedAlerts=3))
    first, *lines, last = text.splitlines()
    assert "**5000 firing**" in first
    assert last == f"> and {5_003 - len(lines)} more"


def test_only_the_beginning_of_a_long_text_is_looked_at() -> None:
    summary = "a " * 1_000_000
    text = text_of(notification([{**ALERT, "annotations": {"summary": summary, "runbook_url": "https://a/" + "b" * 10**6}}]))
    assert len(text) < 1_000
