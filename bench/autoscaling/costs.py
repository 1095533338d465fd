"""The costs of batches, as a server of the platform measures them at its start for an example's model.

costs.json holds them with the machine that they were measured on. They come from `monopod_warmup_seconds` of the server's own
metrics page.
"""

import json
import re
import urllib.request
from dataclasses import asdict, dataclass
from pathlib import Path

from bench import machine
from bench.served import BenchError, serve
from bench.work import ROOT

FILE = Path(__file__).with_name("costs.json")
EXAMPLE = ROOT / "examples" / "moderation"
STARTS = 5
LINE = re.compile(r'^monopod_warmup_seconds\{.*rows="(\d+)".*\} (\S+)$', re.MULTILINE)
INSTANCES = re.compile(r'^monopod_model_info\{.*instances="(\d+)".*\} 1', re.MULTILINE)


@dataclass(frozen=True)
class Costs:
    """The costs of a model. batches: seconds of a batch, by its rows. instances: of a pod."""

    service: str
    batches: dict[int, float]
    instances: int
    date: str
    processor: str

    @property
    def largest(self) -> int:
        return max(self.batches)

    @property
    def capacity(self) -> float:
        """Rows a second of a pod whose batches are all full."""
        return self.instances * self.largest / self.batches[self.largest]

    def seconds(self, rows: int) -> float:
        """Return the cost of a batch, on a straight line between the sizes that were measured."""
        below = max(size for size in self.batches if size <= rows)
        above = min(size for size in self.batches if size >= rows)
        part = (rows - below) / (above - below) if above > below else 0.0
        return self.batches[below] + part * (self.batches[above] - self.batches[below])


def read(path: Path = FILE) -> Costs:
    found = json.loads(path.read_text(encoding="utf-8"))
    return Costs(**{**found, "batches": {int(rows): seconds for rows, seconds in found["batches"].items()}})


def written(costs: Costs) -> str:
    return json.dumps(asdict(costs), indent=2) + "\n"


def measured() -> Costs:
    """Start the example's server some times and return the least cost of each batch, since other processes only add to it."""
    batches: dict[int, float] = {}
    for _ in range(STARTS):
        with serve(EXAMPLE) as server, urllib.request.urlopen(f"{server.admin_url}/metrics", timeout=10) as answer:
            text = answer.read().decode()
        found, instances = parsed(text)
        batches = {rows: min(seconds, batches.get(rows, seconds)) for rows, seconds in found.items()}
    here = machine.here()
    rounded = {rows: round(seconds, 5) for rows, seconds in batches.items()}
    return Costs(EXAMPLE.name, rounded, instances, here.date, here.processor)


def parsed(text: str) -> tuple[dict[int, float], int]:
    """Return the costs and the number of instances that a metrics page has. Raises BenchError."""
    batches, instances = {int(rows): float(seconds) for rows, seconds in LINE.findall(text)}, INSTANCES.search(text)
    if not batches or instances is None:
        raise BenchError("the metrics page has no monopod_warmup_seconds; bench/autoscaling/costs.py looks for it")
    return batches, int(instances[1])
