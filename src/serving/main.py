"""`monopod serve`: from a service's folder to an answering process.

Knows the order of the start. Does not know how any part works.

Concurrency. The main thread is the I/O thread of both ports, so probes are answered while the models load. The loader thread
writes `failure` or the gate's state, each once and before it ends. The trimmer thread gives free memory back to the system
while the process is at rest, as long as it lives.
"""

import logging
import os
import resource
import shlex
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from serving.base import jsons
from serving.base.errors import SHED, ClientGone, ServingError, StartError
from serving.base.process_memory import peak_bytes, resident_bytes, trim, trim_at_rest, use_one_arena
from serving.base.working_memory import WorkingMemory
from serving.core.stages import Core
from serving.models.registry import ModelRegistry
from serving.service.embedded import read_settings
from serving.service.own_code import blaming, service_class
from serving.service.request import make_request
from serving.service.service import Service, takes_data
from serving.settings import Settings, SettingsError, size_in_bytes
from serving.telemetry import logs
from serving.telemetry.metrics import Metrics
from serving.web import drain, front
from serving.web.admin import make_admin
from serving.web.admission import LIGHT_LIMIT, READY, Gate
from serving.web.app import make_app
from serving.web.context import ServiceContext
from serving.web.error_answers import refusal_body
from serving.web.held_bodies import Bodies, bound
from serving.web.openapi_tensors import data_example

log = logging.getLogger("monopod.start")

REFUSALS_LOGGED_A_SECOND = 10  # all others are counted in the metrics alone, so that overload does not flood the log
DRAIN_MARGIN = 5.0  # seconds beyond the timeout that the last answer may take
ADMIN_THREADS = 4


def serve(folder: Path, port: int = 8080, admin_port: int = 8081, host: str = "0.0.0.0") -> int:
    """Serve the service in a folder until SIGTERM or Ctrl-C. Return the exit code. Mistakes are printed to standard error."""
    began = time.monotonic()
    use_one_arena()
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))  # a connection takes one; the soft limit is often 1024
    try:
        context = _build(folder, _settings(folder))
        sockets: dict[int, Any] = {}
        with blaming(folder / "src" / "server.py", "its routes: "):
            app = make_app(context)
        data, admin = _ports(context, app, sockets, host, port, admin_port)
    except SettingsError as error:
        return _give_up(*error.mistakes)
    except (StartError, OSError) as error:
        return _give_up(str(error))
    failure: list[str] = []
    signals = drain.Signals(data.pull_trigger)
    loader = (context, folder, began, port, failure, data.pull_trigger)
    threading.Thread(target=_load, args=loader, name="loader", daemon=True).start()
    threading.Thread(target=trim_at_rest, args=(lambda: context.core.jobs,), name="trimmer", daemon=True).start()
    finished = drain.run(
        lambda: front.turn(sockets, (data, admin)),
        data,
        context.gate,
        lambda: -1 if failure else signals.received,
        context.settings.drain_delay_second,
        context.settings.timeout_second + DRAIN_MARGIN,
    )
    if failure:
        return _give_up(*failure)
    logs.stop()
    # Threads that hang in a model or in the service's own code must not delay the exit.
    os._exit(0 if finished else 1)


def _settings(folder: Path) -> Settings:
    """Return the settings of value.py in this pod's region, start the log, and log the warnings."""
    settings, warnings = read_settings(folder)
    logs.start(settings.service_name, os.environ.get("MONOPOD_REGION", ""))
    for warning in warnings:
        log.warning(warning)
    return settings


def _build(folder: Path, settings: Settings) -> ServiceContext:
    """Return the running service's parts, with no model loaded. Raises StartError."""
    metrics = Metrics()
    version = os.environ.get("MONOPOD_VERSION", "dev")
    metrics.platform(version, settings.service_name)
    models = ModelRegistry(folder, settings, metrics)
    kind = service_class(folder)
    with blaming(folder / "src" / "server.py"):
        service = kind(settings, models, metrics, folder)
    limit = settings.queue_limit + settings.ins_num_per_gpu * max(1, settings.max_batch_size)

    def queue_full() -> bool:
        """Return whether the queue of model_path's model is full. Another model's queue refuses its requests itself."""
        return models.waiting_rows(settings.service_name) >= settings.queue_limit

    gate = Gate(limit, queue_full)
    core = Core(service, metrics, limit + LIGHT_LIMIT)
    _export_gauges(metrics, models, gate, core)
    return ServiceContext(settings, service, models, metrics, gate, core, version, os.environ.get("MONOPOD_DIGEST", ""))


def _export_gauges(metrics: Metrics, models: ModelRegistry, gate: Gate, core: Core) -> None:
    def queues(value: Callable[[str], float]) -> Any:
        return lambda: {name: float(value(name)) for name in models.queue_names()}

    def stuck() -> dict[str, float]:
        return {model.spec.name: model.batcher.stuck_seconds() for model in models.loaded()}

    metrics.callback_gauge("queue_rows", "Rows that no batch has taken.", queues(models.waiting_rows), "model")
    metrics.callback_gauge(
        "queue_oldest_age_seconds", "Age of the oldest waiting request since its last byte.", queues(models.oldest_age), "model"
    )
    metrics.callback_gauge("batch_running_seconds", "How long the longest batch has been running.", stuck, "model")
    metrics.callback_gauge("requests_in_progress", "Requests let in and not answered yet.", lambda: {"": float(gate.working())})
    metrics.callback_gauge(
        "working_memory_bytes", "Bytes of bodies and pictures under work.", lambda: {"": float(core.memory.held())}
    )
    metrics.callback_gauge("ready", "1 while the pod answers requests.", lambda: {"": float(gate.state == READY)})


def _ports(
    context: ServiceContext, app: Any, sockets: dict[int, Any], host: str, port: int, admin_port: int
) -> tuple[front.Server, front.Server]:
    """Return the data port's and the admin port's servers, which listen but do not serve yet. Raises OSError."""
    settings = context.settings
    max_body = size_in_bytes(settings.max_body)
    bodies = Bodies(bound(size_in_bytes(settings.memory), max_body))
    refused = _refusal_counter(context.metrics)

    def rules(gate: Gate) -> front.Rules:
        times = settings.timeout_second, settings.upload_timeout_second
        return front.Rules(gate, context.gate, bodies, *times, max_body, refusal_body, refused)

    data = front.Server(app, rules(context.gate), sockets, host, port, context.gate.limit + LIGHT_LIMIT)
    admin_gate = Gate(ADMIN_THREADS, lambda: False)
    admin_gate.open()
    pages = make_admin(
        context.gate,
        context.models,
        context.core.stuck_seconds,
        context.metrics.page,
        settings.stuck_after_second,
        settings.timeout_second,
    )
    return data, front.Server(pages, rules(admin_gate), sockets, host, admin_port, ADMIN_THREADS, front.SPARE_CONNECTIONS)


def _refusal_counter(metrics: Metrics) -> Callable[[ServingError, float], None]:
    """Return what counts and logs a request that no route saw, from its error and the time of its first byte."""
    metrics.expect_shed(kind.reason for kind in SHED)
    metrics.expect("refused", [*((kind.status, kind.reason) for kind in SHED), (ClientGone.status, ClientGone.reason)])
    rate_limit = logs.RateLimit(REFUSALS_LOGGED_A_SECOND)

    def refused(error: ServingError, begin: float) -> None:
        if not isinstance(error, ClientGone):  # a client that left is no sign of overload
            metrics.shed(error.reason)
        metrics.request("refused", error.status, error.reason, time.monotonic() - begin)
        if rate_limit.allows():
            log.info("refused: %s", error, extra={"route": "refused", "code": error.status, "reason": error.reason})

    return refused


def _load(context: ServiceContext, folder: Path, began: float, port: int, failure: list[str], wake: Any) -> None:
    """Load and warm the models, run the service's own setup, and open the gate. failure: takes the message where that fails.

    began: of the process, in seconds of time.monotonic(). wake: ends the wait of the I/O thread.
    """
    settings = context.settings
    try:
        if settings.model_path:
            options = context.models.options
            log.info(
                "cpu is %g and ins_num_per_gpu %d: each instance gets %d threads of the model's own",
                settings.cpu, settings.ins_num_per_gpu, options.hardware.threads,
            )  # fmt: skip
            context.models.load(settings.service_name, settings.model_path)
        with blaming(folder / "src" / "server.py", "setup failed: "):
            context.service.setup()
        if not context.models.names() and type(context.service) is Service:
            raise StartError("value.py: no model_path, and no src/server.py that brings a model; set model_path")
        _check_memory(settings)
        trim()
        limit_work(context.core.memory, settings, resident_bytes())
    except StartError as error:
        failure.append(str(error))
    except Exception as error:
        log.exception("the start failed")
        failure.append(f"unexpected: {type(error).__name__}: {error}; the traceback is above, please report it")
    else:
        context.gate.open()
        log.info("ready after %.2f s", time.monotonic() - began)
        log.info("try: %s", curl(context.service, port))
    wake()


def _check_memory(settings: Settings) -> None:
    """Raise StartError where the warm-up took more memory than a pod has: Kubernetes would kill it without a message."""
    peak = peak_bytes()
    if peak > size_in_bytes(settings.memory):
        raise StartError(
            f"value.py: memory is {settings.memory!r}, but loading and warming took {peak / 2**20:.0f} MiB: "
            "such a pod is killed; raise memory, or lower max_batch_size or ins_num_per_gpu"
        )


def limit_work(memory: WorkingMemory, settings: Settings, resident: int) -> None:
    """Limit the bytes that all requests hold together, and log where one request of max_body would need more.

    resident: bytes that the process holds at rest.
    """
    left = memory.set_limit(size_in_bytes(settings.memory), resident)
    if left < size_in_bytes(settings.max_body):
        log.warning(
            "value.py: memory is %r, and the process holds %d MiB at rest: %d MiB are left for requests, and one that needs "
            "more is answered 413, though max_body is %r; raise memory",
            settings.memory, resident / 2**20, left / 2**20, settings.max_body,
        )  # fmt: skip


def curl(service: Service, port: int) -> str:
    """Return a command line to try the service with. port: the data port."""
    settings = service.settings
    url = f"localhost:{port}/api/{settings.username}/{settings.service_name}"
    if service.pictures:
        return f"curl -F image=@{service.example_image} {url}"
    example = service.example
    if example is None and takes_data(service) and settings.service_name in service.models.names():
        rows = data_example(service.model.spec(make_request().life), settings)
        example = None if rows is None else {"data": rows}
    if example is None:
        return f"curl {url}/  # the page, which describes what to send"
    return f"curl -H 'Content-Type: application/json' -d {shlex.quote(jsons.dumps(example).decode())} {url}"


def _give_up(*mistakes: str) -> int:
    logs.stop()
    for mistake in mistakes:
        print(mistake, file=sys.stderr)
    return 1
