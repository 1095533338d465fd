"""A report as one HTML page that needs nothing else: text, pictures and style, without a script.

Knows HTML. Does not know where figures come from. All text from elsewhere is escaped, and the page forbids itself to load.
"""

from collections.abc import Sequence
from html import escape

from conf.base.quantities import GIB, counted, readable_bytes, significant
from conf.commands.observe.figures_table import duration
from conf.commands.observe.hourly_charts import HOUR, Chart, svg
from conf.commands.observe.report_text import moment, sections
from conf.observe.report_figures import RegionReport

POLICY = "default-src 'none'; style-src 'unsafe-inline'"
STYLE = """
body { font: 15px/1.5 system-ui, sans-serif; max-width: 56rem; margin: 2rem auto; padding: 0 1rem }
body { color: #222; background: #fff }
h2 { border-bottom: 1px solid #bbb } h3 { margin-bottom: .2rem } ul { margin-top: .2rem } figure { margin: .4rem 0 }
svg { width: 100%; font: 11px system-ui, sans-serif; fill: #3a6ea5 } svg text { fill: #444 }
.end { text-anchor: end } .middle { text-anchor: middle } .grid { stroke: #8884; fill: none }
.axis { stroke: #888; fill: none } .line { stroke: #3a6ea5; fill: none } .level { stroke: #b33; stroke-dasharray: 4 3 }
.mark { stroke: #2a8a4a; stroke-width: 1.5 }
@media (prefers-color-scheme: dark) { body { color: #ddd; background: #181818 } svg text { fill: #bbb } }
"""


def page(title: str, reports: Sequence[tuple[RegionReport, Sequence[str]]], made: float) -> str:
    """Return the page. reports: each with its advice. made: when, in seconds since 1970."""
    body = "".join(_region(report, advice) for report, advice in reports)
    head = f'<meta charset="utf-8"><meta http-equiv="Content-Security-Policy" content="{POLICY}">'
    return (
        f'<!doctype html>\n<html lang="en"><head>{head}<title>{escape(title)}</title><style>{STYLE}</style></head>\n'
        f"<body><h1>{escape(title)}</h1><p>Made {moment(made)}. A green line is a release.</p>\n{body}</body></html>\n"
    )


def _region(report: RegionReport, advice: Sequence[str]) -> str:
    parts = [f"<h2>{escape(report.region)}, {escape(report.half)}</h2>"]
    pictures = _pictures(report) if report.hours else {}
    for title, words in sections(report, advice):
        parts.append(f"<h3>{escape(title)}</h3>")
        parts += pictures.get(title, [])
        parts.append("<ul>" + "".join(f"<li>{escape(each)}</li>" for each in words) + "</ul>\n")
    return "".join(parts)


def _pictures(report: RegionReport) -> dict[str, list[str]]:
    """Return the pictures by the title of their section."""
    start, end, step = report.points[0].at - report.step, report.points[-1].at, report.step
    each = "an hour" if step == HOUR else f"in {counted(step // 60, 'minute')}"
    marks = [(each.at, f"{moment(each.at)}: {each.version}") for each in report.releases]

    def points(name: str) -> list[tuple[float, float]]:
        return [(hour.at, value) for hour in report.points if (value := getattr(hour, name)) is not None]

    def bars(title: str, name: str) -> list[Chart]:
        return [Chart(title, points(name), significant, marks=marks, bars=True, every=step)]

    limit = (report.memory, f"{readable_bytes(report.memory)} declared")
    charts = {
        "Traffic": bars(f"Requests {each}", "requests"),
        "Records": bars(f"Records {each}", "requests"),
        "Lag": bars("The most records that waited", "lag"),
        "Dead letters": bars(f"Dead letters {each}", "failed"),
        "Objectives": bars(f"Requests that failed {each}", "failed"),
        "Slowest hours": [Chart("Time of 95 % of the answers", points("p95"), duration, marks=marks, every=step)],
        "Memory": [Chart("Memory of the largest pod", points("memory"), readable_bytes, limit, marks, every=step, unit=GIB)],
    }
    return {
        title: [f"<figure><figcaption>{escape(each.title)}</figcaption>{svg(each, start, end)}</figure>" for each in found]
        for title, found in charts.items()
    }
