"""The fetcher of the URLs in a service's requests.

Knows the settings of fetches, that a fetch is a stage of its own, and that fetches have a share of the queue. Does not know
what a file holds.
"""

import threading

from serving.base.errors import QueueFull
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


class FetcherOfRequest:
    """Fetches for one request, whose time of that is a stage of its own. share: a place for each request that fetches.

    Concurrency. The thread that decodes the request calls everything here. It takes a place at the first fetch, never waits for
    one, and gives it back when the block ends.
    """

    def __init__(self, fetcher: UrlFetcher, times: StageTimes, share: threading.Semaphore):
        self._fetcher, self._times, self._share, self._has_place = fetcher, times, share, False

    def __enter__(self) -> "FetcherOfRequest":
        return self

    def __exit__(self, *_: object) -> None:
        if self._has_place:
            self._share.release()

    def fetch(self, url: str, deadline: float) -> bytes:
        """Return the bytes behind a URL, as the fetcher does. Raises QueueFull too, where too many requests fetch already."""
        if not self._has_place:
            self._has_place = self._share.acquire(blocking=False)
        if not self._has_place:
            raise QueueFull(
                "too many requests are fetching their URLs; try again in a second, or send the bytes, or raise queue_limit: "
                "half of it may fetch at once"
            )
        with self._times.inside("fetch"):
            return self._fetcher.fetch(url, deadline)
