"""The subject of rules, which is one track of a service in one region, and the form of an alert about it.

Knows names and labels. Knows no metric and no threshold.
"""

from dataclasses import dataclass

from conf.base.matchers import matchers
from conf.clusters.region import Region
from conf.plan.alerts import AlertingRule
from serving.settings import Settings

ARM_SERIES_LABEL = "arm_of"  # of the series of a canary's and a baseline's pods: the name of their service
CANARY_DRIVEN = "service:monopod_canary_driven:timestamp"  # recorded while there is a canary: when a command drove it last
RUNBOOK = "docs/runbook.md"  # Where regions.yaml has no address of it.
OWN = "alerts-of-a-services-own"  # the section of that page on the rules of alerts.yaml
# The command of monopod to type next, and the alerts that name it. All others name status.
NEXT = {
    "health": ("ErrorBudgetBurnsFast", "ErrorBudgetBurnsSlowly", "LatencyBudgetBurnsFast", "LatencyBudgetBurnsSlowly", "Slow"),
    "top": ("Overloaded", "QueueOld", "CoresHigh", "CoresNearLimit", "MemoryHigh", "MemoryNearLimit", "TmpNearlyFull"),
    "logs --since 1h": ("ServerErrors", "ReloadFailing", "OfflineStandsStill", "OfflineHeld", "OfflineDeadLetters"),
    "logs --previous": ("Restarts",),
}


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


def alert(watched: Watched, name: str, expr: str, for_: str, severity: str, words: str, details: str = "") -> AlertingRule:
    """Return an alert about a track. severity: critical or warning; a critical one of grey or ab becomes a warning.

    words: the end of a sentence that the track begins, with Prometheus' templates. details: further words, "" for none.
    """
    severity = severity if watched.has_objectives else "warning"
    summary = {"summary": f"{watched.namespace}/{watched.name}: {words}"}
    told = {**summary, **({"description": details} if details else {}), **next_steps(watched, name, name.lower())}
    return AlertingRule(name, expr, for_, {"severity": severity}, told)


def next_steps(watched: Watched, name: str, section: str) -> dict[str, str]:
    """Return the annotations of an alert that say what to do: a command, and a section of the runbook."""
    words = next((each for each, names in NEXT.items() if name in names), "status")
    command = f"monopod {words} --region {watched.region.name} --track {watched.track}"
    return {"command": command, "runbook_url": f"{watched.runbook}#{section}"}
