"""The values of each chart for a region, by the chart's folder in charts/.

Knows which charts there are. Does not know what they place.
"""

from collections.abc import Callable, Mapping

from conf.base.object_references import Item
from conf.charts.cluster_values import cluster_values
from conf.charts.logs_values import logs_values
from conf.charts.monitoring_values import monitoring_values
from conf.clusters.region import Region, Regions

CHARTS: Mapping[str, Callable[[Regions, Region], Item]] = {
    "cluster": cluster_values,
    "logs": logs_values,
    "monitoring": monitoring_values,
}


def chart_values(regions: Regions, region: Region, charts: tuple[str, ...] = ()) -> dict[str, Item]:
    """Return the values of some charts, () for all, by the chart's name. Raises KeyError for a chart that CHARTS lacks."""
    return {chart: CHARTS[chart](regions, region) for chart in charts or CHARTS}
