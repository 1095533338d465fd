"""`monopod settings`: print the settings of value.py, for a terminal, for a program or as docs/settings.md.

Knows their layout. Does not know what they are: serving.settings does.
"""

import json
from argparse import Namespace
from collections.abc import Iterator
from typing import Any

from serving.settings import Declaration, declared_settings

HEAD = """# Settings of value.py

<!-- Made by `monopod settings --markdown > docs/settings.md`; a test keeps it true. -->

This page lists every setting of value.py, with its allowed values, its default and its meaning. value.py is data: the platform
reads it and never runs it. Each line sets one setting to a literal, such as a number or a text in quotes. A setting that has no
line has its default. A line `<region>_<setting>` replaces `<setting>` in that region, such as `hk_replicas = 2`. Only
service_name and username cannot differ between regions.
"""


def settings_command(arguments: Namespace) -> int:
    """Print every setting, with its allowed values, unit, default and meaning."""
    if arguments.json:
        print(json.dumps(data(), indent=2))
    else:
        print(markdown() if arguments.markdown else terminal(), end="")
    return 0


def literal(value: Any) -> str:
    """Return a value as a line of value.py has it."""
    if isinstance(value, tuple):
        return "[" + ", ".join(literal(item) for item in value) + "]"
    if isinstance(value, str):
        return '"' + value + '"'
    return f"{value:g}" if isinstance(value, float) else repr(value)


def default(setting: Declaration) -> str:
    """Return a setting's default as a line of value.py has it, or `required`."""
    return "required" if setting.default is None else literal(setting.default)


def allowed(setting: Declaration) -> str:
    """Return the allowed values of a setting, with their unit."""
    return setting.validator.allowed + (f" ({setting.unit})" if setting.unit else "")


def markdown() -> str:
    """Return docs/settings.md."""
    return HEAD + "".join(_section(group, found) for group, found in _groups().items())


def terminal() -> str:
    """Return all settings for a terminal."""
    return "\n".join(line for group, found in _groups().items() for line in (f"{group}", *_lines(found), ""))


def data() -> list[dict[str, Any]]:
    """Return all settings for a program."""
    return [
        {
            "name": item.name,
            "allowed": item.validator.allowed,
            "unit": item.unit,
            "default": item.default,
            "required": item.default is None,
            "meaning": item.meaning,
            "group": item.group,
        }
        for item in declared_settings().values()
    ]


def _groups() -> dict[str, list[Declaration]]:
    found: dict[str, list[Declaration]] = {}
    for item in declared_settings().values():
        found.setdefault(item.group, []).append(item)
    return found


def _section(group: str, found: list[Declaration]) -> str:
    rows = "".join(
        f"| `{item.name}` | {_cell(allowed(item))} | `{_cell(default(item))}` | {_cell(item.meaning)} |\n" for item in found
    )
    return f"\n## {group}\n\n| setting | allowed | default | meaning |\n|---|---|---|---|\n{rows}"


def _cell(text: str) -> str:
    return text.replace("|", "\\|")


def _lines(found: list[Declaration]) -> Iterator[str]:
    for item in found:
        yield f"  {item.name}  [{default(item)}]"
        yield f"      {allowed(item)}"
        yield f"      {item.meaning}"
