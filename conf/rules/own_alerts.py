"""The check of a service's own alerts and panels, as strict as Prometheus, and stricter on the platform's metrics.

A query must be PromQL, and each metric and label of the platform that it names must exist. A label is judged where it can be
told which labels there are: in a selector, after `by`, `without`, `on`, `ignoring` and `group_left`, and as the `le` that
histogram_quantile reads. Where a part of a query may have any label, nothing is said.

Prometheus refuses a whole file of rules for one mistake in a template of a label or an annotation, and so the operator loads
none of a service's alerts. The templates are Go's text templates. They are read here, and not evaluated.
"""

import difflib
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from functools import cache
from typing import Any

import promql_parser as promql

from conf.base.matchers import matchers as matchers_of
from conf.plan import own_panels
from conf.plan.alerts import ARM, FILE, AlertingRule
from conf.plan.own_panels import OwnPanel
from serving.settings.exported_metrics import EXPORTED_METRICS, PREFIXES, series

Labels = frozenset[str] | None  # None: any label may be there

NAME = "__name__"
SCALARS = ("time", "pi", "scalar")  # functions that return one number
SETS = ("and", "or", "unless")
KEEPING = ("topk", "bottomk", "limitk", "limit_ratio")  # aggregations whose results keep all labels
ANYTHING: Labels = None
NOTHING: Labels = frozenset()

ACTION = re.compile(r'\{\{-?(?P<code>(?:"(?:\\.|[^"\\\n])*"|`[^`]*`|/\*.*?\*/|[^"`}]|\}(?!\}))*?)-?\}\}', re.DOTALL)
NO_CODE = re.compile(r'"(?:\\.|[^"\\\n])*"|`[^`]*`|/\*.*?\*/', re.DOTALL)
VARIABLE = re.compile(r"\$\w+")
SET = re.compile(r"\$\w+(?=\s*(?:,\s*\$\w+\s*)?:=)")
WORD = re.compile(r"(?<![\w.$])[A-Za-z_]\w*")
VARIABLES = frozenset({"$labels", "$value", "$externalLabels", "$externalURL"})
OPENING = frozenset({"if", "range", "with", "define", "block"})
KEYWORDS = OPENING | {"else", "end", "template", "break", "continue", "true", "false", "nil"}
GO = "and or not len index slice print printf println html js urlquery eq ne lt le gt ge call"
PROMETHEUS = (
    "query first label value strvalue args reReplaceAll safeHtml match title toUpper toLower graphLink tableLink sortByLabel"
    " stripPort stripDomain humanize humanize1024 humanizeDuration humanizePercentage humanizeTimestamp toTime toDuration now"
    " pathPrefix externalURL parseDuration tmpl urlQueryEscape"
)
FUNCTIONS = frozenset({*GO.split(), *PROMETHEUS.split()})


def own_alert_mistakes(rules: Iterable[AlertingRule]) -> list[str]:
    """Return a sentence for each mistake, with the line of the alert's expression."""
    return [f"{FILE}:{rule.line}: {rule.alert}: {words}" for rule in rules for words in _mistakes(rule)]


def _mistakes(rule: AlertingRule) -> Iterator[str]:
    found, _ = judge_query(rule.expr)
    yield from found
    if not found and _result_is_no_vector(rule.expr):
        yield "its result is a range or a text, and an alert needs one value a series: use a function such as rate()"
    if "__name__" in rule.labels:
        yield "a rule may not set the label __name__"
    for place, texts in (("label", rule.labels), ("annotation", rule.annotations)):
        for name, text in texts.items():
            yield from (f"{place} {name}: {words}" for words in template_mistakes(text))


def own_panel_mistakes(panels: Sequence[OwnPanel]) -> list[str]:
    """Return a sentence for each mistake, with the line of the panel's query."""
    file, most, titles = own_panels.FILE, own_panels.MAX_PANELS, [panel.title for panel in panels]
    found = [f"{file}:{each.line}: {each.title}: {words}" for each in panels for words in _panel_mistakes(each)]
    if len(panels) > most:
        found.append(f"{file}: there are {len(panels)} panels, and a service may have {most}")
    for at, title in enumerate(titles):
        if title in titles[:at]:
            found.append(f"{file}:{panels[at].line}: {title}: an earlier panel has this title; give each panel another one")
    return found


def _panel_mistakes(panel: OwnPanel) -> Iterator[str]:
    query = own_panels.filled(panel.query, matchers_of(namespace="x", service="x", **{ARM: ""}))
    reader = _Reader(None)
    found, labels = reader.read(query)
    yield from found
    if not found and _result_is_no_vector(query):
        yield "its result is a range or a text, and a panel needs one value a series: use a function such as rate()"
    for name, matched in dict.fromkeys(reader.selected):
        if not {"namespace", "service"} <= matched:
            yield f"it asks for {name} of every service; write {name}{{{own_panels.PODS}}}"
    for label in sorted((labels or frozenset()) & {"panel", "unit"}):
        yield f"its result has the label {label}, which the platform sets; give the label another name by label_replace"


def template_mistakes(text: str) -> list[str]:
    """Return what is wrong with the templates of a text, none for a good one."""
    return list(dict.fromkeys(_template_mistakes(text)))


def _template_mistakes(text: str) -> Iterator[str]:
    if "{{" in ACTION.sub("", text):
        yield "a {{ is not closed by }}"
        return
    codes = [NO_CODE.sub(" 0 ", found["code"]) for found in ACTION.finditer(text)]
    known, depth = set(VARIABLES), 0
    for code, found in zip(codes, ACTION.finditer(text), strict=True):
        if not found["code"].strip():
            yield "{{ }} is empty"
        known.update(SET.findall(code))
        strange = [name for name in VARIABLE.findall(code) if name not in known]
        yield from (f"there is no {name}; known are {', '.join(sorted(VARIABLES))}" for name in strange)
        words = WORD.findall(code)
        yield from (f"there is no function {word}" for word in words if word not in FUNCTIONS | KEYWORDS)
        first = words[0] if words else ""
        depth += (first in OPENING) - (first == "end")
        if depth < 0 or (first == "else" and not depth):
            yield f"{{{{ {first} }}}} ends no block"
            return
    if depth:
        yield "a block has no {{ end }}"


def judge_query(query: str, others: Mapping[str, Labels] | None = None) -> tuple[list[str], Labels]:
    """Return what is wrong with a query, and the labels of its results, None where any may be there.

    others: the labels of the series beside the platform's own. Without it, they are not judged: they may be the service's own.
    """
    return _Reader(others).read(query)


@cache
def own_series() -> Mapping[str, Labels]:
    """Return the labels of every series that the platform exports."""
    return {name: frozenset(labels) for metric in EXPORTED_METRICS for name, labels in series(metric).items()}


def _result_is_no_vector(query: str) -> bool:
    """Return whether the result of a right query is a range of values or a text, which no rule can use."""
    tree = promql.parse(query)
    while isinstance(tree, promql.ParenExpr):
        tree = tree.expr
    return isinstance(tree, promql.MatrixSelector | promql.SubqueryExpr | promql.StringLiteral)


class _Reader:
    """Reads one query, from its leaves to its root. Each method returns the labels of a part's results."""

    def __init__(self, others: Mapping[str, Labels] | None):
        self._known = {**own_series(), **(others or {})}
        self._prefixes = PREFIXES if others is None else ""
        self._mistakes: list[str] = []
        self.selected: list[tuple[str, frozenset[str]]] = []  # each selector's metric, and the labels that it matches

    def read(self, query: str) -> tuple[list[str], Labels]:
        try:
            tree = promql.parse(query)
        except ValueError as error:
            return [f"it is not PromQL: {error}"], ANYTHING
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
        self.selected.append((name or "a metric", frozenset(each.name for each in matchers)))
        if not name or not name.startswith(self._prefixes):
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
