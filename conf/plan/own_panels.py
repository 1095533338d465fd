"""The panels that a service adds in panels.yaml, and the rules that record what they show.

Dashboards are the same for all services, so that a deploy changes none of them. Each query of a service becomes a rule, which
records its result with the panel's title and unit as labels. The dashboard Service has one panel for each title that it finds.
"""

from dataclasses import dataclass, field, replace
from pathlib import Path

from conf.plan.alerts import TEXT, Recording, RuleGroup, Watched
from conf.plan.service_files import table_in, text_in
from serving.settings import validators as allow
from serving.settings.reader import REQUIRED, List, setting

FILE = "panels.yaml"
MAX_PANELS = 12
MAX_SERIES = 200  # of one panel: Prometheus drops the result of a query that returns more
PODS = "$pods"  # in a query: the matchers of the track's own pods
RECORD = "namespace_service:monopod_own_panel:value"
UNITS = ("short", "percentunit", "s", "bytes", "reqps", "cps")  # Grafana's names
TITLE = allow.text(
    r"[^\W_][\w -]{0,59}", "up to 60 letters, digits, spaces, _ and -, that begin with a letter or a digit", "Faces found"
)


@dataclass(frozen=True)
class OwnPanel:
    """One panel of a service's own."""

    title: str = setting(REQUIRED, TITLE, "The panel's title.")
    unit: str = setting(REQUIRED, allow.choice(*UNITS), "The unit of its values, by Grafana's name.")
    query: str = setting(REQUIRED, TEXT, "PromQL, with $pods among the matchers of each metric.")
    line: int = field(default=0, compare=False)  # of the query in panels.yaml


@dataclass(frozen=True)
class File:
    """panels.yaml."""

    panels: tuple[OwnPanel, ...] = setting(REQUIRED, List(OwnPanel), "The panels.")


def load(service: Path) -> tuple[OwnPanel, ...]:
    """Return a service's own panels, none without a panels.yaml. service: its folder. Raises ConfigError."""
    return read(text_in(service, FILE))


def read(text: str) -> tuple[OwnPanel, ...]:
    """Return the panels in the text of a panels.yaml, none for comments alone. Raises ConfigError."""
    found, lines = table_in(FILE, text, File)
    return tuple(replace(panel, line=lines[f"panels[{at}].query"]) for at, panel in enumerate(found.panels if found else ()))


def filled(query: str, where: str) -> str:
    """Return a panel's query for one track. where: the matchers of its pods."""
    return query.replace(PODS, where)


def panel_groups(watched: Watched, panels: tuple[OwnPanel, ...]) -> tuple[RuleGroup, ...]:
    """Return the group of rules that record the panels of a track, none for no panels."""
    records = tuple(
        Recording(RECORD, filled(each.query, watched.where), {"panel": each.title, "unit": each.unit}) for each in panels
    )
    return (RuleGroup(f"{watched.name}-panels", "", records, (), MAX_SERIES),) if records else ()
