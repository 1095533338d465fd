"""The check of every query of the platform: of rules, dashboards and the autoscaler. `make check` runs it.

    python -m conf.rules.platform_queries SERVICE...

Knows where queries stand. Does not know PromQL: conf.rules.queries does. A service's own alerts are judged as `monopod check`
judges them. Every query may ask for what a recording rule makes.
"""

import json
import re
import sys
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from conf.base.yamls import documents
from conf.clusters import regions_file
from conf.plan.plan import TRACKS, plan
from conf.render.arms import canary_watch
from conf.render.templates import render
from conf.rules.check import Service, read
from conf.rules.foreign_metrics import Labels
from conf.rules.queries import judged_everywhere, judged_in_own_alerts, mistakes_of, recorded_labels, without_variables

ROOT = Path(__file__).resolve().parents[2]
REGIONS = ROOT / "conf" / "regions.yaml"
MONITORING = ROOT / "charts" / "monitoring"
ASKED = re.compile("query `([^`]*)`")  # in the text of an alert
CHOICE = re.compile(r"label_values\((?P<series>.*), *(?P<label>\w+)\)")  # a dashboard's variable


class Query(NamedTuple):
    """A query and its place.

    record: the name of what a recording rule makes of it, "" for none. own: of alerts.yaml. added: labels that its rule adds.
    """

    place: str
    text: str
    record: str = ""
    own: bool = False
    added: frozenset[str] = frozenset()


def mistakes(queries: Sequence[Query]) -> list[str]:
    """Return what is wrong with queries, each with its place. All may ask for what one of them records."""
    recorded = _recorded(queries)
    return [
        f"{query.place}: {words}: {query.text}"
        for query in queries
        for words in mistakes_of(query.text, recorded, judged_in_own_alerts if query.own else judged_everywhere)
    ]


def rules_queries(place: str, groups: Iterable[Mapping[str, Any]], own: Sequence[str] = ()) -> Iterator[Query]:
    """Yield the queries of groups of rules and of their texts, as Prometheus reads them. own: alerts of alerts.yaml."""
    for group in groups:
        for rule in group["rules"]:
            name = rule.get("alert") or rule["record"]
            yield Query(
                f"{place}: {name}", rule["expr"], rule.get("record", ""), name in own, frozenset(rule.get("labels", ()))
            )
            asked = ASKED.findall(" ".join(rule.get("annotations", {}).values()))
            yield from (Query(f"{place}: text of {name}", each, own=name in own) for each in asked)


def dashboard_queries(place: str, dashboard: Mapping[str, Any]) -> Iterator[Query]:
    """Yield the queries of a dashboard, of its panels, annotations and variables."""
    for title, text in _expressions(dashboard, ""):
        yield Query(f"{place}: {title}", without_variables(text))
    for variable in dashboard.get("templating", {}).get("list", ()):
        query = variable.get("query")
        text = query.get("query", "") if isinstance(query, dict) else str(query)
        found = CHOICE.fullmatch(text)
        if found:
            yield Query(f"{place}: ${variable['name']}", f"count by ({found['label']}) ({without_variables(found['series'])})")


def service_queries(place: str, service: Service) -> Iterator[Query]:
    """Yield the queries of a service's rules and of its autoscaler, in every region and track."""
    regions = regions_file.load(REGIONS)
    own = [alert.alert for alert in service.alerts]
    for each in (each for track in TRACKS for each in plan(service.value, regions, track, service.image, service.alerts)):
        where = f"{place} ({each.region}, {each.track})"
        for trigger in (trigger for trigger in each.scaling.triggers if trigger.query):
            yield Query(f"{where}: autoscaler's {trigger.name}", trigger.query)
        for document in documents(render(each)):
            if document["kind"] == "PrometheusRule":
                yield from rules_queries(where, document["spec"]["groups"], own)
                watch = canary_watch([document], document["metadata"]["name"], 0, "")
                yield from rules_queries(where, watch["spec"]["groups"])


def chart_queries(chart: Path) -> Iterator[Query]:
    """Yield the queries of a chart's rules and dashboards. chart: its folder."""
    for file in sorted((chart / "rules").glob("*.yaml")):
        for document in documents(file.read_text(encoding="utf-8")):
            yield from rules_queries(file.name, document["groups"])
    for file in sorted((chart / "dashboards").glob("*.json")):
        yield from dashboard_queries(file.name, json.loads(file.read_text(encoding="utf-8")))


def _recorded(queries: Iterable[Query]) -> dict[str, Labels]:
    found: dict[str, Labels] = {}
    for query in queries:
        if query.record:
            labels = recorded_labels(query.text, found)
            found[query.record] = labels if labels is None else labels | query.added
    return found


def _expressions(part: Any, title: str) -> Iterator[tuple[str, str]]:
    """Yield each text named expr below a part of a dashboard, with the title of the panel that it stands in."""
    if isinstance(part, list):
        for each in part:
            yield from _expressions(each, title)
    if isinstance(part, dict):
        title = part.get("title") or part.get("name") or title
        for key, value in part.items():
            if key == "expr" and isinstance(value, str):
                yield title, value
            else:
                yield from _expressions(value, title)


def main(folders: Sequence[str]) -> int:
    """Print every mistake, and return the exit status. folders: of services."""
    queries, found = list(chart_queries(MONITORING)), list[str]()
    for folder in folders:
        service, wrong = read(Path(folder), regions_file.load(REGIONS))
        found += wrong
        queries += service_queries(folder, service) if service else ()
    found += mistakes(queries)
    print("\n".join(dict.fromkeys(found)) or f"{len(queries)} queries ask for metrics and labels that exist")
    return int(bool(found))


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
