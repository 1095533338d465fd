"""Reads the figures of an API server from its /metrics.

Knows Prometheus' text and the names of Kubernetes' metrics. Does not know which client sent a request, only the flow that
counts it.
"""

import re
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field

LINE = re.compile(r"^(?P<name>\w+)(?:\{(?P<labels>.*)\})? (?P<value>[0-9.e+-]+)$")
LABEL = re.compile(r'(\w+)="((?:[^"\\]|\\.)*)"')
REQUESTS, FLOWS = "apiserver_request_total", "apiserver_flowcontrol_dispatched_requests_total"
PROCESSOR, RESIDENT = "process_cpu_seconds_total", "process_resident_memory_bytes"
# This flow counts the requests of service accounts outside kube-system. Here only the deploys send such requests.
DEPLOYS = "service-accounts"
OURSELVES = "/metrics"  # the path of the requests that read these figures


@dataclass(frozen=True)
class Server:
    """The figures since the API server's start, or their differences over a time. resident: MB at the end.

    requests: of all clients, by verb and resource. refused: those with a status of 400 or more, by status.

    deploys: requests from service accounts.
    """

    requests: Mapping[tuple[str, str], int] = field(default_factory=dict)
    refused: Mapping[str, int] = field(default_factory=dict)
    deploys: int = 0
    processor: float = 0.0
    resident: float = 0.0

    def __sub__(self, before: "Server") -> "Server":
        return Server(
            Counter(self.requests) - Counter(before.requests),
            Counter(self.refused) - Counter(before.refused),
            self.deploys - before.deploys,
            self.processor - before.processor,
            self.resident,
        )

    @property
    def verbs(self) -> dict[str, int]:
        """Return the number of requests of each verb, the most frequent first."""
        found: Counter[str] = Counter()
        for (verb, _), count in self.requests.items():
            found[verb] += count
        return dict(found.most_common())

    @property
    def total(self) -> int:
        return sum(self.requests.values())


def read(text: str) -> Server:
    """Return the figures of an API server's /metrics."""
    requests: Counter[tuple[str, str]] = Counter()
    refused: Counter[str] = Counter()
    deploys, single = 0.0, {PROCESSOR: 0.0, RESIDENT: 0.0}
    for line in text.splitlines():
        if not line.startswith((REQUESTS, FLOWS, PROCESSOR, RESIDENT)) or not (found := LINE.match(line)):
            continue
        name, value, labels = found["name"], float(found["value"]), dict(LABEL.findall(found["labels"] or ""))
        if name in single:
            single[name] = value
        elif name == FLOWS and labels["flow_schema"] == DEPLOYS:
            deploys += value
        elif name == REQUESTS and labels["subresource"] != OURSELVES:
            requests[labels["verb"], labels["resource"]] += int(value)
            if labels["code"] >= "400":
                refused[labels["code"]] += int(value)
    return Server(requests, refused, int(deploys), single[PROCESSOR], single[RESIDENT] / 1e6)
