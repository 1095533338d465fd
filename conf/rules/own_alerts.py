"""The check of a service's own alerts, as strict as Prometheus, and stricter where it asks for the platform's metrics.

Prometheus refuses a whole file of rules for one mistake in a template of a label or an annotation, and so the operator loads
none of a service's alerts. Its templates are Go's text templates. They are read here, and not evaluated.
"""

import re
from collections.abc import Iterable, Iterator

from conf.plan.alerts import FILE, AlertingRule
from conf.rules.queries import judged_in_own_alerts, mistakes_of, result_is_no_vector

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


def own_alert_mistakes(rules: Iterable[AlertingRule]) -> list[str]:
    """Return a sentence for each mistake, with the line of the alert's expression."""
    return [f"{FILE}:{rule.line}: {rule.alert}: {words}" for rule in rules for words in _mistakes(rule)]


def _mistakes(rule: AlertingRule) -> Iterator[str]:
    found = mistakes_of(rule.expr, is_judged=judged_in_own_alerts)
    yield from found
    if not found and result_is_no_vector(rule.expr):
        yield "its result is a range or a text, and an alert needs one value a series: use a function such as rate()"
    if "__name__" in rule.labels:
        yield "a rule may not set the label __name__"
    for place, texts in (("label", rule.labels), ("annotation", rule.annotations)):
        for name, text in texts.items():
            yield from (f"{place} {name}: {words}" for words in template_mistakes(text))
