"""The picture of docs/dashboards.md, drawn from what a real Prometheus answers to the Service dashboard's queries.

Knows which panels are shown. Does not know how they are drawn.
"""

from collections.abc import Mapping

from dashboards.picture import Line, draw
from dashboards.service import SERVICE
from tests.dashboards.real_prometheus import PrometheusServer
from tests.dashboards.written import RELEASES, asked, filled

SHOWN = (
    "Requests by route",
    "Answers by code",
    "Duration by route",
    "Refused by reason",
    "Stages of a request",
    "Queue",
    "Rows of a batch",
    "Requests by pod",
    "Memory of its limit",
)
ABOUT = "Nine panels of the Service dashboard, with the requests, stages, queue, batches and pods of a service under load"


def drawn(prometheus: PrometheusServer, values: Mapping[str, str]) -> str:
    """Return the picture as SVG. values: of the dashboard's variables."""
    found = {panel.title: panel for row in SERVICE.rows for panel in row.panels}
    panels = [
        (
            found[title],
            [
                Line(each["labels"], query.legend, each["points"])
                for query in found[title].queries
                for each in prometheus.points(filled(query.expr, values))
            ],
        )
        for title in SHOWN
    ]
    (mark,) = [query for query in asked("service") if query.panel == RELEASES]
    marks = [each["points"][0][0] for each in prometheus.shown(mark, values)]
    return draw(ABOUT, panels, (prometheus.begin, prometheus.shown_until), marks)
