"""A report as text for a terminal: for each region its traffic, objectives, slow hours, releases, cost and advice.

Knows words. Does not know where figures come from.
"""

from collections.abc import Iterator, Sequence
from datetime import UTC, datetime

from conf.base.quantities import counted, money, readable_bytes, significant
from conf.commands.observe.figures_table import duration, percent
from conf.observe.report_figures import Hour, Objective, RegionReport


def sections(report: RegionReport, advice: Sequence[str]) -> Iterator[tuple[str, list[str]]]:
    """Yield each section's title and its lines. The page for a browser has the same sections."""
    if report.trouble:
        yield "No figures", [report.trouble]
        return
    yield from _of_records(report) if report.offline else _of_requests(report)
    releases = [f"{moment(each.at)}  {each.version}  {each.words}".rstrip() for each in report.releases]
    yield "Releases", releases or ["none in these days"]
    refusals = [f"{number:,.0f} {reason}" for reason, number in sorted(report.refusals.items(), key=lambda item: -item[1])]
    yield "Dead letters" if report.offline else "Refusals", refusals or ["none"]
    yield "Memory", [_memory(report)]
    yield "Cost", [_cost(report)]
    yield "What to change", list(advice)


def _of_requests(report: RegionReport) -> Iterator[tuple[str, list[str]]]:
    yield "Traffic", [*_traffic(report, "requests")]
    yield "Objectives", [_objective(each) for each in report.objectives]
    yield "Slowest hours", [_hour(each) for each in report.slowest] or ["no hour with requests"]


def _of_records(report: RegionReport) -> Iterator[tuple[str, list[str]]]:
    yield "Records", [*_traffic(report, "records")]
    worst = max(report.hours, key=lambda hour: hour.lag or 0.0)
    yield "Lag", [f"at most {worst.lag or 0.0:,.0f} records waited, in the hour to {moment(worst.at)}"]


def lines(report: RegionReport, advice: Sequence[str]) -> list[str]:
    found = [f"{report.region}, {report.half}"]
    for title, words in sections(report, advice):
        found += [f"  {title}", *(f"    {each}" for each in words)]
    return found


def moment(at: float) -> str:
    """Return a time in UTC. at: seconds since 1970."""
    return datetime.fromtimestamp(at, UTC).strftime("%Y-%m-%d %H:%M UTC")


def _traffic(report: RegionReport, what: str) -> Iterator[str]:
    """Yield how many requests or records there were. what: these words."""
    busiest = max(report.hours, key=lambda hour: hour.requests or 0.0)
    yield f"{report.total('requests'):,.0f} {what} in {counted(len(report.hours), 'hour')}, since {moment(report.hours[0].at)}"
    if busiest.requests:
        most = f"{busiest.requests:,.0f} {what}, {significant(busiest.requests / 3600)} a second"
        yield f"the busiest hour ended {moment(busiest.at)}: {most}"


def _objective(objective: Objective) -> str:
    wanted = f"{100 * objective.wanted:g} % of the {objective.words}"
    if objective.found is None:
        return f"no requests: {wanted}"
    used = f"{100 * (objective.budget_used or 0.0):.0f} % of what it lets fail"
    return f"{'kept' if objective.kept else 'MISSED'}: {wanted}; found {100 * objective.found:.4g} %, {used}"


def _hour(hour: Hour) -> str:
    halves = f"95 % within {duration(hour.p95)}, half within {duration(hour.p50)}"
    return f"to {moment(hour.at)}: {halves}, {hour.requests or 0:,.0f} requests"


def _memory(report: RegionReport) -> str:
    peak = report.peak("memory")
    if peak is None:
        return "not measured"
    return f"peak {readable_bytes(peak)} of {readable_bytes(report.memory)} declared, {percent(peak / report.memory)}"


def _cost(report: RegionReport) -> str:
    if report.price == 0:
        return "not known: the nodes of regions.yaml that take a pod have the price 0"
    if report.cost is None or report.price is None:
        return "not known: no kind of node of regions.yaml takes a pod"
    pods = significant(report.total("pods") / len(report.hours))
    each = f"{pods} ready {'pod' if pods == '1' else 'pods'} on average, each {money(report.price, report.currency)} a month"
    return f"{money(report.cost, report.currency)} in {counted(len(report.hours), 'hour')}: {each}"
