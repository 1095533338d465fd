"""A real Prometheus, asked for what Grafana asks it for a dashboard."""

import json
import re
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

from tests.conf.cluster import Cluster
from tests.conf.observe.prometheus_server import blocks, prometheus
from tests.dashboards.written import RELEASES, Asked, filled, variables
from tests.running import get

WHERE = "/api/v1/namespaces/monitoring/services/prometheus:9090/proxy/api/v1"
SCRAPED = 15  # seconds between two scrapes
MARKED = 60  # seconds between two points of the marks at releases, at least
Series = dict[str, Any]


@dataclass(frozen=True)
class PrometheusServer:
    """A Prometheus, and the time that is shown.

    ask: returns the text of a path and query below /api/v1. begin: seconds since 1970. end: the same, 0 for now. step: seconds
    between two points.
    """

    ask: Callable[[str], str]
    begin: float
    end: float = 0
    step: int = SCRAPED

    @classmethod
    def of(cls, cluster: Cluster, begin: float) -> "PrometheusServer":
        """Return the Prometheus of a cluster, asked through its API server."""
        return cls(lambda asked: cluster.text(f"{WHERE}/{asked}"), begin)

    @property
    def shown_until(self) -> float:
        return self.end or time.time()

    @property
    def marked(self) -> int:
        """Return the seconds between two points of the marks at releases, which alone ask for $__interval."""
        return max(MARKED, self.step)

    def points(self, expr: str, step: int = 0) -> list[Series]:
        """Return the series of a query from the beginning to now, each with labels and points. step: 0 for the usual."""
        asked = {"query": expr, "start": f"{self.begin:.0f}", "end": f"{self.shown_until:.0f}"}
        found = self._ask("query_range", {**asked, "step": str(step or self.step)})["result"]
        return [{"labels": each["metric"], "points": [(at, float(value)) for at, value in each["values"]]} for each in found]

    def values(self, label: str, series: str) -> list[str]:
        """Return the values of a label among some series, in their order."""
        found: list[str] = self._ask(f"label/{label}/values", {"match[]": series, "start": f"{self.begin:.0f}"})
        return sorted(found)

    def chosen(self, dashboard: str, choices: Mapping[str, str]) -> dict[str, str]:
        """Return a value for each variable of a dashboard: one of the test's choices, or all."""
        shown = max(60, self.shown_until - self.begin)
        interval = max(4 * SCRAPED, self.step + SCRAPED)  # as Grafana chooses it
        made = {"__rate_interval": f"{interval}s", "__range": f"{shown:.0f}s", "__interval": f"{self.marked}s"}
        for each in variables(dashboard)[1:]:
            known = self.options(each, made)
            name = each["name"]
            assert known, f"{dashboard}: no value of ${name}"
            assert choices.get(name, known[0]) in known, (name, choices[name], known)
            every = each.get("allValue") or f"({'|'.join(known)})"
            made[name] = choices.get(name) or (every if each["multi"] else known[0])
        return made

    def options(self, variable: Mapping[str, Any], made: Mapping[str, str]) -> list[str]:
        """Return what can be chosen, in its order. made: values of earlier variables. A regex keeps its group."""
        series, _, label = variable["query"]["query"].removeprefix("label_values(").removesuffix(")").rpartition(", ")
        known = self.values(label, filled(series, made))
        kept = [re.search(variable.get("regex", "")[1:-1] or "(.+)", each) for each in known]
        return sorted({each[1] for each in kept if each})

    def shown(self, query: Asked, values: Mapping[str, str]) -> list[Series]:
        """Return the series of a dashboard's query. values: of its variables."""
        return self.points(filled(query.expr, values), self.marked if query.panel == RELEASES else self.step)

    def _ask(self, path: str, query: Mapping[str, str]) -> Any:
        answer = json.loads(self.ask(f"{path}?{urlencode(query)}"))
        assert answer["status"] == "success", answer
        return answer["data"]


@contextmanager
def over_blocks(folder: Path, lines: Iterable[str], begin: float, end: float, step: int) -> Iterator[PrometheusServer]:
    """Run a Prometheus on this machine over lines of OpenMetrics. The rest is as PrometheusServer has it."""
    blocks(folder, lines)
    with prometheus(folder) as url:
        yield PrometheusServer(lambda path: get(f"{url}/api/v1/{path}")[1].decode(), begin, end, step)
