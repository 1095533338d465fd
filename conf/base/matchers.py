"""The part of a PromQL query that chooses series by their labels."""

import re
from collections.abc import Mapping, Sequence

MATCHER = re.compile(r'(\w+)(=~|!~|!=|=)"([^"\\]*)"')


def matchers(**labels: str) -> str:
    """Return equality matchers without braces, as `namespace="like",service="demo"`, whatever the values hold."""
    return ",".join(f'{name}="{_escaped(value)}"' for name, value in labels.items())


def one_of(name: str, values: Sequence[str]) -> str:
    """Return a matcher of a label that has one of some values, as `namespace=~"like|grey"`, whatever the values hold."""
    pattern = "|".join(re.escape(value).replace("\\-", "-") for value in values)
    return f'{name}=~"{_escaped(pattern)}"'


def chooses(found: str, labels: Mapping[str, str]) -> bool:
    """Return whether matchers choose the series of some labels. found: as `code!~"4..",route="service"`.

    Raises ValueError where a value has an escape or a comma, and where `found` is something else than matchers.
    """
    parts = found.split(",")
    read = [each for each in map(MATCHER.fullmatch, parts) if each]
    if len(read) < len(parts):
        raise ValueError(f"not matchers without escapes and commas: {found}")
    return all(_matches(each, labels) for each in read)


def _matches(matcher: re.Match[str], labels: Mapping[str, str]) -> bool:
    name, operator, wanted = matcher.groups()
    value = labels.get(name, "")
    is_found = bool(re.fullmatch(wanted, value)) if operator.endswith("~") else value == wanted
    return is_found != operator.startswith("!")


def _escaped(value: str) -> str:
    return value.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")
