"""The values of charts/logs: whose pods' lines are shipped in a region, and to where.

Knows the namespaces of the services. Does not know how the chart writes it.
"""

from conf.base.object_references import Item
from conf.clusters.region import Region, Regions
from conf.plan.plan import NAMESPACES
from serving.settings import size_in_bytes

IMAGE = "monopod/logs:0.2.0"  # in the registry of all images
STATS_SECONDS = 60  # between two lines of the shipper's own counters


def logs_values(regions: Regions, region: Region) -> Item:
    """Return the values of charts/logs for a region."""
    tracks = [track for track, where in (("grey", regions.grey), ("ab", regions.ab)) if where == region.name]
    logs = region.logs
    return {
        "region": region.name,
        "namespaces": [*(NAMESPACES[track] for track in tracks), *regions.users],
        "image": logs.image or f"{regions.registry}/{IMAGE}",
        "pullSecrets": list(region.pull_secrets),
        "sink": {"url": logs.url, "secret": logs.secret},
        "queue": f"{size_in_bytes(logs.queue) // 2**20}Mi",
        "statsSeconds": STATS_SECONDS,
    }
