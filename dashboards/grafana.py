"""Writes a dashboard as Grafana's JSON. Equal dashboards give equal text: nothing is random, dated or counted anew."""

import json
from collections.abc import Iterator

from grafana_foundation_sdk.builders import common as common_builders
from grafana_foundation_sdk.builders import dashboard as builders
from grafana_foundation_sdk.builders import prometheus, stat, timeseries
from grafana_foundation_sdk.cog.encoder import JSONEncoder
from grafana_foundation_sdk.models import common
from grafana_foundation_sdk.models import dashboard as models

from dashboards.parts import Dashboard, Panel, Variable

SOURCE = models.DataSourceRef("prometheus", "${datasource}")
HEIGHTS = {"lines": 8, "stacked": 8, "number": 4}
COLOURS = ("yellow", "red")
TAG = "monopod"
LABEL_VALUES = 1  # the kind of a variable's query, as Grafana numbers them
Builder = timeseries.Panel | stat.Panel


def text(dashboard: Dashboard) -> str:
    """Return the JSON of a dashboard, indented, with sorted keys, and with a line feed at its end."""
    built = _built(dashboard).build()
    return json.dumps(built, cls=JSONEncoder, indent=2, sort_keys=True, ensure_ascii=False) + "\n"


def _built(dashboard: Dashboard) -> builders.Dashboard:
    made = builders.Dashboard(dashboard.title).uid(dashboard.uid).description(dashboard.description).tags([TAG]).readonly()
    made = made.time(dashboard.since, "now").timezone("browser").refresh("1m").tooltip(models.DashboardCursorSync.CROSSHAIR)
    link = builders.DashboardLink("Monopod").type(models.DashboardLinkType.DASHBOARDS).tags([TAG])
    made = made.link(link.as_dropdown(True).include_vars(True).keep_time(True))
    source = builders.DatasourceVariable("datasource").label("Data source").type("prometheus")
    made = made.with_variable(source)
    for each in dashboard.variables:
        made = made.with_variable(_variable(each))
    if dashboard.releases:
        marks = _ReleaseMarks().name("Releases").datasource(SOURCE).enable(True).icon_color("purple").expr(dashboard.releases)
        made = made.annotation(marks)
    number = iter(range(1, 1000))
    for row in dashboard.rows:
        made = made.with_row(builders.Row(row.title).id(next(number)))
        for panel in row.panels:
            made = made.with_panel(_panel(panel, next(number)))
    return made


class _Choice(builders.QueryVariable):
    """A choice that stands in no dashboard's address, and that no link carries. Its builder has no name for this."""

    def build(self) -> models.VariableModel:
        built = super().build()
        built.skip_url_sync = True
        return built


def _variable(variable: Variable) -> builders.QueryVariable:
    query: dict[str, object] = {
        "query": f"label_values({variable.series}, {variable.label})",
        "refId": variable.name,
        "qryType": LABEL_VALUES,
    }
    made = _Choice(variable.name) if variable.stays else builders.QueryVariable(variable.name)
    made = made.label(variable.title).query(query).datasource(SOURCE)
    made = made.refresh(models.VariableRefresh.ON_TIME_RANGE_CHANGED).sort(models.VariableSort.ALPHABETICAL_ASC)
    if variable.many:
        made = made.multi(True).include_all(True).current(models.VariableOption(text="All", value="$__all"))
    if variable.regex:
        made = made.regex(variable.regex)
    if variable.all_value:
        made = made.all_value(variable.all_value)
    return made.hide(models.VariableHide.HIDE_VARIABLE) if variable.hidden else made


class _ReleaseMarks(builders.AnnotationQuery):
    """Marks with the fields that Grafana's Prometheus reads, which its library has no names for."""

    def build(self) -> models.AnnotationQuery:
        built = super().build()
        fields = {**built.to_json(), "titleFormat": "{{track}} {{version}}", "step": "60s"}  # at least
        built.to_json = lambda: fields  # type: ignore[method-assign]
        return built


def _panel(panel: Panel, number: int) -> Builder:
    made: Builder = stat.Panel() if panel.kind == "number" else _lines(panel)
    made = made.id(number).title(panel.title).description(panel.description).datasource(SOURCE).unit(panel.unit)
    made = made.height(HEIGHTS[panel.kind]).span(panel.width)
    if panel.repeat:
        made = made.repeat(panel.repeat).repeat_direction("h").max_per_row(24 // panel.width)
    for place, query in enumerate(panel.queries):
        if query.unit:
            made = made.override_by_query(_letter(place), [models.DynamicConfigValue("unit", query.unit)])
    for asked in _queries(panel):
        made = made.with_target(asked.instant() if panel.kind == "number" else asked.range())
    if panel.empty:
        made = made.no_value(panel.empty)
    steps = [models.Threshold(None, "green")]
    steps += [models.Threshold(limit, colour) for limit, colour in zip(panel.limits, COLOURS, strict=False)]
    return made.thresholds(builders.ThresholdsConfig().mode(models.ThresholdsMode.ABSOLUTE).steps(steps))


def _lines(panel: Panel) -> timeseries.Panel:
    made = timeseries.Panel().line_width(1).show_points(common.VisibilityMode.NEVER).min(0)
    legend = common_builders.VizLegendOptions().display_mode(common.LegendDisplayMode.LIST)
    made = made.legend(legend.placement(common.LegendPlacement.BOTTOM).show_legend(True))
    made = made.tooltip(
        common_builders.VizTooltipOptions().mode(common.TooltipDisplayMode.MULTI).sort(common.SortOrder.DESCENDING)
    )
    if panel.kind == "stacked":
        stacked = common_builders.StackingConfig().mode(common.StackingMode.NORMAL).group("A")
        made = made.stacking(stacked).fill_opacity(40)
    if panel.limits:
        made = made.thresholds_style(common_builders.GraphThresholdsStyleConfig().mode(common.GraphThresholdsStyleMode.DASHED))
    return made


def _queries(panel: Panel) -> Iterator[prometheus.Dataquery]:
    for number, query in enumerate(panel.queries):
        made = prometheus.Dataquery().expr(query.expr).legend_format(query.legend)
        yield made.ref_id(_letter(number)).datasource(SOURCE)


def _letter(number: int) -> str:
    """Return the name of a panel's query, by its place from 0."""
    return chr(ord("A") + number)
