"""`check` finds in alerts.yaml what Prometheus refuses, and lets through what it takes: promtool is asked as well."""

import json
import subprocess
from pathlib import Path
from typing import Any

import pytest

from conf.plan.alerts import AlertsError, read
from conf.rules.own_alerts import own_alert_mistakes
from tests.prerequisites import program

Rule = dict[str, Any]


def rule(expr: str = "up == 0", **more: Any) -> Rule:
    return {"alert": "Mine", "expr": expr, **more}


def told(text: str) -> Rule:
    return rule(annotations={"summary": text})


GOOD: tuple[Rule, ...] = (
    rule(),
    rule("own_total > 5", **{"for": "5m"}),
    rule("absent(own_total)", labels={"severity": "warning", "pod_name": "{{ $labels.pod }}"}),
    told("{{ $value | humanizePercentage }} of {{ $labels.service }}"),
    told('{{ if gt $value 5.0 }}many{{ else if eq $value 1.0 }}one{{ else }}few{{ end }} {{- printf "%.2f }}" $value -}}'),
    told('{{ range query "up" }}{{ .Labels.instance }} {{ . | value }}{{ end }}'),
    told('{{ with query "up" }}{{ . | first | value | humanize }}{{ end }}'),
    told("{{ $pods := len $labels }}{{ $pods }}"),
    told("{{/* a comment }} */}}{{ $externalURL }} {{ $externalLabels.region }} {{ toUpper `a}}b` }}"),
    told("no template: } }} { {% raw %} \n---\n"),
    told("{{ define `a` }}x{{ end }}{{ template `a` }}"),
)
BAD: tuple[tuple[Rule, str], ...] = (
    (rule("up =="), "it is no PromQL"),
    (rule("sum(up"), "it is no PromQL: unclosed left parenthesis"),
    (rule("rate(up)"), "it is no PromQL: expected type matrix"),
    (rule('up{a=~"("}'), "it is no PromQL"),
    (rule("{}"), "it is no PromQL"),
    (rule("nothing(up)"), "it is no PromQL: unknown function"),
    (rule(labels={"__name__": "x"}), "a rule may not set the label __name__"),
    (told("{{ $value "), "annotation summary: a {{ is not closed by }}"),
    (told('{{ "a }}'), "annotation summary: a {{ is not closed by }}"),
    (told("{{ $pod }}"), "annotation summary: there is no $pod; known are $externalLabels, $externalURL, $labels, $value"),
    (told("{{ $value | percent }}"), "annotation summary: there is no function percent"),
    (told("{{ if $value }}x"), "annotation summary: a block has no {{ end }}"),
    (told("x{{ end }}"), "annotation summary: {{ end }} ends no block"),
    (told("{{ else }}"), "annotation summary: {{ else }} ends no block"),
    (told("{{ }}"), "annotation summary: {{ }} is empty"),
    (rule(labels={"pod_name": "{{ .Labels.pod"}), "label pod_name: a {{ is not closed by }}"),
)
ONLY_OURS: tuple[tuple[Rule, str], ...] = (  # Prometheus takes these, and they fail or are empty each time
    (rule("up[5m]"), "its result is a range or a text"),
    (rule("('a')"), "its result is a range or a text"),
    (rule("monopod_request_totl > 0"), "there is no metric monopod_request_totl"),
)


def text(one: Rule) -> str:
    return json.dumps({"groups": [{"name": "own", "rules": [one]}]})


def promtool_takes(one: Rule, folder: Path) -> bool:
    path = folder / "alerts.yaml"
    path.write_text(text(one), encoding="utf-8")
    command = [program("promtool", "prometheus"), "check", "rules", str(path)]
    return subprocess.run(command, capture_output=True, timeout=60).returncode == 0


@pytest.mark.parametrize("one", GOOD)
def test_what_prometheus_takes_is_let_through(one: Rule, tmp_path: Path) -> None:
    assert own_alert_mistakes(read(text(one))) == []
    assert promtool_takes(one, tmp_path)


@pytest.mark.parametrize(("one", "words"), BAD)
def test_what_prometheus_refuses_is_told_with_its_line(one: Rule, words: str, tmp_path: Path) -> None:
    (found,) = own_alert_mistakes(read(text(one)))
    assert found.startswith(f"alerts.yaml:1: Mine: {words}")
    assert not promtool_takes(one, tmp_path)


@pytest.mark.parametrize(("one", "words"), ONLY_OURS)
def test_what_could_never_alert_is_told_too(one: Rule, words: str, tmp_path: Path) -> None:
    (found,) = own_alert_mistakes(read(text(one)))
    assert words in found
    assert promtool_takes(one, tmp_path)


def test_the_line_is_that_of_the_expression() -> None:
    lines = [
        "groups:",
        "  - name: a",
        "    rules:",
        "      - alert: One",
        "        expr: up",
        "      - alert: Two",
        "        expr: up ==",
    ]
    (found,) = own_alert_mistakes(read("\n".join(lines)))
    assert found.startswith("alerts.yaml:7: Two: it is no PromQL")


@pytest.mark.parametrize("field", [{"for": "soon"}, {"for": "-5m"}, {"labels": {"a-b": "c"}}, {"alert": ""}, {"record": "x"}])
def test_what_reading_the_file_refuses_needs_no_further_check(field: Rule) -> None:
    with pytest.raises(AlertsError):
        read(text({**rule(), **field}))
