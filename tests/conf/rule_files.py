"""Rule files as promtool reads them, made from what a service's folder renders."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from conf.base.yaml_nodes import documents
from conf.plan.plan import plan
from conf.render.templates import render
from conf.rules.check import read
from tests.conf.golden import regions


def prometheus_rules(folder: Path, tracks: Sequence[str] = ("prod",), region: str = "") -> list[dict[str, Any]]:
    """Return the PrometheusRules of a service's tracks in one region, "" for the first one of each track."""
    service, mistakes = read(folder, regions())
    assert mistakes == []
    assert service
    plans = [plan(service.value, regions(), track, service.image, service.own) for track in tracks]
    chosen = [next(each for each in found if each.region == (region or found[0].region)) for found in plans]
    return [item for each in chosen for item in documents(render(each)) if item["kind"] == "PrometheusRule"]


def rule_groups(folder: Path, tracks: Sequence[str] = ("prod",), region: str = "") -> list[dict[str, Any]]:
    """Return the groups of a service's PrometheusRules, as they are rendered, under names that one file may hold."""
    items = prometheus_rules(folder, tracks, region)
    named = [(item["metadata"]["namespace"], group) for item in items for group in item["spec"]["groups"]]
    return [{**group, "name": f"{namespace}/{group['name']}"} for namespace, group in named]


def written(groups: Sequence[dict[str, Any]], path: Path) -> Path:
    """Write groups as a rule file, and return its path."""
    path.write_text(json.dumps({"groups": list(groups)}), encoding="utf-8")  # JSON is YAML
    return path
