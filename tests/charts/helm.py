"""The charts in charts/, rendered and installed by helm as a person does it."""

import json
import subprocess
from pathlib import Path
from typing import Any

from conf.base.yaml_nodes import documents
from tests.prerequisites import helm
from tests.running import ROOT

Item = dict[str, Any]
CHARTS = sorted(path.parent for path in (ROOT / "charts").glob("*/Chart.yaml"))
KUBERNETES = "1.36.0"  # helm renders for this version, where it asks no cluster


def run(*arguments: str | Path, values: Item | None = None, context: str = "") -> subprocess.CompletedProcess[str]:
    """Run helm, whatever becomes of it. values: given as a file. context: of the cluster."""
    where = ["--kube-context", context] if context else []
    given = ["--values", "-"] if values is not None else []
    command = [helm(), *map(str, arguments), *given, *where]
    return subprocess.run(command, input=json.dumps(values), capture_output=True, text=True, timeout=300)


def done(*arguments: str | Path, values: Item | None = None, context: str = "") -> str:
    """Run helm, which must succeed, and return what it printed."""
    ended = run(*arguments, values=values, context=context)
    assert ended.returncode == 0, f"{ended.stdout}\n{ended.stderr}"
    return ended.stdout


def rendered(chart: Path, values: Item, release: str = "", namespace: str = "monopod") -> list[Item]:
    """Return the objects of a chart for some values, without asking a cluster. release: its name, or else the chart's."""
    where = ("--kube-version", KUBERNETES, "--namespace", namespace)
    text = done("template", release or chart.name, chart, *where, values=values)
    return documents(text)


def refusal(chart: Path, values: Item) -> str:
    """Return why helm refuses values; they must be refused."""
    ended = run("template", chart.name, chart, "--kube-version", KUBERNETES, "--namespace", "monopod", values=values)
    assert ended.returncode != 0, ended.stdout
    return ended.stderr
