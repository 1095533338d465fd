"""The rights on a cluster: of deploy jobs, of people who look, and on Prometheus. The one list of them.

`monopod doctor` asks for these rights, the Roles of charts/cluster give them, and docs/deploy.md prints them.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import groupby

from conf.base.object_references import KINDS, NOT_APPLIED, Item

ACCOUNTS = "monopod"  # the namespace of the accounts. Nothing else is in it, since a pod may use each account of its namespace.
LIST, LOOK = ("list",), ("get", "list")
OBJECT_VERBS = ("get", "create", "patch", "delete")  # a release applies its objects
RECORD_VERBS = ("get", "create", "update", "delete")  # a release replaces its history and its lease as a whole
# Kinds that are only read, beside those that a release knows: the same as in KINDS.
READ_KINDS: Mapping[str, tuple[str, str]] = {
    "Namespace": ("api/v1", "namespaces"),
    "ResourceQuota": ("api/v1", "resourcequotas"),
    "PersistentVolumeClaim": ("api/v1", "persistentvolumeclaims"),
}


@dataclass(frozen=True)
class Right:
    """Some verbs on a resource kind. part: a subresource, such as log of pods. names: the objects, () for all of the kind."""

    kind: str
    verbs: tuple[str, ...]
    part: str = ""
    names: tuple[str, ...] = ()

    @property
    def group(self) -> str:
        """The API group, "" for the core group."""
        prefix = _place(self.kind)[0]
        return prefix.split("/")[1] if prefix.startswith("apis/") else ""

    @property
    def resource(self) -> str:
        """The resource as a Role names it, such as pods/log."""
        return _place(self.kind)[1] + (f"/{self.part}" if self.part else "")


def _place(kind: str) -> tuple[str, str]:
    return KINDS[kind] if kind in KINDS else READ_KINDS[kind]


# A deploy job's rights in each namespace that it deploys to.
DEPLOY = (
    Right("Pod", LOOK),
    Right("Event", LOOK),
    Right("Pod", ("get",), "log"),
    Right("ReplicaSet", LIST),
    Right("ResourceQuota", LIST),
    Right("PersistentVolumeClaim", ("get",)),
    Right("ConfigMap", RECORD_VERBS),
    Right("Lease", RECORD_VERBS),
    *(Right(kind, OBJECT_VERBS) for kind in KINDS if kind not in NOT_APPLIED),
)
# A person's rights in each such namespace: `monopod status`, history, logs, top, health, report and doctor read by them, and
# `monopod restart --pod` evicts by them.
READ = (
    *(Right(kind, LOOK) for kind in KINDS),
    Right("ResourceQuota", LOOK),
    Right("Namespace", ("get",)),
    Right("PersistentVolumeClaim", ("get",)),
    Right("Pod", ("get",), "log"),
    Right("Pod", ("create",), "eviction"),
)


def query_rights(service: str, port: str) -> tuple[Right, ...]:
    """Return the right to ask Prometheus through the API server, in Prometheus' namespace.

    service: its Service. port: the Service's port. The API server takes the Service's name with the scheme and the port in it.
    """
    names = (f"{service}:{port}", f"http:{service}:{port}", f"https:{service}:{port}")
    return (Right("Service", ("get",), "proxy", names),)


def rules(rights: Iterable[Right]) -> list[Item]:
    """Return rights as the rules of a Role: neighbours of one API group with the same verbs are one rule."""
    return [_rule(list(each)) for _, each in groupby(rights, key=lambda each: (each.group, each.verbs, each.names))]


def _rule(rights: Sequence[Right]) -> Item:
    first = rights[0]
    rule = {"apiGroups": [first.group], "resources": [each.resource for each in rights], "verbs": list(first.verbs)}
    return {**rule, "resourceNames": list(first.names)} if first.names else rule
