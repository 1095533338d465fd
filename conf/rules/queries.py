"""The check of a query: whether it is PromQL, and whether every metric and label that it names exists.

Knows PromQL, by promql_parser, which this module alone imports. Does not know where queries stand.

A label is judged where it can be told which labels there are: in a selector, after `by`, `without`, `on`, `ignoring` and
`group_left`, and as the `le` that histogram_quantile reads. Where a part of a query may have any label, nothing is said.
"""

import difflib
import re
from collections.abc import Callable, Iterable, Mapping
from functools import cache
from typing import Any

import promql_parser as promql

from serving.settings.exported_metrics import EXPORTED_METRICS, PREFIXES, SCRAPE_LABELS, series

Labels = frozenset[str] | None  # None: any label may be there

TARGET = frozenset({*SCRAPE_LABELS, "node", "metrics_path"})  # what a scrape of pods adds
DEPLOYMENT, POD = ("deployment",), ("uid",)
CONTAINER = (*POD, "container")
# A PodMonitor of charts/monitoring makes the first two of a cluster's name, which each way to route writes in its own form.
CLUSTER = ("destination_namespace", "destination_service", "envoy_cluster_name", "cluster_name")
CLASS = (*CLUSTER, "envoy_response_code_class")

GAUGES_AND_COUNTERS: Mapping[str, tuple[str, ...]] = {
    "up": (),
    "kube_deployment_spec_replicas": DEPLOYMENT,
    "kube_deployment_status_replicas_ready": DEPLOYMENT,
    "kube_deployment_status_replicas_unavailable": DEPLOYMENT,
    "kube_deployment_status_replicas_updated": DEPLOYMENT,
    "kube_pod_info": (*POD, "node", "pod_ip", "host_ip"),
    "kube_pod_status_phase": (*POD, "phase"),
    "kube_pod_container_status_restarts_total": CONTAINER,
    "envoy_cluster_membership_healthy": CLUSTER,
    "envoy_cluster_membership_total": CLUSTER,
    "envoy_cluster_outlier_detection_ejections_active": CLUSTER,
    "envoy_cluster_outlier_detection_ejections_enforced_total": CLUSTER,
    "envoy_cluster_retry_or_shadow_abandoned": CLUSTER,
    "envoy_cluster_upstream_cx_connect_fail": CLUSTER,
    "envoy_cluster_upstream_rq_retry": CLUSTER,
    "envoy_cluster_upstream_rq_retry_limit_exceeded": CLUSTER,
    "envoy_cluster_upstream_rq_retry_overflow": CLUSTER,
    "envoy_cluster_upstream_rq_total": CLUSTER,
    "envoy_cluster_upstream_rq_xx": CLASS,
}
HISTOGRAMS: Mapping[str, tuple[str, ...]] = {
    "envoy_cluster_upstream_rq_time": CLUSTER,
    "envoy_cluster_upstream_rq_body_size": CLUSTER,
    "envoy_cluster_upstream_rs_body_size": CLUSTER,
}
OF_ANY_LABELS = ("ALERTS", "ALERTS_FOR_STATE")  # each has its alert's own

NAME = "__name__"
SCALARS = ("time", "pi", "scalar")  # functions that return one number
SETS = ("and", "or", "unless")
KEEPING = ("topk", "bottomk", "limitk", "limit_ratio")  # aggregations whose results keep all labels
INTERVAL = re.compile(r"\$\{?__(?:rate_)?(?:interval|range)\}?")
NUMBER = re.compile(r"\$\{?__(?:interval|range)_m?s\}?")
VARIABLE = re.compile(r"\$\{[^{}]*\}|\$\w+")
ANYTHING: Labels = None
NOTHING: Labels = frozenset()

Judged = Callable[[str], bool]  # of a metric's name


def judged_everywhere(name: str) -> bool:
    """Judge every metric, as in the platform's own queries."""
    return True


def judged_in_own_alerts(name: str) -> bool:
    """Judge the platform's metrics alone, as in alerts.yaml, which may ask for the service's own and for others'."""
    return name.startswith(PREFIXES)


def mistakes_of(query: str, recorded: Mapping[str, Labels] | None = None, is_judged: Judged = judged_everywhere) -> list[str]:
    """Return what is wrong with a query, none for a good one.

    recorded: the labels of each series that a recording rule makes, None for any; `recorded_labels` returns them.
    """
    return _Reader(recorded or {}, is_judged).read(query)[0]


def result_is_no_vector(query: str) -> bool:
    """Return whether the result of a right query is a range of values or a text, which no rule can use."""
    tree = promql.parse(query)
    while isinstance(tree, promql.ParenExpr):
        tree = tree.expr
    return isinstance(tree, promql.MatrixSelector | promql.SubqueryExpr | promql.StringLiteral)


def recorded_labels(query: str, recorded: Mapping[str, Labels] | None = None) -> Labels:
    """Return the labels of a query's results, None where any may be there. recorded: as for `mistakes_of`."""
    return _Reader(recorded or {}, judged_everywhere).read(query)[1]


def without_variables(query: str) -> str:
    """Return a query of a dashboard with something in place of each variable, so that it can be read."""
    return VARIABLE.sub("x", INTERVAL.sub("5m", NUMBER.sub("300", query)))


def foreign_series() -> dict[str, Labels]:
    """Return the labels of each series that others export, by its name in a query."""
    found: dict[str, Labels] = dict.fromkeys(OF_ANY_LABELS)
    for name, labels in GAUGES_AND_COUNTERS.items():
        found[name] = TARGET.union(labels)
    for name, labels in HISTOGRAMS.items():
        found[f"{name}_bucket"] = TARGET.union(labels, ("le",))
        found[f"{name}_sum"] = found[f"{name}_count"] = TARGET.union(labels)
    return found


@cache
def known_series() -> Mapping[str, Labels]:
    """Return the labels of every series of the platform and of the others that it asks for."""
    own = {name: frozenset(labels) for metric in EXPORTED_METRICS for name, labels in series(metric).items()}
    return {**foreign_series(), **own}


class _Reader:
    """Reads one query, from its leaves to its root. Each method returns the labels of a part's results."""

    def __init__(self, recorded: Mapping[str, Labels], is_judged: Judged):
        self._known = {**known_series(), **recorded}
        self._is_judged = is_judged
        self._mistakes: list[str] = []

    def read(self, query: str) -> tuple[list[str], Labels]:
        try:
            tree = promql.parse(query)
        except ValueError as error:
            return [f"it is no PromQL: {error}"], ANYTHING
        labels = self._labels(tree)
        return list(dict.fromkeys(self._mistakes)), labels

    def _labels(self, tree: Any) -> Labels:
        match tree:
            case promql.VectorSelector():
                return self._selector(tree)
            case promql.MatrixSelector():
                return self._selector(tree.vector_selector)
            case promql.ParenExpr() | promql.UnaryExpr() | promql.SubqueryExpr():
                return self._labels(tree.expr)
            case promql.AggregateExpr():
                return self._aggregation(tree)
            case promql.BinaryExpr():
                return self._operation(tree)
            case promql.Call():
                return self._call(tree)
        return NOTHING  # a number or a text

    def _selector(self, tree: promql.VectorSelector) -> Labels:
        groups = [tree.matchers.matchers, *tree.matchers.or_matchers]
        matchers = [each for group in groups for each in group]
        names = [each.value for each in matchers if each.name == NAME and each.op == promql.MatchOp.Equal]
        name = tree.name or (names[0] if len(names) == 1 else "")
        if not name or not self._is_judged(name):
            return ANYTHING
        if name not in self._known:
            self._mistakes.append(f"there is no metric {name}{_nearest(name, self._known)}")
            return ANYTHING
        labels = self._known[name]
        self._check((each.name for each in matchers if each.name != NAME), labels, f"{name} has no label")
        return labels

    def _aggregation(self, tree: promql.AggregateExpr) -> Labels:
        operation, inner = str(tree.op), self._labels(tree.expr)
        kept: Labels = NOTHING
        if tree.modifier is not None:
            named = frozenset(tree.modifier.labels)
            keeps = tree.modifier.type == promql.AggModifierType.By
            self._check(named, inner, f"{operation} {'by' if keeps else 'without'}: what it counts has no label")
            kept = named if keeps else None if inner is None else inner - named
        if operation == "count_values":
            return kept if kept is None or tree.param is None else kept | {tree.param.val}
        return inner if operation in KEEPING else kept

    def _operation(self, tree: promql.BinaryExpr) -> Labels:
        left, right, operator = self._labels(tree.lhs), self._labels(tree.rhs), str(tree.op)
        if _is_scalar(tree.lhs) or _is_scalar(tree.rhs):
            return right if _is_scalar(tree.lhs) else left
        both = None if left is None or right is None else left | right
        matched = self._matching(tree.modifier and tree.modifier.matching, operator, left, right)
        if operator in SETS:
            return both if operator == "or" else left
        if tree.modifier is None or tree.modifier.card == promql.VectorMatchCardinality.OneToOne:
            return matched
        to_left = tree.modifier.card == promql.VectorMatchCardinality.ManyToOne
        many, one = (left, right) if to_left else (right, left)
        joined = frozenset(tree.modifier.group_labels or ())
        self._check(joined, one, f"group_{'left' if to_left else 'right'}: the side that it joins has no label")
        return None if many is None else many | joined

    def _matching(self, matching: promql.LabelModifier | None, operator: str, left: Labels, right: Labels) -> Labels:
        """Judge the labels after `on` or `ignoring`. Return the labels where each side has one series of a kind."""
        if matching is None:
            return left
        named = frozenset(matching.labels)
        if matching.type == promql.LabelModifierType.Include:
            for side in (left, right):
                self._check(named, side, f"{operator} on: one of its sides has no label")
            return named
        self._check(named, None if left is None or right is None else left | right, f"{operator} ignoring: no side has a label")
        return None if left is None else left - named

    def _call(self, tree: promql.Call) -> Labels:
        name, found = tree.func.name, [self._labels(each) for each in tree.args]
        if name in SCALARS:
            return NOTHING
        vectors = [labels for each, labels in zip(tree.args, found, strict=True) if not _is_scalar(each)]
        labels = vectors[0] if vectors else NOTHING
        texts = [each.val for each in tree.args if isinstance(each, promql.StringLiteral)]
        if name in ("histogram_quantile", "histogram_fraction") and labels is not None:
            if "le" not in labels:
                self._mistakes.append(f"{name}: what it reads has no label le; keep it, as in sum by (le)")
            return labels - {"le"}
        if name == "label_replace":
            self._check(texts[2:3], labels, "label_replace: what it reads has no label")
        if name == "label_join":
            self._check(texts[2:], labels, "label_join: what it reads has no label")
        makes = name in ("label_replace", "label_join")
        return labels | set(texts[:1]) if makes and labels is not None else labels

    def _check(self, named: Iterable[str], labels: Labels, words: str) -> None:
        """Note each label that is not there."""
        if labels is not None:
            for label in sorted(set(named) - labels):
                self._mistakes.append(f"{words} {label}{_nearest(label, labels)}")


def _is_scalar(tree: Any) -> bool:
    if isinstance(tree, promql.ParenExpr | promql.UnaryExpr):
        return _is_scalar(tree.expr)
    if isinstance(tree, promql.BinaryExpr):
        return _is_scalar(tree.lhs) and _is_scalar(tree.rhs)
    if isinstance(tree, promql.Call):
        return tree.func.name in SCALARS
    return isinstance(tree, promql.NumberLiteral | promql.StringLiteral)


def _nearest(name: str, known: Iterable[str]) -> str:
    return "".join(f"; did you mean {each}?" for each in difflib.get_close_matches(name, known, 1))
