"""How long it takes to check and render many services, as one release of the platform does for all of them.

`python -m bench.render [SERVICES]`: a folder of that many different services, three regions, two processes; then twice as
many. Prints the seconds and their ratio, and exits 1 past the limits.
"""

import sys
import tempfile
import time
from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path

from conf.check import check
from conf.regions import load

ROOT = Path(__file__).parent.parent
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
    """Write that many services, no two alike."""
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
    regions, total = load(ROOT / "conf" / "regions.yaml"), 0
    for service in services:
        report = check(service, regions, ("prod",))
        if report.mistakes or len(report.rendered) != len(regions.regions):
            raise SystemExit(f"{service}: {report.mistakes}")
        total += sum(len(text) for _, text in report.rendered)
    return total


def measure(count: int) -> float:
    """Return the seconds that so many services take, two processes starting included."""
    with tempfile.TemporaryDirectory() as folder:
        services = make(Path(folder), count)
        began = time.perf_counter()
        with ProcessPoolExecutor(PROCESSES) as pool:
            total = sum(pool.map(render, [services[start::PROCESSES] for start in range(PROCESSES)]))
        seconds = time.perf_counter() - began
    print(f"{count} services x 3 regions: {seconds:.1f} s, {total / 1e6:.0f} MB of YAML", flush=True)
    return seconds


def main() -> int:
    count = int(sys.argv[1]) if len(sys.argv) > 1 else 1000
    once, twice = measure(count), measure(2 * count)
    print(f"twice as many take {twice / once:.2f} times as long; allowed are {LIMIT_SECONDS} s and {LIMIT_RATIO} times")
    return 0 if once < LIMIT_SECONDS and twice <= LIMIT_RATIO * once else 1


if __name__ == "__main__":
    sys.exit(main())
