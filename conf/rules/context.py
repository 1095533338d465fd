"""The input of a rule, a RuleContext, and its output, Violations."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cached_property

from conf.base.image_names import Image
from conf.clusters.regions import Region, Regions
from conf.plan.own_pod import OwnPod
from conf.plan.placement import Need, need
from conf.plan.plan import Plan
from conf.rules.model_files import ModelFiles
from serving.settings import Settings, ValueFile


@dataclass(frozen=True)
class Violation:
    """A rule that is broken. where: a setting, or a place such as "conf/regions.yaml:7". hint: whether it is only a warning."""

    where: str
    message: str
    hint: bool = False


def hint(where: str, message: str) -> Violation:
    """Return a violation that is only a warning."""
    return Violation(where, message, hint=True)


@dataclass(frozen=True)
class RuleContext:
    """One track of a service in one region, with all that rules ask about it."""

    value: ValueFile
    settings: Settings
    regions: Regions
    region: Region
    image: Image
    model: ModelFiles
    plan: Plan

    @cached_property
    def need(self) -> Need:
        return need(self.settings, self.region, self.own_pod)

    @property
    def own_pod(self) -> OwnPod:
        """The additions of pod.yaml, which all pods have."""
        return self.plan.workloads[0].pod.own

    @property
    def is_prod(self) -> bool:
        return self.plan.track == "prod"

    def is_set(self, setting: str) -> bool:
        """Return whether value.py sets a setting, for this region or for all."""
        return setting in self.value.lines or f"{self.region.name}_{setting}" in self.value.lines

    def region_place(self, path: str) -> str:
        """Return the file and line of a field of this region in regions.yaml. path: as ".nodes", or "" for the region."""
        return self.regions.place(f"regions.{self.region.name}{path}")


Rule = Callable[[RuleContext], Iterator[Violation]]
