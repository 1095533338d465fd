"""The dashboards as they are committed, read as Grafana reads them: panels, their queries, variables and marks."""

import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from tests.running import ROOT

FOLDER = ROOT / "charts" / "monitoring" / "dashboards"
NAMES = ("fleet", "gateway", "offline", "release", "service")
RELEASES = "Releases"
Json = dict[str, Any]


@dataclass(frozen=True)
class Asked:
    """One query of a dashboard, with the panel that asks it. letter: its refId."""

    dashboard: str
    panel: str
    letter: str
    expr: str

    def __str__(self) -> str:
        return f"{self.dashboard}: {self.panel} ({self.letter})"


def read(name: str) -> Json:
    """Return a dashboard by its name."""
    found: Json = json.loads((FOLDER / f"{name}.json").read_text(encoding="utf-8"))
    return found


def panels(name: str) -> list[Json]:
    """Return the panels of a dashboard, without its rows."""
    return [panel for panel in read(name)["panels"] if panel["type"] != "row"]


def variables(name: str) -> list[Json]:
    return list(read(name)["templating"]["list"])


def asked(name: str) -> Iterator[Asked]:
    """Yield each query of a dashboard: of its panels, and of the marks at releases."""
    for panel in panels(name):
        for target in panel["targets"]:
            yield Asked(name, panel["title"], target["refId"], target["expr"])
    for mark in read(name)["annotations"].get("list", []):
        yield Asked(name, mark["name"], "A", mark["expr"])


EVERY = [each for name in NAMES for each in asked(name)]


def filled(expr: str, values: Mapping[str, str]) -> str:
    """Return an expression with a value for each $variable. Raises KeyError for one that has none."""
    return re.sub(r"\$([a-z_]\w*)", lambda found: values[found.group(1)], expr)
