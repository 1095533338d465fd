"""alerts.yaml is read in the form that promtool checks, and every mistake is reported."""

import json
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

import monopod
from conf.plan.alerts import RuleGroup, copied_rule_warnings, labelled, load, read
from conf.plan.plan import TRACKS
from conf.render.templates import quoted
from conf.rules.check import check
from serving.settings.reader import ConfigError
from tests.conf.golden import GOLDEN, SERVICES, regions
from tests.conf.rule_files import rule_groups, written
from tests.promtool import alerts
from tests.running import ROOT

RULE = "groups:\n  - name: a\n    rules:\n      - alert: Slow\n        expr: up == 0\n"


def test_rules_are_read_with_their_defaults() -> None:
    (rule,) = read(RULE)
    assert (rule.alert, rule.expr, rule.for_, dict(rule.labels)) == ("Slow", "up == 0", "0s", {})


@pytest.mark.parametrize("text", ["", "# nothing yet\n", "groups: []\n"])
def test_a_file_without_rules_and_a_service_without_the_file_add_none(tmp_path: Path, text: str) -> None:
    assert read(text) == load(tmp_path) == ()


@pytest.mark.parametrize(
    ("old", "new", "told"),
    [
        ("alert: Slow", "alert: too slow", "alerts.yaml:4: groups[0].rules[0].alert is 'too slow'"),
        ("expr: up == 0", "exp: up == 0", "alerts.yaml:5: no setting 'exp' here; did you mean 'expr'?"),
        ("expr: up == 0", "expr: up == 0\n        for: soon", "is 'soon', but"),
        ("alert: Slow", "record: x", "no setting 'record' here"),
    ],
)
def test_a_mistake_is_told_with_its_line(old: str, new: str, told: str) -> None:
    with pytest.raises(ConfigError) as caught:
        read(RULE.replace(old, new))
    assert any(told in line for line in caught.value.mistakes), caught.value.mistakes


@pytest.mark.parametrize(
    ("expr", "told"),
    [
        ('rate(x{namespace="like",service="faces"}[5m]) > 0', 'Slow asks for service="faces"'),
        ("x{namespace='like',service='faces'} > y{service=~\"face.*\"}", 'asks for service="faces"'),
        ('x{namespace="like",service="demo"} > y{service="faces"}', ""),
        ('x{namespace=~"like|grey",service=~"demo|faces"} > 0', ""),
        ('x{namespace="like",service="demo"} > 0', ""),
        ('x{namespace="grey",service="demo"} > 0', ""),
        ('x{namespace="team",service="demo"} > 0', 'asks for namespace="team"'),
        ('x{service="demo"} > 0', 'write namespace="like" beside service'),
        ('x{namespace="like",service=~"("} > 0', ""),
        ('x{namespace="like",service=~"(d|de)*x"} > 0', ""),
        ('x{namespace="like",service=~"(.*.*.*)*x"} > 0', ""),
        ("up == 0", ""),
    ],
)
def test_a_rule_that_asks_for_another_service_or_track_is_doubted(expr: str, told: str) -> None:
    found = copied_rule_warnings(read(RULE.replace("up == 0", json.dumps(expr))), "demo", ("like", "grey", "ab-test"))
    assert [told in line for line in found] == ([True] if told else [])


def test_a_rule_without_words_is_a_rule_of_prometheus(tmp_path: Path) -> None:
    (tmp_path / "value.py").write_text('service_name = "demo"\nusername = "like"\n')
    (tmp_path / "alerts.yaml").write_text(RULE)
    assert check(tmp_path, regions()).mistakes == []


def test_check_tells_of_rules_that_were_copied_with_another_service(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder = tmp_path / "faces"
    shutil.copytree(ROOT / "examples/face-embedding", folder)
    value = (folder / "value.py").read_text()
    (folder / "value.py").write_text(value.replace('service_name = "face-embedding"', 'service_name = "faces"'))
    assert monopod.main(["check", "--service", str(folder), "--regions", str(GOLDEN / "regions.yaml")]) == 0
    assert 'service="face-embedding", and this one is' in capsys.readouterr().out


def test_a_services_rules_are_its_own_whatever_they_hold() -> None:
    (rule,) = load(SERVICES["every-setting"])
    assert rule.annotations["more"] == "{% raw %}\n---\nkind: Secret"
    assert "\n" not in quoted(rule.annotations["more"])


def test_alerts_of_two_services_and_two_tracks_are_told_apart_by_their_labels(tmp_path: Path) -> None:
    cats = tmp_path / "cats"
    cats.mkdir()
    (cats / "value.py").write_text('service_name = "cats"\nusername = "like"\n')
    path = written([*rule_groups(SERVICES["every-setting"], TRACKS), *rule_groups(cats)], tmp_path / "rules.yaml")
    found = alerts(path, {"other": "1x10"}, "9m", tmp_path)
    down = {
        tuple(each[name] for name in ("alertname", "namespace", "service", "track", "severity"))
        for each in found
        if each["alertname"] == "NoPodAnswers"
    }
    assert down == {
        ("NoPodAnswers", "test-team", "every-setting", "prod", "critical"),
        ("NoPodAnswers", "grey", "every-setting", "grey", "warning"),
        ("NoPodAnswers", "ab-test", "every-setting", "ab", "warning"),
        ("NoPodAnswers", "like", "cats", "prod", "critical"),
    }


def test_a_services_own_rule_carries_the_labels_too_once_and_one_that_it_sets_itself_stays() -> None:
    rules = [rule for group in rule_groups(SERVICES["every-setting"], TRACKS) for rule in group["rules"]]
    (own,) = [rule for rule in rules if rule.get("alert") == "QueueGrows"]
    assert own["labels"] == {"namespace": "test-team", "service": "every-setting", "track": "prod", "severity": "warning"}
    group = RuleGroup("a", "", (), read(RULE + "        labels: {service: cats, team: pets}\n"))
    labels = {"namespace": "like", "service": "cats", "track": "prod", "team": "pets"}
    assert labelled(group, "demo", "like", "prod").alerts[0].labels == labels


def test_promtool_accepts_the_platforms_rules_and_a_services_own(tmp_path: Path, needs: Callable[[str, str], str]) -> None:
    promtool = needs("promtool", "prometheus")
    groups = rule_groups(SERVICES["every-setting"], TRACKS)
    path = written(groups, tmp_path / "rules.yaml")
    found = subprocess.run([promtool, "check", "rules", str(path)], capture_output=True, text=True)
    assert found.returncode == 0, found.stdout + found.stderr
    assert f"{sum(len(group['rules']) for group in groups)} rules found" in found.stdout
