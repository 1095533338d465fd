"""`monopod serve`: from a service's folder to an answering process.

Knows the order of the start. Does not know how any part works.

Concurrency. The main thread is the I/O thread of both ports, so that probes are answered while the models load; one thread
loads them. It writes `failure` or the gate's state, each once and before it ends. One thread gives memory back at rest, for as
long as the process lives.
"""

import logging
import os
import resource
import shlex
import sys
import threading
import time
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

REFUSALS_LOGGED_A_SECOND = 10  # the rest only counts in the metrics: overload must not become a flood of lines
DRAIN_MARGIN = 5.0  # seconds beyond the timeout that the last answer may take
ADMIN_THREADS = 4


def serve(folder: Path, port: int = 8080, admin_port: int = 8081, host: str = "0.0.0.0") -> int:
    """Serve the service in a folder until SIGTERM or Ctrl-C. Returns the exit code; mistakes are printed in words."""
    began = time.monotonic()
    use_one_arena()
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))  # a connection takes one; the soft limit is often 1024
    try:
        settings = _settings(folder)
        context = _build(folder, settings)
        sockets: dict[int, Any] = {}
        with blaming(folder / "src" / "server.py", "its routes: "):
            app = make_app(context)
        data, admin = _ports(context, app, sockets, host, port, admin_port)
    except SettingsError as error:
        return _give_up(*error.mistakes)
    except (StartError, OSError) as error:
        return _give_up(str(error))
    failure: list[str] = []
    loader = threading.Thread(
        target=_load, args=(context, folder, began, port, failure, data.pull_trigger), name="loader", daemon=True
    )
    signals = drain.Signals(data.pull_trigger)
    loader.start()
    threading.Thread(target=trim_at_rest, args=(lambda: context.core.jobs,), name="trimmer", daemon=True).start()
    longest = settings.timeout_second + DRAIN_MARGIN
    finished = drain.run(
        lambda: front.turn(sockets, (data, admin)),
        data,
        context.gate,
        lambda: -1 if failure else signals.received,
        settings.drain_delay_second,
        longest,
    )
    if failure:
        return _give_up(*failure)
    logs.stop()
    # Threads that hang in a model or in the service's own code must not hold up an end that is decided.
    os._exit(0 if finished else 1)


def _settings(folder: Path) -> Settings:
    """Read value.py as it holds in this pod's region."""
    settings, warnings = read_settings(folder)
    logs.start(settings.service_name, os.environ.get("MONOPOD_REGION", ""))
    for warning in warnings:
        log.warning(warning)
    return settings


def _build(folder: Path, settings: Settings) -> ServiceContext:
    metrics = Metrics()
    version = os.environ.get("MONOPOD_VERSION", "dev")
    metrics.platform(version, settings.service_name)
    models = ModelRegistry(folder, settings, metrics)
    kind = service_class(folder)
    with blaming(folder / "src" / "server.py"):
        service = kind(settings, models, metrics, folder)
    limit = settings.queue_limit + settings.ins_num_per_gpu * max(1, settings.max_batch_size)

    def queue_full() -> bool:
        """Whether model_path's model has no room; a request of another one learns it from that one."""
        name = settings.service_name
        return any(m.spec.name == name and m.batcher.waiting_rows() >= settings.queue_limit for m in models.loaded())

    gate = Gate(limit, queue_full)
    core = Core(service, metrics, limit + LIGHT_LIMIT)
    _watch(metrics, models, gate, core)
    return ServiceContext(settings, service, models, metrics, gate, core, version, os.environ.get("MONOPOD_DIGEST", ""))


def _watch(metrics: Metrics, models: ModelRegistry, gate: Gate, core: Core) -> None:
    def queues(value: str) -> Any:
        return lambda: {model.spec.name: float(getattr(model.batcher, value)()) for model in models.loaded()}

    metrics.callback_gauge("queue_rows", "Rows that wait for a batch.", queues("waiting_rows"), "model")
    metrics.callback_gauge(
        "queue_oldest_age_seconds", "Age of the oldest waiting request since its last byte.", queues("oldest_age"), "model"
    )
    metrics.callback_gauge(
        "batch_running_seconds", "How long the longest batch has been running.", queues("stuck_seconds"), "model"
    )
    metrics.callback_gauge("requests_in_progress", "Requests let in and not answered yet.", lambda: {"": float(gate.working())})
    metrics.callback_gauge(
        "working_memory_bytes", "Bytes of bodies and pictures under work.", lambda: {"": float(core.memory.held())}
    )
    metrics.callback_gauge("ready", "1 while the pod answers requests.", lambda: {"": float(gate.state == READY)})


def _ports(
    context: ServiceContext, app: Any, sockets: dict[int, Any], host: str, port: int, admin_port: int
) -> tuple[front.Server, front.Server]:
    settings, metrics = context.settings, context.metrics

    metrics.expect_shed(kind.reason for kind in SHED)
    metrics.expect("refused", [*((kind.status, kind.reason) for kind in SHED), (ClientGone.status, ClientGone.reason)])
    rate_limit = logs.RateLimit(REFUSALS_LOGGED_A_SECOND)

    def refused(error: ServingError, begin: float) -> None:
        if not isinstance(error, ClientGone):  # that is no sign of too much load
            metrics.shed(error.reason)
        metrics.request("refused", error.status, error.reason, time.monotonic() - begin)
        if rate_limit.allows():
            log.info("refused: %s", error, extra={"route": "refused", "code": error.status, "reason": error.reason})

    max_body = size_in_bytes(settings.max_body)
    bodies = Bodies(bound(size_in_bytes(settings.memory), max_body))

    def rules(gate: Gate) -> front.Rules:
        return front.Rules(
            gate,
            context.gate,
            bodies,
            settings.timeout_second,
            settings.upload_timeout_second,
            max_body,
            refusal_body,
            refused,
        )

    data = front.Server(app, rules(context.gate), sockets, host, port, context.gate.limit + LIGHT_LIMIT)
    own = Gate(ADMIN_THREADS, lambda: False)
    own.open()
    pages = make_admin(
        context.gate,
        context.models,
        context.core.stuck_seconds,
        metrics.page,
        settings.stuck_after_second,
        settings.timeout_second,
    )
    admin = front.Server(pages, rules(own), sockets, host, admin_port, ADMIN_THREADS, front.SPARE_CONNECTIONS)
    return data, admin


def _load(context: ServiceContext, folder: Path, began: float, port: int, failure: list[str], wake: Any) -> None:
    """Load and warm the models, run the service's own setup, and open the gate."""
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
    """Raise StartError when the warm-up took more than a pod has: Kubernetes would kill it without a word."""
    peak = peak_bytes()
    if peak > size_in_bytes(settings.memory):
        raise StartError(
            f"value.py: memory is {settings.memory!r}, but loading and warming took {peak / 2**20:.0f} MiB: "
            "such a pod is killed; raise memory, or lower max_batch_size or ins_num_per_gpu"
        )


def limit_work(memory: WorkingMemory, settings: Settings, resident: int) -> None:
    """Bound what requests hold together, and log what is too large for this pod where max_body lets it in.

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
    """Return the line that a newcomer types first."""
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
