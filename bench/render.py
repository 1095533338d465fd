"""Measures how long it takes to check and render many services, as a release of the platform does for all of them.

`python -m bench.render [SERVICES]`: a folder of that many different services, three regions, two processes; then twice as
many. Prints the seconds and their ratio, and exits 1 past the limits. The ratio counts by the clock or, since a clock also
counts what else the machine does, by the processors' time.
"""

import resource
import sys
import tempfile
import time
from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import replace
from pathlib import Path

from bench.work import ROOT
from conf.clusters.regions import load
from conf.rules.check import check

LIMIT_SECONDS, LIMIT_RATIO = 30, 2.2
PROCESSES = 2
MODEL = ROOT / "tests" / "services" / "gpu" / "model" / "same.onnx"

VALUE = """service_name = "service-{number}"
username = "user-{user}"
cpu = {cpu}
memory = "4Gi"
replicas = {replicas}
hk_replicas = 2
max_replicas = {most}
init_delay_second = 60
model_path = "model/same.onnx"
"""


def make(folder: Path, count: int) -> list[Path]:
    """Write a number of services, no two alike."""
    services = []
    for number in range(count):
        service = folder / f"service-{number}"
        (service / "model").mkdir(parents=True)
        (service / "model" / "same.onnx").write_bytes(MODEL.read_bytes())
        text = VALUE.format(
            number=number, user=number % 100, cpu=1 + number % 8, replicas=1 + number % 3, most=(0, 6)[number % 2]
        )
        (service / "value.py").write_text(text, encoding="utf-8")
        services.append(service)
    return services


def render(services: Sequence[Path]) -> int:
    """Check and render services for every region, and return how many bytes of YAML they are."""
    regions, total = replace(load(ROOT / "conf" / "regions.yaml"), users={}), 0
    for service in services:
        report = check(service, regions, ("prod",))
        if report.mistakes or len(report.rendered) != len(regions.regions):
            raise SystemExit(f"{service}: {report.mistakes}")
        total += sum(len(each.text) for each in report.rendered)
    return total


def processor_seconds() -> float:
    usage = resource.getrusage(resource.RUSAGE_CHILDREN)
    return usage.ru_utime + usage.ru_stime


def measure(count: int) -> tuple[float, float]:
    """Return the seconds that so many services take, by the clock and of the processors. It starts two processes."""
    with tempfile.TemporaryDirectory() as folder:
        services = make(Path(folder), count)
        began, used = time.perf_counter(), processor_seconds()
        with ProcessPoolExecutor(PROCESSES) as pool:
            total = sum(pool.map(render, [services[start::PROCESSES] for start in range(PROCESSES)]))
        seconds, used = time.perf_counter() - began, processor_seconds() - used
    print(
        f"{count} services x 3 regions: {seconds:.1f} s ({used:.1f} s of processors), {total / 1e6:.0f} MB of YAML", flush=True
    )
    return seconds, used


def main() -> int:
    count = int(sys.argv[1]) if len(sys.argv) > 1 else 1000
    (once, once_used), (twice, twice_used) = measure(count), measure(2 * count)
    ratio, ratio_used = twice / once, twice_used / once_used
    print(f"twice as many take {ratio:.2f} times as long ({ratio_used:.2f} times the processors); allowed: {LIMIT_RATIO} times")
    print(f"allowed for the first {count}: {LIMIT_SECONDS} s")
    return 0 if once < LIMIT_SECONDS and min(ratio, ratio_used) <= LIMIT_RATIO else 1


if __name__ == "__main__":
    sys.exit(main())
