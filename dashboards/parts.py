"""The parts of a dashboard: variables, rows of panels, and queries in PromQL, all as plain data."""

from dataclasses import dataclass
from typing import TypedDict, Unpack

from conf.base.quantities import shares
from conf.plan.platform_alerts import TMP_WARNS
from serving.settings import Settings

# Grafana's names of units
RATE = "reqps"
EVENTS = "cps"  # events a second that are not requests
SHARE = "percentunit"
SECONDS = "s"
MILLISECONDS = "ms"
BYTES = "bytes"
COUNT = "short"
# The values from which a line is yellow, then red: those at which alerts and `monopod health` warn. A service may move its own
# in value.py: a panel of many services shows the defaults.
MEMORY_LEVELS = shares(Settings.memory_levels)
CORES_LEVELS = shares(Settings.cpu_levels)
TMP_LEVELS = (TMP_WARNS,)
BUSY_LEVELS = CORES_LEVELS  # of a model's instances; no alert asks it
OPEN_FILES_LEVELS = (0.7, 0.85)  # no alert asks them
ERRORS_LEVELS = (0.001, 0.01)  # what the default objective allows, and ten times as much


@dataclass(frozen=True)
class Query:
    """One query of a panel. legend: the name of each line, with labels as {{service}}. unit: "" for the panel's."""

    expr: str
    legend: str
    unit: str = ""


@dataclass(frozen=True)
class Panel:
    """One picture.

    kind: lines, stacked or number.
    limits: values from which a line is yellow, then red.
    empty: shown for no data.
    description: what it shows, and what to think where that is not plain.
    repeat: the variable for each of whose values the panel stands once, "" for a panel that stands once.
    """

    title: str
    unit: str
    description: str
    queries: tuple[Query, ...]
    kind: str = "lines"
    width: int = 8  # of 24
    limits: tuple[float, ...] = ()
    empty: str = ""
    repeat: str = ""


@dataclass(frozen=True)
class Row:
    """Panels under one heading."""

    title: str
    panels: tuple[Panel, ...]


@dataclass(frozen=True)
class Variable:
    """A choice at the top of a dashboard, among the values of a label. series: the series whose label it is.

    many: whether several values may be chosen, and all. all_value: what stands for all of them; their list where it is empty.
    regex: the part of each value that is the choice, as Grafana writes it; the whole value where it is empty.
    """

    name: str
    label: str
    series: str
    title: str
    many: bool = True
    all_value: str = ""
    regex: str = ""
    hidden: bool = False

    @property
    def stays(self) -> bool:
        """Return whether it stays behind where a link leads to another dashboard, whose choices may be others."""
        return self.hidden or self.name in ("job", "instance")


@dataclass(frozen=True)
class Dashboard:
    """A page of Grafana. uid: its address. releases: the query of the marks at each release, "" for none."""

    uid: str
    title: str
    description: str
    variables: tuple[Variable, ...]
    rows: tuple[Row, ...]
    releases: str = ""
    since: str = "now-3h"


class MoreOfPanel(TypedDict, total=False):
    """The fields of a Panel that it may do without."""

    kind: str
    width: int
    limits: tuple[float, ...]
    empty: str


def panel(title: str, unit: str, description: str, *queries: tuple[str, str], **more: Unpack[MoreOfPanel]) -> Panel:
    """Return a panel of queries, each an expression and a legend."""
    return Panel(title, unit, description, tuple(Query(*each) for each in queries), **more)


def row(title: str, *panels: Panel) -> Row:
    """Return panels under one heading."""
    return Row(title, panels)
