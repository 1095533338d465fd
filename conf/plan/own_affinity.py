"""The affinity of pod.yaml: preferences for nodes, and for or against the pods beside which a pod runs. It demands nothing.

A demand could keep a pod from every node, and `check` could not tell. `node_labels` and `tolerations` of value.py are the
demands that it counts.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from serving.settings import validators as allow
from serving.settings.reader import REQUIRED, List, Table, setting

WITH_VALUES, WITHOUT_VALUES = ("In", "NotIn"), ("Exists", "DoesNotExist")
TERMS = "preferredDuringSchedulingIgnoredDuringExecution"


def _refuse(value: Any) -> None:
    raise ValueError


def _demand(cure: str) -> Any:
    words = f"left out, since a demand could keep a pod from every node: {cure}"
    return setting(None, allow.Validator(words, "", _refuse), "Demands, which are refused.")


LABEL_KEY = allow.text(allow.LABEL_KEY, "a label's key", "topology.kubernetes.io/zone")
LABEL_VALUES = allow.strings(allow.LABEL_VALUE, "a label's values", '["ssd"]')


@dataclass(frozen=True)
class Requirement:
    """A condition on a label of a node."""

    key: str = setting(REQUIRED, LABEL_KEY, "The label's key.")
    operator: str = setting(REQUIRED, allow.choice(*WITH_VALUES, *WITHOUT_VALUES), "How its value is compared.")
    values: tuple[str, ...] = setting((), LABEL_VALUES, "The values, for In and NotIn.")


@dataclass(frozen=True)
class NodeTerm:
    """Nodes that are preferred."""

    matchExpressions: tuple[Requirement, ...] = setting(REQUIRED, List(Requirement), "Conditions that all hold.")


@dataclass(frozen=True)
class NodePreference:
    """A preference for nodes, and its weight."""

    weight: int = setting(REQUIRED, allow.whole(1, 100), "How much it counts beside other preferences.")
    preference: NodeTerm = setting(REQUIRED, Table(NodeTerm), "The nodes.")


@dataclass(frozen=True)
class NodeAffinity:
    """Preferences for nodes."""

    requiredDuringSchedulingIgnoredDuringExecution: None = _demand("write node_labels in value.py, which check counts")
    preferredDuringSchedulingIgnoredDuringExecution: tuple[NodePreference, ...] = setting(
        (), List(NodePreference), "Preferences."
    )


@dataclass(frozen=True)
class Selector:
    """Pods, by their labels."""

    matchLabels: Mapping[str, str] = setting(REQUIRED, allow.labels(), "The labels that they all have.")


@dataclass(frozen=True)
class PodTerm:
    """Pods of the track's namespace, and what counts as beside them."""

    topologyKey: str = setting(REQUIRED, LABEL_KEY, "The label by which nodes are one group.")
    labelSelector: Selector = setting(REQUIRED, Table(Selector), "The pods.")


@dataclass(frozen=True)
class PodPreference:
    """A preference for or against the same group of nodes as other pods, and its weight."""

    weight: int = setting(REQUIRED, allow.whole(1, 100), "How much it counts beside other preferences.")
    podAffinityTerm: PodTerm = setting(REQUIRED, Table(PodTerm), "The other pods.")


@dataclass(frozen=True)
class PodAffinity:
    """Preferences about other pods."""

    requiredDuringSchedulingIgnoredDuringExecution: None = _demand(f"write it under {TERMS}")
    preferredDuringSchedulingIgnoredDuringExecution: tuple[PodPreference, ...] = setting(
        (), List(PodPreference), "Preferences."
    )


@dataclass(frozen=True)
class Affinity:
    """The affinity of a pod."""

    nodeAffinity: NodeAffinity = setting(NodeAffinity(), Table(NodeAffinity), "Preferences for nodes.")
    podAffinity: PodAffinity = setting(PodAffinity(), Table(PodAffinity), "Preferences for the neighbourhood of pods.")
    podAntiAffinity: PodAffinity = setting(PodAffinity(), Table(PodAffinity), "Preferences against it.")

    @property
    def nodes(self) -> tuple[NodePreference, ...]:
        return self.nodeAffinity.preferredDuringSchedulingIgnoredDuringExecution

    @property
    def pods(self) -> tuple[tuple[str, tuple[PodPreference, ...]], ...]:
        """The preferences about pods by their field's name. A field without any is left out."""
        both = (("podAffinity", self.podAffinity), ("podAntiAffinity", self.podAntiAffinity))
        found = ((name, each.preferredDuringSchedulingIgnoredDuringExecution) for name, each in both)
        return tuple((name, terms) for name, terms in found if terms)


def affinity_mistakes(place: str, affinity: Affinity) -> Iterator[tuple[str, str]]:
    """Yield the path and the message of each field that does not agree with another one. place: of the affinity."""
    for number, node in enumerate(affinity.nodes):
        where = f"{place}.nodeAffinity.{TERMS}[{number}].preference.matchExpressions"
        if not node.preference.matchExpressions:
            yield where, "a preference without a condition is about no node: write one, or delete the preference"
        for index, each in enumerate(node.preference.matchExpressions):
            if bool(each.values) != (each.operator in WITH_VALUES):
                cure = "write values" if each.operator in WITH_VALUES else "delete values"
                words = f"{each.operator} of {each.key}: {' and '.join(WITH_VALUES)} have values, the others have none: {cure}"
                yield f"{where}[{index}].operator", words
    for name, terms in affinity.pods:
        for number, term in enumerate(terms):
            if not term.podAffinityTerm.labelSelector.matchLabels:
                where = f"{place}.{name}.{TERMS}[{number}].podAffinityTerm.labelSelector.matchLabels"
                yield where, "a selector without a label is about every pod: write one, such as app: index"
