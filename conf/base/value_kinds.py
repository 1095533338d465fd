"""The kinds of values in regions.yaml and alerts.yaml, beside the kinds of value.py.

Does not know which field has which kind.
"""

import ipaddress
import re
from typing import Any
from zoneinfo import available_timezones

from serving.settings import validators as allow
from serving.settings.validators import Validator
from serving.settings.weekly_hours import Window


def text(pattern: str, allowed: str, example: str) -> Validator:
    """Return the kind of texts that match a pattern as a whole. allowed: the form in words. example: such a text."""
    form = re.compile(pattern)

    def convert(value: Any) -> str:
        if not isinstance(value, str) or not form.fullmatch(value):
            raise ValueError
        return value

    return Validator(allowed, example, convert)


def networks() -> Validator:
    """Return the kind of lists of networks."""

    def convert(value: Any) -> tuple[str, ...]:
        if not isinstance(value, list) or not value or not all(isinstance(item, str) for item in value):
            raise ValueError
        return tuple(str(ipaddress.ip_network(item)) for item in value)

    return Validator('a list of networks as "10.0.0.0/8"', '["10.0.0.0/8"]', convert)


def windows() -> Validator:
    """Return the kind of lists of release windows."""

    def convert(value: Any) -> tuple[str, ...]:
        if not isinstance(value, list) or not all(isinstance(item, str) for item in value):
            raise ValueError
        for item in value:
            Window(item)
        return tuple(value)

    return Validator('a list of windows as "mon-fri 09:00-18:00"', '["mon-fri 09:00-18:00"]', convert)


def timezone() -> Validator:
    """Return the kind of time zones that the IANA database names."""

    def convert(value: Any) -> str:
        if not isinstance(value, str) or value not in available_timezones():
            raise ValueError
        return value

    return Validator("a time zone as Asia/Hong_Kong", "Asia/Hong_Kong", convert)


def texts() -> Validator:
    """Return the kind of tables of texts, each under a name that Prometheus allows for a label."""

    def convert(value: Any) -> dict[str, str]:
        if not isinstance(value, dict) or not all(isinstance(item, str) and len(item) <= LONGEST for item in value.values()):
            raise ValueError
        if not all(re.fullmatch("[a-zA-Z_][a-zA-Z0-9_]*", key) for key in value):
            raise ValueError
        return value

    return Validator("a table of texts, each under a name of letters, digits and _", "{severity: warning}", convert)


LONGEST = 10_000  # characters of one text
PART = "[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?"
LABEL = text(PART, "lower-case letters, digits and -, 63 at most", "name")
SHORT = text("[a-z][a-z0-9]{1,9}", "2 to 10 lower-case letters and digits, from a letter", "hk")
HOST = text(rf"\*|(?=.{{1,253}}$){PART}(\.{PART})*", 'a host as api.example.com, or "*" for any', "api.example.com")
RESOURCE = text(
    rf"(?=.{{1,200}}/){PART}(\.{PART})+/[a-z]([a-z0-9.-]{{0,50}}[a-z0-9])?", "a resource as nvidia.com/gpu", "nvidia.com/gpu"
)
URL = text(
    rf"https?://{PART}(\.{PART})*(:[0-9]{{1,5}})?(/[A-Za-z0-9._~/-]{{0,200}})?",
    "a URL as http://prometheus:9090",
    "http://prometheus:9090",
)
PROXY = text(rf"http://{PART}(\.{PART})*:[1-9][0-9]{{0,4}}", "http://host:port", "http://proxy.lan:3128")
REGISTRY = text(
    rf"{PART}(\.{PART})*(:[0-9]{{1,5}})?(/[a-z0-9]+([._-][a-z0-9]+)*)*",
    "a registry as registry.example.com/models",
    "registry.example.com",
)
WORD = text(r"[^\s\x00-\x1f\x7f-\x9f](.{0,198}\S)?", "a text on one line, 200 characters at most", "name")
CURRENCY = text("[A-Z]{3}", "three capital letters", "USD")
NAMES = allow.strings(re.compile(PART), "names", "[registry]")
GROUPS = allow.strings(re.compile(r"[A-Za-z0-9]([A-Za-z0-9_.:/@-]{0,198}[A-Za-z0-9])?"), "names of groups", '["oidc:ml-team"]')
HOSTS = allow.strings(re.compile(rf"{PART}(\.{PART})*(:[0-9]{{1,5}})?"), "hosts with their ports", "[registry.lan:5000]")
BROKERS = allow.strings(re.compile(rf"{PART}(\.{PART})*:[0-9]{{1,5}}"), "brokers as host:port", "[kafka.lan:9092]")
TAINTS = allow.strings(allow.TOLERATION, 'taints as "key=value:NoSchedule"', '["dedicated=ml:NoSchedule"]')
ALERT = text("[a-zA-Z_][a-zA-Z0-9_]{0,99}", "a name of letters, digits and _", "TooSlow")
DURATION = text("[0-9]{1,6}(s|m|h|d)", "a time as 5m", "5m")
TEXT = text(rf"(?s:.{{1,{LONGEST}}})", "a text", "up == 0")
TEXTS = texts()
