"""The dashboard that sets two versions or two tracks of a service side by side, on the same panels.

A pod's metrics say nothing of its version: each query joins monopod_release_info, once for each side.
"""

from collections.abc import Callable

from dashboards import variables
from dashboards.parts import BYTES, COUNT, RATE, SECONDS, SHARE, Dashboard, Panel, Variable, panel, row
from dashboards.promql import WHAT_COUNTS, Change, error_share, mean, quantile, rate, total
from dashboards.variables import INFO, OWNER, SERVICES

SIDES = ("left", "right")
LEGEND = "${side}_track ${side}_version"


def _join(side: str) -> Change:
    """Return what makes an expression one of a side's pods alone."""
    chosen = f'track="${side}_track",version="${side}_version"'

    def of(expr: str) -> str:
        return f"{expr} * on (namespace, pod) group_left () {INFO}{{{SERVICES},{chosen}}}"

    return of


def compared(title: str, unit: str, description: str, expr: Callable[[Change], str], name: str = "") -> Panel:
    """Return a panel with one query for each side. expr: makes it from a side's join. name: what the legend adds."""
    queries = ((expr(_join(side)), f"{LEGEND.replace('{side}', side)} {name}".strip()) for side in SIDES)
    return panel(title, unit, description, *queries, width=12)


REQUESTS = f"monopod_requests_total{{{SERVICES}}}"
ANSWER = "monopod_answer_duration_seconds"

REQUEST_ROW = row(
    "Requests",
    compared("Requests", RATE, "Requests answered a second by the pods of each side.", lambda of: total(REQUESTS, of=of)),
    compared(
        "Server errors", SHARE, f"{WHAT_COUNTS} A side without any 5xx has no line.", lambda of: error_share(SERVICES, of=of)
    ),
    compared(
        "p50", SECONDS, "Half of the requests are answered in this time.", lambda of: quantile(0.5, ANSWER, SERVICES, of=of)
    ),
    compared(
        "p99", SECONDS, "99 of 100 requests are answered in this time.", lambda of: quantile(0.99, ANSWER, SERVICES, of=of)
    ),
    compared(
        "Refused",
        RATE,
        "Requests refused a second before any work on them.",
        lambda of: total(f"monopod_shed_total{{{SERVICES}}}", of=of),
    ),
    compared(
        "Stages of a request",
        SECONDS,
        "Mean time of a request in each stage that it went through.",
        lambda of: mean("monopod_stage_duration_seconds", SERVICES, "stage", of),
        "{{stage}}",
    ),
)
WORK_ROW = row(
    "Work",
    compared("Rows of a batch", COUNT, "Mean rows of a batch.", lambda of: mean("monopod_batch_rows", SERVICES, of=of)),
    compared(
        "Time of a batch",
        SECONDS,
        "Mean time of one run of a model.",
        lambda of: mean("monopod_batch_duration_seconds", SERVICES, of=of),
    ),
    compared(
        "Cost by batch size",
        SECONDS,
        "Time of one batch of this many rows, measured when the model was loaded.",
        lambda of: f"max by (model, rows) ({of(f'monopod_warmup_seconds{{{SERVICES}}}')})",
        "{{model}}, {{rows}} rows",
    ),
    compared(
        "Cores used by a pod",
        COUNT,
        "Mean cores that a pod of each side uses.",
        lambda of: f"avg({of(rate(f'process_cpu_seconds_total{{{SERVICES}}}'))})",
    ),
    compared(
        "Memory of a pod",
        BYTES,
        "The pod of each side that holds the most memory.",
        lambda of: f"max({of(f'process_resident_memory_bytes{{{SERVICES}}}')})",
    ),
    compared("Pods", COUNT, "Pods of each side that answer requests.", lambda of: f"sum({of(f'monopod_ready{{{SERVICES}}}')})"),
)


def _choices(side: str) -> tuple[Variable, Variable]:
    """Return the choices of one side's track and version."""
    where = f'{OWNER},container="$service"'
    title = side.capitalize()
    track = Variable(f"{side}_track", "track", f"{INFO}{{{where}}}", f"{title} track", many=False)
    version = f'{INFO}{{{where},track="${side}_track"}}'
    return track, Variable(f"{side}_version", "version", version, f"{title} version", many=False)


RELEASE = Dashboard(
    "monopod-release",
    "Monopod / Release",
    "Two versions or two tracks of one service, side by side on the same panels.",
    (
        variables.REGION_CHOICE,
        variables.USER_CHOICE,
        variables.SERVICE_CHOICE,
        *_choices("left"),
        *_choices("right"),
        variables.namespace(variables.NAMED),
        *variables.targets(f"{INFO}{{{variables.NAMED}}}"),
    ),
    (REQUEST_ROW, WORK_ROW),
    releases=variables.releases(SERVICES),
)
