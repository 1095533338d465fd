"""The state of an autoscaler: its limits, the pods that it wants, what its measures say, and why it does not scale.

Sources: Kubernetes' autoscaling/v2, and KEDA's conditions. KEDA names the metric of a trigger by its place: s1-prometheus is of
the second trigger.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta

from conf.base.object_references import Item, conditions
from conf.base.quantities import quantity_value

PATIENCE = timedelta(
    minutes=5
)  # in its first minutes an autoscaler may have no answer, since a new monitor acts after one or two
METRIC = re.compile(r"s(\d+)-.*")


@dataclass(frozen=True)
class Autoscaler:
    """One autoscaler's state. answers: the pods that each trigger of KEDA asks for, or percents of the requested cpu.

    troubles: why it cannot scale, each with the cure.
    """

    least: int
    most: int
    wanted: int
    answers: dict[str, float]
    troubles: tuple[str, ...]

    @property
    def words(self) -> str:
        """The state for a person."""
        units = {"cpu": " %"}
        told = ", ".join(f"{name} {value:.3g}{units.get(name, '')}" for name, value in self.answers.items())
        return f"{self.least} to {self.most} pods, {self.wanted} wanted ({told or 'no measure has answered yet'})"


def autoscaler(scaler: Item, scaled: Item | None, now: datetime) -> Autoscaler:
    """Return the state of a HorizontalPodAutoscaler. scaled: the ScaledObject for which KEDA made it, None by cpu. now: UTC."""
    spec, status = scaler["spec"], scaler.get("status", {})
    triggers = [str(each.get("name", each["type"])) for each in scaled["spec"]["triggers"]] if scaled else []
    pods, made = status.get("currentReplicas", 0), datetime.fromisoformat(scaler["metadata"]["creationTimestamp"])
    return Autoscaler(
        spec.get("minReplicas", 1),
        spec["maxReplicas"],
        status.get("desiredReplicas", 0),
        dict(_answers(status, triggers, pods)),
        tuple(_troubles(status, scaled)) if now - made > PATIENCE else (),
    )


def _answers(status: Item, triggers: list[str], pods: int) -> Iterator[tuple[str, float]]:
    for each in status.get("currentMetrics") or []:
        if each.get("type") == "ContainerResource" and "averageUtilization" in each["containerResource"]["current"]:
            yield "cpu", float(each["containerResource"]["current"]["averageUtilization"])
        found = METRIC.fullmatch(each["external"]["metric"]["name"]) if each.get("type") == "External" else None
        if found and int(found[1]) < len(triggers):  # Kubernetes divides KEDA's answer by the pods
            yield triggers[int(found[1])], quantity_value(each["external"]["current"]["averageValue"]) * pods


def _troubles(status: Item, scaled: Item | None) -> Iterator[str]:
    active = conditions({"status": status}).get("ScalingActive", {})
    # ScalingDisabled is a Deployment without a pod, which `status` reports as such.
    if active.get("status") == "False" and active.get("reason") != "ScalingDisabled":
        yield f"the autoscaler cannot scale ({active.get('reason')}): {active.get('message')}"
    if scaled and conditions(scaled).get("Fallback", {}).get("status") == "True":
        yield (
            "the autoscaler has no answer from Prometheus, so no pod is taken away: see whether Prometheus reads the pods,"
            " and whether KEDA reaches it"
        )
