"""The fetcher of the URLs in a service's requests.

Knows the settings of fetches, and that a fetch is a stage of its own. Does not know what a file holds.
"""

from typing import NamedTuple

from serving.core.messages import StageTimes
from serving.inputs.allowed_urls import NoFetcher
from serving.inputs.payload import UrlFetcher
from serving.settings import Settings, size_in_bytes


def fetcher_of(settings: Settings) -> UrlFetcher:
    """Return what fetches URLs. Its libraries take 50 ms and 5 MB, so they are loaded only where fetch_hosts is set."""
    if not settings.fetch_hosts:
        return NoFetcher()
    from serving.inputs.fetch import Fetcher

    return Fetcher(settings.fetch_hosts, size_in_bytes(settings.max_body), settings.fetch_timeout_second)


class TimedFetcher(NamedTuple):
    """Fetches for one request, whose time of that is a stage of its own."""

    fetcher: UrlFetcher
    times: StageTimes

    def fetch(self, url: str, deadline: float) -> bytes:
        with self.times.inside("fetch"):
            return self.fetcher.fetch(url, deadline)
