"""The troubles of a service now, as Prometheus has them: its alerts that fire, and that most of its requests fail.

Knows the series of alerts. Does not know how a trouble is shown.
"""

from collections.abc import Sequence

from conf.base.matchers import matchers, one_of
from conf.base.quantities import significant
from conf.observe.prometheus import Sample
from conf.plan.burn_rates import COUNTED, COUNTED_FAILED
from conf.render.arms import arm_names

MOST_FAIL = 0.5  # a share of the answers from which on a release is not good, whatever its pods say
FAIL, FIRE = "requests fail", "alerts fire"


def troubles_query(service: str, offline: str, namespace: str) -> str:
    """Return one query for the alerts, and for the share of the last two minutes' answers that failed."""
    where = f"{matchers(namespace=namespace)},{one_of('service', (service, *arm_names(service)))}"
    failed, counted = (f"sum(rate(monopod_requests_total{{{where},{which}}}[2m]))" for which in (COUNTED_FAILED, COUNTED))
    either = one_of("service", (service, offline, *arm_names(service)))
    return f'ALERTS{{alertstate="firing",{matchers(namespace=namespace)},{either}}} or {failed} / {counted}'


def present_troubles(samples: Sequence[Sample]) -> list[tuple[str, str]]:
    """Return each trouble, the gravest first: its kind, and a sentence with what to look at."""
    alerts = {each.labels["alertname"]: each.labels.get("severity", "") for each in samples if "alertname" in each.labels}
    failed = next((each.value or 0.0 for each in samples if not each.labels), 0.0)
    found = []
    if failed > MOST_FAIL:
        share = f"{significant(100 * failed, 2)} % of the answers of the last two minutes are 5xx"
        found.append((FAIL, f"{share}: `monopod health` names the pods and their errors"))
    if alerts:
        names = ", ".join(f"{name} ({severity})" if severity else name for name, severity in sorted(alerts.items()))
        found.append((FIRE, f"alerts fire: {names}; docs/runbook.md says what to do"))
    return found
