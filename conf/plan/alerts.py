"""The forms of rules and of alerts, their subject, and the rules that a service adds in alerts.yaml."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from math import inf
from pathlib import Path

from conf.base.matchers import matchers
from conf.clusters.regions import Region
from conf.plan.service_files import table_in, text_in
from serving.settings import Settings
from serving.settings import validators as allow
from serving.settings.reader import REQUIRED, List, setting

FILE = "alerts.yaml"
SIMPLE = re.compile(r"[\w-]*(\.[*+])?[\w-]*")  # any other pattern is not judged: to match it may take for ever

# Of the series of a canary's and a baseline's pods: which of both they are, and the name of their service. Earlier releases
# made arms without the first, whose label `service` names the arm: the second finds arms of either form.
ARM, ARM_SERIES_LABEL = "arm", "arm_of"
CANARY_DRIVEN = "service:monopod_canary_driven:timestamp"  # recorded while there is a canary: when a command drove it last
RUNBOOK = "docs/runbook.md"  # Where regions.yaml has no address of it.
OWN = "alerts-of-a-services-own"  # the section of that page on the rules of alerts.yaml
# The command of monopod to type next, and the alerts that name it. All others name status.
NEXT = {
    "health": ("ErrorBudgetBurnsFast", "ErrorBudgetBurnsSlowly", "LatencyBudgetBurnsFast", "LatencyBudgetBurnsSlowly", "Slow"),
    "top": (
        "Overloaded",
        "QueueOld",
        "CoresHigh",
        "CoresNearLimit",
        "MemoryHigh",
        "MemoryNearLimit",
        "Leaking",
        "TmpNearlyFull",
    ),
    "logs --since 1h": ("ServerErrors", "ReloadFailing", "OfflineStandsStill", "OfflineHeld", "OfflineDeadLetters"),
    "logs --previous": ("Restarts",),
}


MAX_TEXT = 10_000  # characters of one text


ALERT = allow.text("[a-zA-Z_][a-zA-Z0-9_]{0,99}", "a name of letters, digits and _", "TooSlow")
DURATION = allow.text("[0-9]{1,6}(s|m|h|d)", "a time as 5m", "5m")
TEXT = allow.text(rf"(?s:.{{1,{MAX_TEXT}}})", "a text", "up == 0")
TEXTS = allow.table_of(
    re.compile("[a-zA-Z_][a-zA-Z0-9_]*").fullmatch,
    allow.string_where(lambda text: len(text) <= MAX_TEXT, "", "").convert,
    "a table of texts, each under a name of letters, digits and _",
    "{severity: warning}",
    most=inf,
)


@dataclass(frozen=True)
class AlertingRule:
    """One rule that alerts, in the form of Prometheus."""

    alert: str = setting(REQUIRED, ALERT, "The alert's name.")
    expr: str = setting(REQUIRED, TEXT, "PromQL that returns something while the alert is to fire.")
    for_: str = setting("0s", DURATION, "The time for which it must hold before it fires.")
    labels: Mapping[str, str] = setting({}, TEXTS, "Labels such as severity.")
    annotations: Mapping[str, str] = setting({}, TEXTS, "Texts for a person.")
    line: int = field(default=0, compare=False)  # Of the expression in alerts.yaml, 0 for a rule of the platform.


@dataclass(frozen=True)
class Recording:
    """A rule that keeps the value of an expression as a series. record: the series' name, as level:metric:operation."""

    record: str
    expr: str
    labels: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class RuleGroup:
    """Rules that Prometheus evaluates together, recordings first. interval: such as 60s, "" for Prometheus' own.

    limit: the most series that each rule may make, 0 for no limit. Prometheus drops the result of a rule that makes more.
    """

    name: str
    interval: str
    recordings: tuple[Recording, ...]
    alerts: tuple[AlertingRule, ...]
    limit: int = 0


@dataclass(frozen=True)
class Watched:
    """The subject of an alert: one track of a service in one region.

    progress_deadline: seconds after which Kubernetes calls a rollout stuck. suffix: of its pods' name, "" for the online ones.
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
        """The matchers that find the series of the track's own pods."""
        return matchers(namespace=self.namespace, service=self.name, **{ARM: ""})

    @property
    def where_recorded(self) -> str:
        """The matchers that find what rules made of the track's series: records and alerts."""
        return matchers(namespace=self.namespace, service=self.name, track=self.track)

    @property
    def where_arms(self) -> str:
        """The matchers that find the series of the pods of a canary and of its baseline."""
        return matchers(namespace=self.namespace, **{ARM_SERIES_LABEL: self.name})

    @property
    def has_objectives(self) -> bool:
        """Whether the objectives of value.py hold for the track. In grey and ab a release is tried: they wake nobody."""
        return self.track == "prod"


def alert(watched: Watched, name: str, expr: str, for_: str, severity: str, words: str, details: str = "") -> AlertingRule:
    """Return an alert about a track. severity: critical or warning, of which grey and ab have warnings alone.

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


@dataclass(frozen=True)
class Group:
    """A named list of rules."""

    name: str = setting(REQUIRED, TEXT, "The group's name.")
    rules: tuple[AlertingRule, ...] = setting(REQUIRED, List(AlertingRule), "The group's rules.")


@dataclass(frozen=True)
class File:
    """alerts.yaml, in the form that promtool checks."""

    groups: tuple[Group, ...] = setting(REQUIRED, List(Group), "Groups of rules.")


def load(service: Path) -> tuple[AlertingRule, ...]:
    """Return a service's own rules, none without an alerts.yaml. service: its folder. Raises ConfigError."""
    return read(text_in(service, FILE))


def read(text: str) -> tuple[AlertingRule, ...]:
    """Return the rules in the text of an alerts.yaml, none for comments alone. Raises ConfigError."""
    found, lines = table_in(FILE, text, File)
    return tuple(
        replace(rule, line=lines[f"groups[{g}].rules[{r}].expr"])
        for g, group in enumerate(found.groups if found else ())
        for r, rule in enumerate(group.rules)
    )


def copied_rule_warnings(rules: Sequence[AlertingRule], name: str, namespaces: Sequence[str]) -> list[str]:
    """Return a warning for each rule that asks only for other services or namespaces, as a copied one does, or for all of them.

    name: the service's own. namespaces: of its tracks, prod first.
    """
    found = []
    for rule in rules:
        service, place = (_asked(rule.expr, label) for label in ("service", "namespace"))
        if service and not any(_admits(each, name) for each in service):
            found.append(_never(rule, "service", service[0], name))
        if place and not any(_admits(each, one) for each in place for one in namespaces):
            found.append(_never(rule, "namespace", place[0], namespaces[0]))
        if service and not place:
            found.append(
                f"{FILE}: {rule.alert} asks for no namespace, so that what the tracks grey and ab do makes it fire too; write "
                f'namespace="{namespaces[0]}" beside service'
            )
    return found


def _asked(expr: str, label: str) -> list[tuple[str, str]]:
    """Return the matchers of a label in an expression, each as operator, = or =~, and text."""
    return re.findall(rf"""\b{label}(=~?)["']([^"']*)["']""", expr)


def _admits(asked: tuple[str, str], name: str) -> bool:
    sign, text = asked
    if sign == "=":
        return name == text
    each = text.split("|")
    return not all(map(SIMPLE.fullmatch, each)) or any(re.fullmatch(one, name) for one in each)


def _never(rule: AlertingRule, label: str, asked: tuple[str, str], name: str) -> str:
    return (
        f'{FILE}: {rule.alert} asks for {label}{asked[0]}"{asked[1]}", and this one is {name}: the rule would '
        f'never fire for it; write {label}="{name}"'
    )


def labelled(group: RuleGroup, name: str, namespace: str, track: str) -> RuleGroup:
    """Return a group whose rules have the labels by which services and tracks are told apart. A rule's own labels win."""
    labels = {"namespace": namespace, "service": name, "track": track}
    return replace(
        group,
        recordings=tuple(replace(rule, labels={**labels, **rule.labels}) for rule in group.recordings),
        alerts=tuple(replace(rule, labels={**labels, **rule.labels}) for rule in group.alerts),
    )
