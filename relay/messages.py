"""Alertmanager's webhook becomes a message: a first line with the counts, then a line for each alert, what fires first.

The JSON is version 4: https://prometheus.io/docs/alerting/latest/configuration/#webhook_config. Fields that a message does not
need are passed over.

The text is the markdown of WeChat Work's robots, which other chats read well enough. A message says what is wrong, since when,
which command to type next, and where a page tells what to do. An alert that is over has both times. Of labels it names
namespace, service, track, severity and pod, and of a group all its labels.
"""

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from conf.remote.wechat_robot import shortened

VERSION = "4"
MAX_VALUES = 250_000  # of a body, by its commas and brackets, whose values take 200 bytes each once they are read
MAX_LEFT_OUT = 10**9
FIRING, RESOLVED = "firing", "resolved"
MAX_NAME, MAX_SUMMARY, MAX_LINK = 150, 700, 400  # bytes
MAX_TEXT = 3_000  # characters of any text that is looked at
MIN_LINE = 30  # bytes
SEVERITIES = ("critical", "warning")  # the most urgent first; all others come after these
COLOUR = {True: "warning", False: "info"}  # orange for what fires, green for what is over
TIME = re.compile(r"\d{4}-(\d\d-\d\d)T(\d\d:\d\d):\d\d[.\d]*Z")
FILE = re.compile(r"docs/[\w./-]+\.md#[\w-]+")
LINK = re.compile(r"https?://[\w.~:/?#@!$&'*+,;=%-]+")


class WrongNotification(ValueError):
    """The bytes are not a notification of Alertmanager. The text says why."""


@dataclass(frozen=True)
class Alert:
    """One alert. starts_at, ends_at: as Alertmanager writes them, RFC 3339. ends_at says something where it is over."""

    firing: bool
    labels: Mapping[str, str]
    annotations: Mapping[str, str]
    starts_at: str
    ends_at: str = ""


@dataclass(frozen=True)
class Notification:
    """A group of alerts. group: the labels that they share by the route. left_out: alerts that Alertmanager did not send."""

    group: Mapping[str, str]
    alerts: tuple[Alert, ...]
    left_out: int = 0


def read(body: bytes | bytearray) -> Notification:
    if sum(map(body.count, (b",", b"{", b"["))) > MAX_VALUES:
        raise WrongNotification(f"the body has more than {MAX_VALUES:,} commas and brackets: set max_alerts in Alertmanager")
    try:
        found = json.loads(body)
    except (ValueError, RecursionError):
        raise WrongNotification("the body is not JSON") from None
    if not isinstance(found, dict) or found.get("version") != VERSION:
        raise WrongNotification(f'the body is not a notification of Alertmanager: its "version" is not "{VERSION}"')
    alerts = found.get("alerts")
    if not isinstance(alerts, list) or not alerts:
        raise WrongNotification('"alerts" is not a list of alerts')
    left_out = found.get("truncatedAlerts", 0)
    if not isinstance(left_out, int) or not 0 <= left_out <= MAX_LEFT_OUT:
        raise WrongNotification('"truncatedAlerts" is not a count')
    group = _texts(found.get("groupLabels", {}), "groupLabels")
    return Notification(group, tuple(_alert(each, f"alerts[{index}]") for index, each in enumerate(alerts)), left_out)


def _alert(found: Any, where: str) -> Alert:
    if not isinstance(found, dict) or found.get("status") not in (FIRING, RESOLVED):
        raise WrongNotification(f'"{where}" has no "status" of {FIRING} or {RESOLVED}')
    begin, end = (_text(found.get(name, ""), f"{where}.{name}") for name in ("startsAt", "endsAt"))
    labels = _texts(found.get("labels", {}), f"{where}.labels")
    return Alert(found["status"] == FIRING, labels, _texts(found.get("annotations", {}), f"{where}.annotations"), begin, end)


def _text(found: Any, where: str) -> str:
    if not isinstance(found, str):
        raise WrongNotification(f'"{where}" is not a text')
    return found


def _texts(found: Any, where: str) -> Mapping[str, str]:
    """Return a table of texts as it is; a null of Go is an empty one."""
    if found is None:
        return {}
    if not isinstance(found, dict) or not all(isinstance(value, str) for value in found.values()):
        raise WrongNotification(f'"{where}" is not a table of texts')
    return found


def message_text(notification: Notification, region: str, most: int) -> str:
    """Return the markdown of a message, of at most `most` bytes. region: named in the first line, "" for none."""
    alerts = sorted(notification.alerts, key=_urgency)
    firing = sum(each.firing for each in alerts)
    counts = {"firing": firing, "resolved": len(alerts) - firing}
    told = ", ".join(f"{count} {word}" for word, count in counts.items() if count)
    where = shortened(_place(notification.group), MAX_SUMMARY) + (f" in {_plain(region)}" if region else "")
    head = f'<font color="{COLOUR[firing > 0]}">**{told}**</font> {where}'
    shown = alerts[: most // MIN_LINE]  # no message has room for more lines
    return fitting(head, [_line(each) for each in shown], notification.left_out + len(alerts) - len(shown), most)


def fitting(head: str, lines: Sequence[str], left_out: int, most: int) -> str:
    """Return a head and as many lines as fit into `most` bytes; a last line counts the others.

    left_out: how many there are beside `lines`. most: bytes, enough for the head and the last line.
    """
    whole = "\n".join([head, *lines])
    if not left_out and len(whole.encode()) <= most:
        return whole
    last = "\n> and {} more".format
    room = most - len(head.encode()) - len(last(len(lines) + left_out))
    kept = 0
    for line in lines:
        room -= len(line.encode()) + 1
        if room < 0:
            break
        kept += 1
    return "\n".join([head, *lines[:kept]]) + last(len(lines) - kept + left_out)


def _urgency(alert: Alert) -> tuple[bool, int, str]:
    severity = alert.labels.get("severity", "")
    return not alert.firing, SEVERITIES.index(severity) if severity in SEVERITIES else len(SEVERITIES), alert.starts_at


def _place(group: Mapping[str, str]) -> str:
    """Return the words for what a group is about: a track of a service, or else the labels that it has."""
    if group.get("service") and group.get("namespace"):
        track = group.get("track", "prod")
        return _plain(f"{group['namespace']}/{group['service']}" + (f" ({track})" if track not in ("", "prod") else ""))
    return _plain(", ".join(f"{name} {value}" for name, value in group.items() if value)) or "the cluster"


def _line(alert: Alert) -> str:
    said, pod = alert.annotations, shortened(_plain(alert.labels.get("pod", "")), MAX_NAME)
    name = shortened(_plain(alert.labels.get("alertname", "an alert")), MAX_NAME) + ("" if alert.firing else " is over")
    severity = shortened(_plain(alert.labels.get("severity", "")), MAX_NAME)
    texts = [said.get("summary") or said.get("message", ""), said.get("description", "")]
    words = [f'> <font color="{COLOUR[alert.firing]}">{name}</font>']
    words += [f" {severity}"] if severity and alert.firing else []
    words += [] if alert.firing else [_duration(alert)]
    told = ". ".join(shortened(_plain(text).rstrip("."), MAX_SUMMARY) for text in texts if text)
    words += [f"{':' if alert.firing else '; it said:'} {told}"] if told else []
    words += [f", pod {pod}"] if pod else []
    if alert.firing and (began := TIME.fullmatch(alert.starts_at)):
        words += [f", since {began[1]} {began[2]} UTC"]
    if command := shortened(_plain(said.get("command", "")).replace("`", ""), MAX_LINK):  # it can end neither code nor line
        words += [f", next: `{command}`"]
    return "".join([*words, _page(said.get("runbook_url", ""))])


def _duration(alert: Alert) -> str:
    begin, end = TIME.fullmatch(alert.starts_at), TIME.fullmatch(alert.ends_at)
    if not begin or not end:
        return ""
    day = "" if begin[1] == end[1] else f"{end[1]} "
    return f", it fired from {begin[1]} {begin[2]} to {day}{end[2]} UTC"


def _page(address: str) -> str:
    """Return the page that says what to do: as a link, or as its name where it is not an address on the web."""
    forms = ((LINK, " [what to do]({})"), (FILE, ", what to do: {}"))
    fits = len(address) <= MAX_LINK
    return next((words.format(address) for form, words in forms if fits and form.fullmatch(address)), "")


def _plain(text: str) -> str:
    """Return a text on one line and without tags: in a robot's markdown a tag can mention people."""
    return " ".join(text[:MAX_TEXT].replace("<", "＜").split()).encode(errors="replace").decode()
