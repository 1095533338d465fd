"""`monopod serve`: from a service's folder to an answering process.

Knows the order of the start. Does not know how any part works.

Concurrency. The main thread runs the loop of both ports, so probes are answered while the models load. The loader thread hands
its result to the loop, and ends. The trimmer thread gives free memory back to the system while the process is at rest, as long
as it lives.
"""

import asyncio
import logging
import os
import resource
import shlex
import sys
import threading
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import uvloop

from serving.base import jsons
from serving.base.errors import StartError
from serving.base.process_memory import peak_bytes, resident_bytes, trim, trim_at_rest, use_one_arena
from serving.base.working_memory import WorkingMemory
from serving.core.stages import Core
from serving.core.worker_threads import WorkerThreads
from serving.models.registry import ModelRegistry
from serving.service.embedded import read_settings
from serving.service.own_code import blaming, service_class
from serving.service.request import make_request
from serving.service.service import Service, routes_of, takes_data
from serving.settings import Settings, SettingsError, size_in_bytes
from serving.telemetry import logs
from serving.telemetry.access_log import AccessLog
from serving.telemetry.metrics import Metrics
from serving.web import drain
from serving.web.admin import Admin
from serving.web.admission import LIGHT_LIMIT, READY, Gate
from serving.web.app import label_finder, make_app
from serving.web.context import ServiceContext
from serving.web.data_port import DataPort, refusal_counter
from serving.web.front.deadlines import Deadlines
from serving.web.front.exchange import Rules
from serving.web.front.port import CONNECTION_LIMIT, Port
from serving.web.front.wsgi_threads import WsgiThreads
from serving.web.held_bodies import Bodies, bound
from serving.web.hot_routes import HotRoutes
from serving.web.openapi_tensors import data_example

log = logging.getLogger("monopod.start")

DRAIN_MARGIN = 5.0  # seconds beyond the timeout that the last answer may take
ADMIN_BODY = 0  # bytes of a body on the admin port
ACCESS_SECONDS = 0.1  # between two writings of the access log


def serve(folder: Path, port: int = 8080, admin_port: int = 8081, host: str = "0.0.0.0") -> int:
    """Serve the service in a folder until SIGTERM or Ctrl-C. Return the exit code. Mistakes are printed to standard error."""
    use_one_arena()
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))  # a connection takes one; the soft limit is often 1024
    try:
        return uvloop.run(_serve(folder, port, admin_port, host, time.monotonic()))
    except SettingsError as error:
        return _give_up(*error.mistakes)
    except (StartError, OSError) as error:
        return _give_up(str(error))


async def _serve(folder: Path, port: int, admin_port: int, host: str, began: float) -> int:
    """Serve on this loop, and return the exit code. began: of the process, in seconds of time.monotonic()."""
    loop = asyncio.get_running_loop()
    context = _build(folder, _settings(folder), loop)
    data, admin, access = _ports(context, loop, host, port, admin_port)
    end = drain.End(loop)
    data.start()
    admin.start()
    _flush_often(loop, access)
    loader = (context, folder, began, data.number, end, loop)
    threading.Thread(target=_load, args=loader, name="loader", daemon=True).start()
    threading.Thread(target=trim_at_rest, args=(partial(_ended, context.core, data),), name="trimmer", daemon=True).start()
    settings = context.settings
    longest = settings.timeout_second + DRAIN_MARGIN
    finished = await drain.run(data, context.gate, end, settings.drain_delay_second, longest)
    code = _give_up(end.failure) if end.failure else int(not finished)
    access.flush()
    logs.stop()
    # Threads that hang in a model or in the service's own code must not delay the exit.
    os._exit(code)


def _ended(core: Core, data: Port) -> int:
    """Return a count that grows when something ends that has held memory: a job, or a body that may never become one."""
    return core.jobs + data.rules.bodies.released


def _settings(folder: Path) -> Settings:
    """Return the settings of value.py in this pod's region, start the log, and log the warnings."""
    settings, warnings = read_settings(folder)
    logs.start(settings.service_name, os.environ.get("MONOPOD_REGION", ""))
    for warning in warnings:
        log.warning(warning)
    return settings


def _build(folder: Path, settings: Settings, loop: asyncio.AbstractEventLoop) -> ServiceContext:
    """Return the running service's parts, with no model loaded. Raises StartError."""
    metrics = Metrics()
    version = os.environ.get("MONOPOD_VERSION", "dev")
    metrics.platform(version, settings.service_name)
    models = ModelRegistry(folder, settings, metrics, loop=loop)
    kind = service_class(folder)
    with blaming(folder / "src" / "server.py"):
        service = kind(settings, models, metrics, folder)
    limit = settings.queue_limit + settings.ins_num_per_gpu * max(1, settings.max_batch_size)

    def queue_full() -> bool:
        """Return whether the queue of model_path's model is full. Another model's queue refuses its requests itself."""
        return models.has_waiting(settings.service_name, settings.queue_limit)

    gate = Gate(limit, queue_full)
    core = Core(service, limit + LIGHT_LIMIT, loop)
    _export_gauges(metrics, models, gate, core)
    return ServiceContext(settings, service, models, metrics, gate, core, version, os.environ.get("MONOPOD_DIGEST", ""))


def _export_gauges(metrics: Metrics, models: ModelRegistry, gate: Gate, core: Core) -> None:
    def queues(value: Callable[[str], float]) -> Any:
        return lambda: {name: float(value(name)) for name in models.queue_names()}

    def stuck() -> dict[str, float]:
        return {model.spec.name: model.batcher.stuck_seconds() for model in models.loaded()}

    about = "Rows that wait for a model: one for each admitted request from its last byte on, then its rows until a batch runs."
    metrics.callback_gauge("queue_rows", about, queues(models.waiting_rows), "model")
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
    context: ServiceContext, loop: asyncio.AbstractEventLoop, host: str, port: int, admin_port: int
) -> tuple[Port, Port, AccessLog]:
    """Return the data port, the admin port and the access log. The ports are bound but do not serve yet.

    Raises OSError where a port is taken, StartError where the service's own routes are wrong.
    """
    settings, metrics, core = context.settings, context.metrics, context.core
    with blaming(context.service.folder / "src" / "server.py", "its routes: "):
        app = make_app(context)
        own_routes = bool(routes_of(context.service))
    threads = WsgiThreads(app, LIGHT_LIMIT + (context.gate.limit if own_routes else 0))
    access, name = AccessLog(), settings.service_name
    hot = HotRoutes(settings, context.models, core)
    requests = DataPort(hot, threads, label_finder(app), context.models, metrics, access, name)
    max_body = size_in_bytes(settings.max_body)
    shared = Bodies(bound(size_in_bytes(settings.memory), max_body)), Deadlines(loop)
    timeouts = settings.timeout_second, settings.upload_timeout_second
    refused = refusal_counter(metrics)
    data = Rules(loop, context.gate, context.gate, *shared, *timeouts, max_body, requests.run, requests.ended, refused)
    admin_gate = Gate(CONNECTION_LIMIT, lambda: False, CONNECTION_LIMIT)  # a probe is never refused
    admin_gate.open()
    stuck = settings.stuck_after_second, settings.timeout_second
    pages = Admin(context.gate, context.models, core.stuck_seconds, metrics.page, *stuck, WorkerThreads(1, "metrics"))
    admin = Rules(loop, admin_gate, context.gate, *shared, *timeouts, ADMIN_BODY, pages.run, lambda *told: None, refused)
    return Port(data, host, port), Port(admin, host, admin_port), access


def _flush_often(loop: asyncio.AbstractEventLoop, access: AccessLog) -> None:
    access.flush()
    loop.call_later(ACCESS_SECONDS, _flush_often, loop, access)


def _load(
    context: ServiceContext, folder: Path, began: float, port: int, end: drain.End, loop: asyncio.AbstractEventLoop
) -> None:
    """Load and warm the models, run the service's own setup, and open the gate. end: is told where that fails.

    began: of the process, in seconds of time.monotonic().
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
        end.fail(str(error))
    except Exception as error:
        log.exception("the start failed")
        end.fail(f"unexpected: {type(error).__name__}: {error}; the traceback is above, please report it")
    else:
        loop.call_soon_threadsafe(context.gate.open)
        log.info("ready after %.2f s", time.monotonic() - began)
        log.info("try: %s", curl(context.service, port))


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
