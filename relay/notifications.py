"""Alertmanager's webhook, version 4: its JSON becomes a Notification.

Knows the fields that a message needs, and passes over all others. Does not know how a message looks.
Source: https://prometheus.io/docs/alerting/latest/configuration/#webhook_config
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

VERSION = "4"
MAX_VALUES = 250_000  # of a body, by its commas and brackets, whose values take 200 bytes each once they are read
MAX_LEFT_OUT = 10**9
FIRING, RESOLVED = "firing", "resolved"


class NoNotification(ValueError):
    """The bytes are no notification of Alertmanager. Its text says where they are not."""


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
    """Return the notification in the body of a request. Raises NoNotification."""
    if sum(map(body.count, (b",", b"{", b"["))) > MAX_VALUES:
        raise NoNotification(f"the body has more than {MAX_VALUES:,} commas and brackets: set max_alerts in Alertmanager")
    try:
        found = json.loads(body)
    except (ValueError, RecursionError):
        raise NoNotification("the body is no JSON") from None
    if not isinstance(found, dict) or found.get("version") != VERSION:
        raise NoNotification(f'the body is no notification of Alertmanager: its "version" is not "{VERSION}"')
    alerts = found.get("alerts")
    if not isinstance(alerts, list) or not alerts:
        raise NoNotification('"alerts" is no list of alerts')
    left_out = found.get("truncatedAlerts", 0)
    if not isinstance(left_out, int) or not 0 <= left_out <= MAX_LEFT_OUT:
        raise NoNotification('"truncatedAlerts" is no count')
    group = _texts(found.get("groupLabels", {}), "groupLabels")
    return Notification(group, tuple(_alert(each, f"alerts[{index}]") for index, each in enumerate(alerts)), left_out)


def _alert(found: Any, where: str) -> Alert:
    if not isinstance(found, dict) or found.get("status") not in (FIRING, RESOLVED):
        raise NoNotification(f'"{where}" has no "status" of {FIRING} or {RESOLVED}')
    begin, end = (_text(found.get(name, ""), f"{where}.{name}") for name in ("startsAt", "endsAt"))
    labels = _texts(found.get("labels", {}), f"{where}.labels")
    return Alert(found["status"] == FIRING, labels, _texts(found.get("annotations", {}), f"{where}.annotations"), begin, end)


def _text(found: Any, where: str) -> str:
    if not isinstance(found, str):
        raise NoNotification(f'"{where}" is no text')
    return found


def _texts(found: Any, where: str) -> Mapping[str, str]:
    """Return a table of texts as it is; a null of Go is an empty one."""
    if found is None:
        return {}
    if not isinstance(found, dict) or not all(isinstance(value, str) for value in found.values()):
        raise NoNotification(f'"{where}" is no table of texts')
    return found
