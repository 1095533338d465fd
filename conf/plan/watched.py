"""The subject of rules, which is one track of a service in one region, and the form of an alert about it.

Knows names and labels. Knows no metric and no threshold.
"""

from dataclasses import dataclass

from conf.base.matchers import matchers
from conf.clusters.region import Region
from conf.plan.alerts import AlertingRule
from serving.settings import Settings

ARM_SERIES_LABEL = "arm_of"  # of the series of a canary's and a baseline's pods: the name of their service
RUNBOOK = "docs/runbook.md"  # Where regions.yaml has no address of it.


@dataclass(frozen=True)
class Watched:
    """One track of a service in one region. progress_deadline: seconds after which Kubernetes calls a rollout stuck.

    runbook: the address of the page that says what to do. suffix: of the name of its pods, "" for the online ones.
    """

    settings: Settings
    region: Region
    track: str
    namespace: str
    progress_deadline: int
    runbook: str = RUNBOOK
    suffix: str = ""

    @property
    def name(self) -> str:
        return self.settings.service_name + self.suffix

    @property
    def where(self) -> str:
        """The matchers that find the series of the track's pods."""
        return matchers(namespace=self.namespace, service=self.name)

    @property
    def where_arms(self) -> str:
        """The matchers that find the series of the pods of a canary and of its baseline."""
        return matchers(namespace=self.namespace, **{ARM_SERIES_LABEL: self.name})

    @property
    def has_objectives(self) -> bool:
        """Whether the objectives of value.py hold for the track. In grey and ab a release is tried: they wake nobody."""
        return self.track == "prod"


def alert(watched: Watched, name: str, expr: str, for_: str, severity: str, words: str) -> AlertingRule:
    """Return an alert about a track. severity: critical or warning; a critical one of grey or ab becomes a warning.

    words: the end of a sentence that the track begins, with Prometheus' templates.
    """
    severity = severity if watched.has_objectives else "warning"
    annotations = {
        "summary": f"{watched.namespace}/{watched.name}: {words}",
        "runbook_url": f"{watched.runbook}#{name.lower()}",
    }
    return AlertingRule(name, expr, for_, {"severity": severity}, annotations)
