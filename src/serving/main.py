"""`monopod serve`: from a service's folder to an answering process.

Concurrency. The main thread runs the loop of both ports, so probes are answered while the models load. The loader thread hands
its result to the loop, and ends. The trimmer thread gives free memory back to the system while the process is at rest, as long
as it lives.
"""

import asyncio
import logging
import os
import shlex
import threading
from functools import partial
from pathlib import Path

from serving.base import json_codec
from serving.base.process import trim_at_rest
from serving.core.stages import Core
from serving.inputs.files import IMAGE, VIDEO
from serving.models.model import Model
from serving.service.application import Application
from serving.service.loader import blaming
from serving.service.request import make_request
from serving.service.service import Service, files_of, routes_of, takes_data
from serving.settings import process_memory, size_in_bytes
from serving.telemetry.access_log import AccessLog
from serving.web import process
from serving.web.admin import admin_port as admin_port_of
from serving.web.admission import LIGHT_LIMIT
from serving.web.app import label_finder, make_app, path_finder, run_on_threads
from serving.web.data_port import DataPort, HotRoutes, refusal_counter
from serving.web.front.held_bytes import Bodies, bound
from serving.web.front.port import Port
from serving.web.front.request_cycle import Deadlines, Rules
from serving.web.lane import Lane
from serving.web.mount import Mount
from serving.web.openapi_tensors import data_example
from serving.web.process import ServiceContext
from serving.web.recycle import EXIT_CODE, Recycling

log = logging.getLogger("monopod.start")

DRAIN_MARGIN = 5.0  # seconds beyond the timeout that the last answer may take
MAX_BODY = 300  # characters of a command line that a person reads
ACCESS_SECONDS = 0.1  # between two writings of the access log


def serve(folder: Path, port: int = 8080, admin_port: int = 8081, host: str = "0.0.0.0", platform: str = "") -> int:
    """Serve the service in a folder until SIGTERM or Ctrl-C. Return the exit code. Mistakes are printed to standard error.

    platform: its version, for the metrics.
    """
    return process.run(lambda began: _serve(folder, port, admin_port, host, began, platform))


async def _serve(folder: Path, port: int, admin_port: int, host: str, began: float, platform: str) -> int:
    """Serve on this loop, and return the exit code. began: of the process, in seconds of time.monotonic()."""
    loop = asyncio.get_running_loop()
    context = process.build(folder, process.settings_of(folder), loop, platform)
    data, admin, access = _ports(context, loop, host, port, admin_port)
    process.show_connections(context.metrics, {"data": data.connections, "admin": admin.connections})
    end = process.End(loop)
    recycling = process.recycling_of(context, partial(_held, context.core, data), end, os.environ)
    data.start()
    admin.start()
    _flush_often(loop, access)
    loader = (context, folder, began, end, partial(_loaded, context, data.number, loop, recycling))
    threading.Thread(target=process.load, args=loader, name="loader", daemon=True).start()
    threading.Thread(target=trim_at_rest, args=(partial(_ended, context.core, data),), name="trimmer", daemon=True).start()
    settings = context.settings
    longest = settings.timeout_second + DRAIN_MARGIN
    finished = await process.serve_until_drained(data, context.gate, end, settings.drain_delay_second, longest)
    access.flush()
    whole = EXIT_CODE if end.recycled else 0
    code = process.give_up(end.failure) if end.failure else process.end_with(whole if finished else 1)
    # Threads that hang in a model or in the service's own code must not delay the exit.
    os._exit(code)


def _held(core: Core, data: Port) -> int:
    return core.memory.held() + data.rules.bodies.held


def _ended(core: Core, data: Port) -> int:
    """Return a count that grows when something ends that has held memory: a job, or a body that may never become one."""
    return core.jobs + data.rules.bodies.released


def _ports(
    context: ServiceContext, loop: asyncio.AbstractEventLoop, host: str, port: int, admin_port: int
) -> tuple[Port, Port, AccessLog]:
    """Return the data port, the admin port and the access log. The ports are bound but do not serve yet.

    Raises OSError where a port is taken, StartError where the service's own routes are wrong.
    """
    settings, metrics, core = context.settings, context.metrics, context.core
    with blaming(context.service.folder / "src" / "server.py", "its routes: "):
        app = make_app(context)
        own_threads = LIGHT_LIMIT + context.gate.limit if routes_of(context.service) else 0
    other, label_of = run_on_threads(app, core, own_threads), label_finder(app)
    mounted = isinstance(context.service, Application)
    if mounted:
        mount = Mount(context, path_finder(app), other, label_of)
        other, label_of = mount.run, mount.label_of
    access, name = AccessLog(), settings.service_name
    hot = HotRoutes(settings, context.models, core, not mounted)
    requests = DataPort(hot, other, label_of, context.models, metrics, access, name)
    max_body = size_in_bytes(settings.max_body)
    shared = Bodies(bound(process_memory(settings), max_body)), Deadlines(loop)
    timeouts = settings.timeout_second, settings.upload_timeout_second
    refused = refusal_counter(metrics)
    lane = Lane(loop, context.gate, hot, requests)
    context.models.batches_on_loop = core.fits_loop
    more = (lane.take,) if core.fits_loop else ()
    data = lane.rules = Rules(
        loop, context.gate, context.gate, *shared, *timeouts, max_body, requests.run, requests.ended, refused, *more
    )
    return Port(data, host, port), admin_port_of(context, shared, loop, host, admin_port), access


def _flush_often(loop: asyncio.AbstractEventLoop, access: AccessLog) -> None:
    access.flush()
    loop.call_later(ACCESS_SECONDS, _flush_often, loop, access)


def _loaded(context: ServiceContext, port: int, loop: asyncio.AbstractEventLoop, recycling: Recycling) -> None:
    loop.call_soon_threadsafe(context.gate.open)
    asyncio.run_coroutine_threadsafe(recycling.watch(), loop)
    for model in context.models.loaded():
        _tell_of_a_long_queue(model, context.settings.timeout_second)
    log.info("try: %s", curl(context.service, port))


def _tell_of_a_long_queue(model: Model, timeout: float) -> None:
    """Warn where a full queue takes longer than a request may."""
    limit, batches = model.options.queue_limit, model.costs.items()
    row = min((seconds / rows for rows, seconds in batches), default=0.0) / model.options.instances
    if limit * row > timeout:
        log.warning(
            "model %s: queue_limit is %d, and a full queue takes %.3g s at %.3g ms a row, over timeout_second, %g: its last "
            "callers wait for a 504, and none gets a 429; set queue_limit to %d or less",
            model.spec.name, limit, limit * row, 1000 * row, timeout, max(1, timeout / row),
        )  # fmt: skip


def curl(service: Service, port: int) -> str:
    """Return a command line to try the service with. port: the data port."""
    settings = service.settings
    url = f"localhost:{port}/api/{settings.username}/{settings.service_name}"
    if isinstance(service, Application):
        return f"curl {url}"
    if files := files_of(service):
        asked = [name for name in files if name != VIDEO or IMAGE not in files]
        parts = [f"-F {name}=@{service.example_image if name == IMAGE else 'FILE'}" for name in asked]
        return f"curl {' '.join(parts)} {url}"
    example = service.example
    if example is None and takes_data(service) and settings.service_name in service.models.names():
        rows = data_example(service.model.spec(make_request().life), settings)
        example = None if rows is None else {"data": rows}
    body = json_codec.dumps(example).decode()
    if example is None or len(body) > MAX_BODY:
        return f"curl {url}/  # the page, which describes what to send"
    return f"curl -H 'Content-Type: application/json' -d {shlex.quote(body)} {url}"
