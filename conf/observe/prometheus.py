"""One region's Prometheus: PromQL in, samples out. It is asked at `prometheus.outside`, else through the region's API server.

Source: https://prometheus.io/docs/prometheus/latest/querying/api/.

Concurrency: safe_http.in_time asks each question on a thread that is abandoned after ANSWER_SECONDS. `_lock` is held
while the first use makes the client of the API server.
"""

import json
import math
import threading
import urllib.parse
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from conf.clusters.regions import PrometheusService, Region
from conf.remote import safe_http
from conf.remote.cluster import Cluster, ClusterError, NoRights
from conf.remote.safe_http import NoAnswer

ANSWER_SECONDS = 10.0
OWN_SECONDS = 8  # after which Prometheus itself gives up a query, and says so
MAX_BYTES = 50_000_000
ROLE = "the Role monopod-query of charts/cluster gives it (docs/observe.md)"


class NoFigures(Exception):
    """Prometheus gave no figures. The text says why, and what to do."""


@dataclass(frozen=True)
class Sample:
    """A series at one time. value: None where it is not a number, as a quantile of nothing."""

    labels: Mapping[str, str]
    value: float | None


@dataclass(frozen=True)
class Series:
    """A series over a time. points: (seconds since 1970, value), without those that are not a number."""

    labels: Mapping[str, str]
    points: tuple[tuple[float, float], ...]


class PrometheusClient:
    """The Prometheus of a region. Each method raises NoFigures."""

    def __init__(self, region: Region):
        self._region = region
        self._cluster: Cluster | None = None
        self._lock = threading.Lock()

    @property
    def cluster(self) -> Cluster:
        """The region's API server. Raises ClusterError where its context cannot be used."""
        with self._lock:
            self._cluster = self._cluster or Cluster(self._region.context)
            return self._cluster

    def __str__(self) -> str:
        return self._region.prometheus.outside or self._region.prometheus.url

    def now(self, query: str) -> list[Sample]:
        """Return the series of a query as they are now."""
        data = self._ask("query", [("query", query)])
        return [Sample(each["metric"], _number(each["value"][1])) for each in data["result"]]

    def over(self, query: str, start: float, end: float, step: float) -> list[Series]:
        """Return the series of a query over a time. start, end: seconds since 1970. step: seconds between two points."""
        span = [("start", f"{start:.3f}"), ("end", f"{end:.3f}"), ("step", f"{step:g}")]
        data = self._ask("query_range", [("query", query), *span])
        return [Series(each["metric"], tuple(_points(each["values"]))) for each in data["result"]]

    def _ask(self, question: str, fields: list[tuple[str, str]]) -> Any:
        fields = [*fields, ("timeout", f"{OWN_SECONDS}s")]
        outside = self._region.prometheus.outside
        try:
            text = safe_http.in_time(
                lambda: self._from_outside(question, fields) if outside else self._through_api_server(question, fields),
                ANSWER_SECONDS,
                f"Prometheus ({self})",
            )
        except NoAnswer as error:
            raise NoFigures(f"{error.words}; is it up, and is prometheus of regions.yaml right?") from error
        return answer_data(text, str(self))

    def _from_outside(self, question: str, fields: list[tuple[str, str]]) -> str:
        base = self._region.prometheus.outside.rstrip("/")
        url = f"{base}/api/v1/{question}?{urllib.parse.urlencode(fields)}"
        answer = safe_http.get(url, {}, "", {urllib.parse.urlsplit(base).netloc}, MAX_BYTES)
        text = answer.body.decode(errors="replace")
        if answer.status != 200:
            raise refused(answer.status, text, str(self))
        return text

    def _through_api_server(self, question: str, fields: list[tuple[str, str]]) -> str:
        service = cluster_service(self._region)
        namespace, name = service.namespace, service.proxy_name
        where = f"/api/v1/namespaces/{namespace}/services/{name}/proxy{service.prefix}/api/v1/{question}"
        try:
            return self.cluster.proxied(where, fields)
        except NoRights as error:
            raise NoFigures(f"no right to get services/proxy {name} in {namespace}: {ROLE}") from error
        except ClusterError as error:
            if not error.status:
                raise NoFigures(str(error)) from error
            if not is_of_api_server(error.body):
                raise refused(error.status, error.body, str(self)) from error
            if error.status == 404:
                words = f"namespace {namespace} has no Service {name}"
                raise NoFigures(f"{words}: prometheus.url of regions.yaml names it; is Prometheus installed there?") from error
            raise NoFigures(f"Prometheus ({self}) is away: {error}") from error


def cluster_service(region: Region) -> PrometheusService:
    """Return the Service that prometheus.url of regions.yaml names. Raises NoFigures where its host is outside the cluster."""
    if region.prometheus.service is None:
        url = region.prometheus.url
        raise NoFigures(f"prometheus.url ({url}) names no Service of the cluster: add prometheus.outside to regions.yaml")
    return region.prometheus.service


def answer_data(text: str, who: str) -> Any:
    """Return the data of an answer of Prometheus. who: its address. Raises NoFigures for an error, and for anything else."""
    told = _json(text)
    if told.get("status") == "success" and isinstance(told.get("data"), dict) and "result" in told["data"]:
        return told["data"]
    raise refused(200, text, who)


def refused(status: int, text: str, who: str) -> NoFigures:
    """Return the error that an answer without figures means. text: the answer's body. who: Prometheus' address."""
    told = _json(text)
    if told.get("status") == "error":
        cure = "ask for fewer days, or look at its load" if told.get("errorType") == "timeout" else "look at its log"
        return NoFigures(f"Prometheus ({who}) answers {told.get('errorType')}: {str(told.get('error'))[:300]}; {cure}")
    if status in (401, 403):
        return NoFigures(f"Prometheus ({who}) answers {status}: it asks for a password, and monopod sends none")
    words = f"{who} answers {status} with something that is not Prometheus': {text[:80]!r}"
    return NoFigures(f"{words}; is prometheus of regions.yaml right?")


def is_of_api_server(body: str) -> bool:
    """Return whether the API server itself wrote an answer, and not the server behind it."""
    return _json(body).get("kind") == "Status"


def _json(text: str) -> dict[str, Any]:
    try:
        return dict(json.loads(text))
    except (ValueError, TypeError):
        return {}


def _number(text: str) -> float | None:
    number = float(text)
    return number if math.isfinite(number) else None


def _points(values: list[tuple[float, str]]) -> list[tuple[float, float]]:
    return [(float(at), number) for at, text in values if (number := _number(text)) is not None]
