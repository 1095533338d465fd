"""Alerts on objectives: what uses a budget up fires them, and what clients cause or one failure at night does not."""

import re
from pathlib import Path

import pytest

from conf.plan.burn_rates import FAILED, REQUESTS
from tests.conf.rule_files import rule_groups, written
from tests.promtool import alerts, annotations, holds

SERVICE = """
service_name = "demo"
username = "like"
objective_latency_ms = 250
"""
POD = 'namespace="like",service="demo",pod="{}"'
CANARY = 'namespace="like",service="demo",arm="canary",arm_of="demo",pod="{}"'
EARLIER_CANARY = 'namespace="like",service="demo-canary",arm_of="demo",pod="{}"'  # of a release that named arms as services
NEIGHBOUR = 'namespace="like",service="demo-canary",pod="{}"'  # of the canary's name
DAY = 1440  # minutes
Histories = dict[str, str]  # series -> values, a minute apart


def requests(values: str, code: int = 200, reason: str = "", pod: str = "a", of: str = POD) -> Histories:
    labels = f'{of.format(pod)},route="service",code="{code}",reason="{reason}"'
    return {f"monopod_requests_total{{{labels}}}": values}


def answers(every: str, good: str, bound: str = "0.25", pod: str = "a", of: str = POD) -> Histories:
    """Return a histogram that counts all answers, and those within a bound."""
    begun = f'monopod_answer_duration_seconds_bucket{{{of.format(pod)},route="service",le='
    return {f'{begun}"+Inf"}}': every, f'{begun}"{bound}"}}': good}


def fired(histories: Histories, at: str, tmp_path: Path, service: str = SERVICE) -> set[tuple[str, str]]:
    """Return the names and severities of the budget's alerts that fire at a time."""
    (tmp_path / "value.py").write_text(service)
    groups = [group for group in rule_groups(tmp_path) if group["name"] == "like/demo-objectives"]
    found = alerts(written(groups, tmp_path / "rules.yaml"), histories, at, tmp_path)
    assert all((each["namespace"], each["service"], each["track"]) == ("like", "demo", "prod") for each in found)
    return {(each["alertname"].replace("BudgetBurns", ""), each["severity"]) for each in found}


FAST, SLOWLY, LATE_FAST = ("ErrorFast", "critical"), ("ErrorSlowly", "warning"), ("LatencyFast", "critical")
HOUR = {
    "nothing fails": ({**requests("0+60x60"), **requests("0x60", 500, "internal")}, set()),
    "nothing fails and no failure was ever counted": (requests("0+60x60"), set()),
    "nobody asks": (requests("7x60"), set()),
    "everything fails for two minutes": ({**requests("0+60x58 3480x2"), **requests("0x58 60 120", 500, "internal")}, {FAST}),
    "2 % fail for an hour": ({**requests("0+588x60"), **requests("0+12x60", 500, "internal")}, {FAST}),
    "one of ten requests fails in a quiet night": (
        {**requests("0x50 1 2 3 4 5 6 7 8 9 9"), **requests("0x55 1x5", 500, "internal")},
        set(),
    ),
    "one of a hundred requests fails": ({**requests("0+2x60"), **requests("0x55 1x5", 500, "internal")}, set()),
    "all of four requests fail": ({**requests("0x60"), **requests("0x55 1 2 3 4 4", 500, "internal")}, set()),
    "a burst of failures ended forty minutes ago": (
        {**requests("0+600x60"), **requests("0x10 0+300x10 3000x39", 500, "internal")},
        set(),
    ),
    "clients send junk": ({**requests("0+60x60"), **requests("0+60x60", 400, "bad_input")}, set()),
    "clients leave too little time": ({**requests("0+60x60"), **requests("0+60x60", 504, "short_deadline")}, set()),
    "clients' junk does not hide failures": (
        {**requests("0+49x60"), **requests("0+1x60", 500, "internal"), **requests("0+6000x60", 400, "bad_input")},
        {FAST},
    ),
    "a fifth of the answers is late": (answers("0+60x60", "0+48x60"), {LATE_FAST}),
    "half a percent of the answers is late": (answers("0+200x60", "0+199x60"), set()),
    "one answer is late in a quiet night": (answers("0x55 1x5", "0x60"), set()),
    "a canary that carries half of the requests fails": (
        {**requests("0+60x60"), **requests("0+60x60", 500, "internal", "b", CANARY)},
        {FAST},
    ),
    "a canary of an earlier release of the platform fails": (
        {**requests("0+60x60"), **requests("0+60x60", 500, "internal", "b", EARLIER_CANARY)},
        {FAST},
    ),
    "a canary that carries all requests answers late": (
        {**answers("60x60", "60x60"), **answers("0+60x60", "0+48x60", "0.25", "b", CANARY)},
        {LATE_FAST},
    ),
    "another service that is called as a canary fails": (
        {**requests("0+60x60"), **requests("0+60x60", 500, "internal", "b", NEIGHBOUR)},
        set(),
    ),
    "pods of another bound are not judged": (
        {**answers("0+60x60", "0+60x60"), **answers("0+60x60", "0x60", "15.0", "b")},
        set(),
    ),
}


@pytest.mark.parametrize("case", HOUR)
def test_an_hour_uses_up_the_budget_or_not(case: str, tmp_path: Path) -> None:
    histories, names = HOUR[case]
    assert fired(histories, "1h", tmp_path) == names


def recorded(values: str, failed: str) -> Histories:
    """Return the recorded rates, as each minute has them."""
    labels = '{namespace="like",service="demo",track="prod"}'
    return {f"{REQUESTS}{labels}": values, f"{FAILED}{labels}": failed}


@pytest.mark.parametrize(
    ("failed", "fast", "slowly"),
    [
        ("0.015x4320", False, True),
        ("0.005x4320", False, False),
        (f"0x{DAY} 2x60 0x{2 * DAY}", False, False),
        ("0x3239 0.05x1080", False, True),
        ("0x3959 0.07x360", True, False),
    ],
    ids=[
        "1.5 of a thousand fail",
        "half of the budget is used",
        "there was a bad hour two days ago",
        "5 of a thousand fail for eighteen hours",
        "7 of a thousand fail for six hours",
    ],
)
def test_three_days_use_up_the_budget_or_not(failed: str, fast: bool, slowly: bool, tmp_path: Path) -> None:
    (tmp_path / "value.py").write_text(SERVICE)
    rules = {rule["alert"]: rule["expr"] for group in rule_groups(tmp_path) for rule in group["rules"] if "alert" in rule}
    histories = recorded("10x4320", failed)
    found = [holds(rules[f"ErrorBudgetBurns{speed}"], histories, "3d", tmp_path) for speed in ("Fast", "Slowly")]
    assert found == [fast, slowly]


def test_a_service_with_an_objective_of_nine_tenths_can_still_burn_fast(tmp_path: Path) -> None:
    wide = SERVICE + "objective_success = 0.9\n"
    well = {**requests("0+60x60"), **requests("0+30x60", 500, "internal")}
    assert fired({**requests("0+20x60"), **requests("0+40x60", 500, "internal")}, "1h", tmp_path, wide) == {FAST}
    assert fired(well, "1h", tmp_path, wide) == {SLOWLY}


def test_the_slow_alert_repeats_a_fast_one_neither_while_it_fires_nor_until_its_windows_have_passed(tmp_path: Path) -> None:
    burst = {**requests("0+600x500"), **requests("0x10 0+300x10 3000+3x479", 500, "internal")}
    assert fired(burst, "15m", tmp_path) == {FAST}
    assert fired(burst, "5h", tmp_path) == set()
    assert fired(burst, "8h", tmp_path) == {SLOWLY}


def told(histories: Histories, at: str, name: str, tmp_path: Path) -> dict[str, str]:
    (tmp_path / "value.py").write_text(SERVICE)
    (found,) = annotations(written(rule_groups(tmp_path), tmp_path / "rules.yaml"), name, histories, at, tmp_path)
    return found


def pod(name: str, version: str, began: int, of: str = POD) -> Histories:
    labels = of.format(name)
    return {
        f'monopod_release_info{{{labels},version="{version}"}}': "1x120",
        f"process_start_time_seconds{{{labels}}}": f"{began}x120",
    }


def test_an_outage_is_told_by_the_share_of_the_last_five_minutes_with_its_reason_pods_and_version(tmp_path: Path) -> None:
    """All requests fail since six minutes, which is little of the last hour."""
    outage = {
        **requests("0+600x54 32400x66"),
        **requests("0x54 0+60x66", 500, "service_failed"),
        **requests("0x54 0+30x66", 500, "service_failed", "b"),
        **requests("0x54 0+1x66", 504, "deadline", "b"),
        **pod("a", "7", 2880), **pod("b", "7", 3000), **pod("c", "7", 3240),
    }  # fmt: skip
    found = told(outage, "1h", "ErrorBudgetBurnsFast", tmp_path)
    assert found["summary"].startswith("like/demo: 100% of the requests")
    assert 0.5 < float(found["summary"].partition("now, ")[2].partition("%")[0]) < 3
    assert found["summary"].endswith("the objective allows 0.1%")
    assert [part.strip() for part in re.split("[,;]", found["description"])] == [
        "mostly service_failed", "on 2 of 3 pods", "most on a", "b", "version 7", "whose oldest pod began 12m 0s ago",
    ]  # fmt: skip
    assert found["command"] == "monopod health --region hk --track prod"
    assert found["runbook_url"] == "docs/runbook.md#errorbudgetburnsfast"


def test_a_canary_that_fails_is_told_with_its_version_beside_that_of_the_service(tmp_path: Path) -> None:
    failing = {
        **requests("0+60x60"), **requests("0+60x60", 500, "internal", "x", CANARY),
        **pod("a", "7", 0), **pod("x", "8", 3300, CANARY),
    }  # fmt: skip
    found = told(failing, "1h", "ErrorBudgetBurnsFast", tmp_path)
    assert found["summary"].startswith("like/demo: 50% of the requests fail")
    assert "internal, on 1 of 2 pods, most on x" in found["description"]
    assert re.findall(r"version (\d), whose .*? began (.*?) ago", found["description"]) == [("7", "1h 0m 0s"), ("8", "5m 0s")]


def test_late_answers_are_told_with_the_stage_that_takes_most_of_the_time(tmp_path: Path) -> None:
    stages = {
        f'monopod_stage_duration_seconds_sum{{{POD.format("a")},stage="{stage}"}}': values
        for stage, values in (("queue", "0+40x60"), ("infer", "0+9x60"))
    }
    found = told({**answers("0+60x60", "0+48x60"), **stages, **pod("a", "7", 0)}, "1h", "LatencyBudgetBurnsFast", tmp_path)
    assert found["summary"].startswith("like/demo: 20% of the answers take")
    assert found["summary"].endswith("last hour; the objective allows 1%")
    assert found["description"].startswith("mostly queue, on 1 of 1 pods, most on a")


def test_an_outage_after_which_nobody_asks_is_told_without_a_share_that_is_no_number(tmp_path: Path) -> None:
    over = {**requests("0+600x54 32400x66"), **requests("0x54 0+600x46 27600x20", 500, "internal")}
    found = told(over, "110m", "ErrorBudgetBurnsFast", tmp_path)
    assert found["summary"].startswith("like/demo: 0% of the requests fail")
    assert "86.79% in the last hour" in found["summary"]
    assert found["description"] == "on 0 of 0 pods"


def test_grey_and_ab_have_no_objectives(tmp_path: Path) -> None:
    (tmp_path / "value.py").write_text(SERVICE)
    names = {
        rule.get("alert", rule.get("record")) for group in rule_groups(tmp_path, ("grey", "ab")) for rule in group["rules"]
    }
    assert "ServerErrors" in names
    assert not [name for name in names if "Budget" in name or ":" in name]


def test_two_services_and_two_tracks_have_budgets_of_their_own(tmp_path: Path) -> None:
    (tmp_path / "value.py").write_text(SERVICE)
    other = tmp_path / "cats"
    other.mkdir()
    (other / "value.py").write_text(SERVICE.replace('"demo"', '"cats"'))
    path = written([*rule_groups(tmp_path, ("prod", "grey")), *rule_groups(other)], tmp_path / "rules.yaml")
    cats = 'monopod_requests_total{namespace="like",service="cats",pod="c",route="service",code="500",reason="internal"}'
    grey = 'monopod_requests_total{namespace="grey",service="demo",pod="g",route="service",code="500",reason="internal"}'
    found = alerts(path, {**requests("0+60x60"), cats: "0+6x60", grey: "0+60x60"}, "1h", tmp_path)
    burning = {tuple(each[name] for name in ("namespace", "service")) for each in found if "BudgetBurns" in each["alertname"]}
    failing = {each["namespace"] for each in found if each["alertname"] == "ServerErrors"}
    assert (burning, failing) == ({("like", "cats")}, {"grey"})


def test_the_bound_that_the_rules_ask_for_is_written_as_the_pod_writes_it(tmp_path: Path) -> None:
    for milliseconds, bound in ((250, "0.25"), (333, "0.333"), (0, "15.0"), (1, "0.001")):
        (tmp_path / "value.py").write_text(SERVICE.replace("250", str(milliseconds)))
        late = next(rule for group in rule_groups(tmp_path) for rule in group["rules"] if "late" in rule.get("record", ""))
        assert f'le="{bound}"' in late["expr"]
