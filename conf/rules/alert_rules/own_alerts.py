"""The check of a service's own alerts, as strict as Prometheus, and stricter where it asks for the platform's metrics.

Knows what makes Prometheus refuse a file of rules, or fail at each evaluation. Does not know how alerts.yaml is read.
"""

from collections.abc import Iterable, Iterator

from conf.plan.alerts import FILE, AlertingRule
from conf.rules.alert_rules.alert_templates import template_mistakes
from conf.rules.queries import judged_in_own_alerts, mistakes_of, result_is_no_vector


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
