"""`status` tells of an autoscaler by its object, as Kubernetes and KEDA write it."""

from datetime import UTC, datetime, timedelta
from typing import Any

from conf.observe.autoscaler import PATIENCE, Autoscaler, autoscaler

MADE = datetime(2026, 11, 23, tzinfo=UTC)
LATER = MADE + PATIENCE + timedelta(seconds=1)
TRIGGERS = [{"type": "prometheus", "name": name} for name in ("queue", "busy")]


def external(number: int, average: str) -> dict[str, Any]:
    metric = {"name": f"s{number}-prometheus", "selector": {"matchLabels": {"scaledobject.keda.sh/name": "cats"}}}
    return {"type": "External", "external": {"metric": metric, "current": {"averageValue": average}}}


def scaler(*metrics: dict[str, Any], **status: Any) -> dict[str, Any]:
    return {
        "metadata": {"creationTimestamp": MADE.isoformat().replace("+00:00", "Z")},
        "spec": {"minReplicas": 1, "maxReplicas": 4},
        "status": {"currentReplicas": 2, "desiredReplicas": 3, "currentMetrics": list(metrics), **status},
    }


def scaled(**conditions: str) -> dict[str, Any]:
    found = [{"type": name, "status": value} for name, value in conditions.items()]
    return {"spec": {"triggers": TRIGGERS}, "status": {"conditions": found}}


def test_each_trigger_is_told_by_its_name_in_pods() -> None:
    found = autoscaler(scaler(external(0, "0"), external(1, "1300m")), scaled(Fallback="False"), LATER)
    assert found == Autoscaler(1, 4, 3, {"queue": 0.0, "busy": 2.6}, ())
    assert found.words == "1 to 4 pods, 3 wanted (queue 0, busy 2.6)"


def test_the_use_of_cores_is_told_in_percent() -> None:
    current = {"averageUtilization": 93, "averageValue": "93m"}
    found = autoscaler(
        scaler({"type": "ContainerResource", "containerResource": {"name": "cpu", "current": current}}), None, LATER
    )
    assert found.words == "1 to 4 pods, 3 wanted (cpu 93 %)"


def test_a_trigger_without_an_answer_is_left_out_and_told_once_the_autoscaler_is_some_minutes_old() -> None:
    blind = scaler({"type": ""}, external(1, "1"))
    found = autoscaler(blind, scaled(Fallback="True"), LATER)
    assert found.answers == {"busy": 2.0}
    (words,) = found.troubles
    assert words.startswith("the autoscaler has no answer")
    assert autoscaler(blind, scaled(Fallback="True"), MADE).troubles == ()


def test_an_autoscaler_that_cannot_scale_is_told_with_kubernetes_words() -> None:
    condition = {"type": "ScalingActive", "status": "False", "reason": "FailedGetResourceMetric", "message": "no metrics"}
    found = autoscaler(scaler(conditions=[condition]), None, LATER)
    (trouble,) = found.troubles
    assert "(FailedGetResourceMetric): no metrics" in trouble
    assert found.words.startswith("1 to 4 pods, 3 wanted (no measure")
    nothing = {**condition, "reason": "ScalingDisabled"}
    assert autoscaler(scaler(conditions=[nothing]), None, LATER).troubles == ()
