"""Runs the bare loop, the most that these cores do without a server.

Each thread decodes, runs a one-thread session of its own and makes the answer, by the server's own code. There is no HTTP, no
queue and no hand-over between threads.

`python -m bench.bare KIND` first tries one thread and then one for each core, and prints which was faster. Each line on stdin
has seconds and a number of threads, 0 for the faster one. It runs as that says, and prints a line of JSON.
"""

import json
import os
import statistics
import sys
import threading
import time
from collections.abc import Callable

from bench.work import HEADER_LENGTH, KINDS, Work
from serving.base.lifetime import Lifetime
from serving.inputs import payload, v2_open_inference
from serving.inputs.fetch import Fetcher
from serving.models.engine import Engine, Hardware
from serving.models.registry import ModelRegistry
from serving.models.tensors import ModelSpec
from serving.service.loader import service_class
from serving.service.request import Request
from serving.settings import Settings, load
from serving.telemetry.metrics import Metrics

Call = Callable[[Engine], object]
TRIAL_SECONDS = 0.5
TRIALS = 3
FOREVER = 1e9


def main() -> int:
    work = KINDS[sys.argv[1]]()
    settings = load(work.folder / "value.py", None).in_region("")
    model = work.folder / settings.model_path
    engines = [Engine(model, Hardware(threads=1)) for _ in range(len(os.sched_getaffinity(0)))]
    call = _hooks(work, settings) if work.hooks else _protocol(work, engines[0])
    for engine in engines:
        call(engine)
    fastest = _fastest(engines, call)
    print(json.dumps({"threads": fastest}), flush=True)
    for line in sys.stdin:
        seconds, threads = line.split()
        cpu = time.process_time()
        rate, calls = _run(engines[: int(threads) or fastest], call, float(seconds))
        print(json.dumps({"rate": rate, "cpu_per_call": (time.process_time() - cpu) / calls}), flush=True)
    return 0


def _hooks(work: Work, settings: Settings) -> Call:
    """Return a function that handles a request as the service does."""
    metrics = Metrics()
    service = service_class(work.folder)(settings, ModelRegistry(work.folder, settings, metrics), metrics, work.folder)
    service.setup()
    decoded = payload.decode(work.content_type, work.body, Fetcher((), 0, 0), Lifetime(time.monotonic(), FOREVER))

    def call(engine: Engine) -> object:
        request = Request("", Lifetime(0.0, FOREVER), decoded, {}, settings.max_image_pixels)
        return service.postprocess(engine.run(service.preprocess(request)), request)

    return call


def _protocol(work: Work, engine: Engine) -> Call:
    """Return a function that handles a request as the Open Inference Protocol does."""
    spec = ModelSpec("digits", engine.inputs, engine.outputs, True)

    def call(engine: Engine) -> object:
        request = v2_open_inference.decode(work.body, work.headers.get(HEADER_LENGTH), spec, None)
        spec.rows(request.inputs)
        return v2_open_inference.encode(request, spec, "1", engine.run(request.inputs))

    return call


def _fastest(engines: list[Engine], call: Call) -> int:
    """Return the fastest number of threads: one engine each, or a single one where most of the work is Python's."""
    counts = sorted({1, len(engines)})
    rates: dict[int, list[float]] = {count: [] for count in counts}
    for _ in range(TRIALS):
        for count in counts:
            rates[count].append(_run(engines[:count], call, TRIAL_SECONDS)[0])
    return max(counts, key=lambda count: statistics.median(rates[count]))


def _run(engines: list[Engine], call: Call, seconds: float) -> tuple[float, int]:
    """Return the calls a second and the calls of one thread an engine."""
    began = time.perf_counter()
    counts = [0] * len(engines)

    def loop(number: int) -> None:
        while time.perf_counter() - began < seconds:
            call(engines[number])
            counts[number] += 1

    threads = [threading.Thread(target=loop, args=(number,)) for number in range(len(engines))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return sum(counts) / (time.perf_counter() - began), max(1, sum(counts))


if __name__ == "__main__":
    sys.exit(main())
