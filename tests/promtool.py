"""Evaluates alert rules over synthetic time series, with promtool."""

import json
import re
import subprocess
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from tests.prerequisites import program

FIRING = 'ALERTS{alertstate="firing"}'


def firing(rules: Path, histories: Mapping[str, str], at: str, folder: Path, step: str = "1m") -> set[str]:
    """Return the names of the alerts that fire at a time. The arguments are the same as for `alerts`."""
    return {each["alertname"] for each in alerts(rules, histories, at, folder, step)}


def alerts(rules: Path, histories: Mapping[str, str], at: str, folder: Path, step: str = "1m") -> list[dict[str, str]]:
    """Return the labels of each alert that fires at a time. at: promtool's notation, such as 10m.

    histories: series -> its values, a step apart, in promtool's notation. 5x3 is 5 5 5 5, 0+2x3 is 0 2 4 6, and _ is a missing
    value.
    """
    told, differs = _run(FIRING, [str(rules)], histories, at, folder, step)
    samples = re.findall(r"\{([^{}]*alertname=[^{}]*)\}", told.partition("got:")[2])
    found = [dict(re.findall(r'(\w+)="([^"]*)"', each)) for each in samples]
    assert bool(found) is differs, told  # promtool fails where an alert fires, and for nothing else
    return found


def annotations(rules: Path, name: str, histories: Mapping[str, str], at: str, folder: Path) -> list[dict[str, str]]:
    """Return the texts of each alert of a name that fires at a time. The other arguments are the same as for `alerts`."""
    asked = {"alert_rule_test": [{"alertname": name, "eval_time": at, "exp_alerts": []}]}
    told, _ = _tested(asked, [str(rules)], histories, folder, "1m")
    found = re.findall(r"Annotations:\{(.*)\}$", told.partition("got:")[2], re.MULTILINE)
    return [{key: json.loads(f'"{text}"') for key, text in re.findall(r'(\w+)="((?:[^"\\]|\\.)*)"', each)} for each in found]


def holds(expr: str, histories: Mapping[str, str], at: str, folder: Path, step: str = "1m") -> bool:
    """Return whether an expression has a result at a time. It is evaluated once, so that a history may be long."""
    told, differs = _run(expr, [], histories, at, folder, step)
    assert ("got:" in told) is differs, told
    return differs


def _run(expr: str, rule_files: list[str], histories: Mapping[str, str], at: str, folder: Path, step: str) -> tuple[str, bool]:
    """Return what promtool says of a test that expects no result of an expression, and whether there was one."""
    asked = {"promql_expr_test": [{"expr": expr, "eval_time": at, "exp_samples": []}]}
    return _tested(asked, rule_files, histories, folder, step)


def _tested(
    asked: Mapping[str, Any], rule_files: list[str], histories: Mapping[str, str], folder: Path, step: str
) -> tuple[str, bool]:
    """Return what promtool says of a test, and whether it failed."""
    series = [{"series": series, "values": values} for series, values in histories.items()]
    test = {"interval": step, "input_series": series, **asked}
    file = folder / "histories.yaml"
    file.write_text(json.dumps({"rule_files": rule_files, "evaluation_interval": step, "tests": [test]}))  # JSON is YAML
    promtool = program("promtool", "prometheus")
    done = subprocess.run([promtool, "test", "rules", file], capture_output=True, text=True, timeout=60)
    return done.stdout + done.stderr, done.returncode != 0
