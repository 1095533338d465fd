"""A serving process from its start to its end, whatever brings its requests: its parts, its gauges, its drain, its exit code.

The steps after SIGTERM. First readiness goes off, and for the drain delay every request is served, with Connection: close.
Then the port closes, and for a moment open connections may still send requests. Accepted requests are finished, and the process
exits.

Concurrency. The main thread runs one loop, so probes are answered while the models load. `load` runs on the loader thread and
ends with it. Its callers hand its result to the loop.
"""

import asyncio
import logging
import os
import resource
import signal
import sys
import tempfile
import time
from collections.abc import Callable, Coroutine, Mapping, Sized
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import uvloop

from serving.base.errors import StartError
from serving.base.process import WorkingMemory, peak_bytes, resident_bytes, trim, use_one_arena
from serving.base.terminal import printable
from serving.core.result_cache import ResultCache
from serving.core.stages import Core
from serving.models.registry import ModelRegistry
from serving.service.application import Application
from serving.service.loader import blaming, read_settings, service_class
from serving.service.service import Service, files_of, routes_of, takes_data
from serving.settings import Settings, SettingsError, latency_objective, process_memory, replicas, size_in_bytes
from serving.telemetry import logs
from serving.telemetry.logs import is_in_pod, origin_of
from serving.telemetry.metrics import Metrics, Values
from serving.telemetry.resources import bytes_on_disk, card
from serving.web import openapi
from serving.web.admission import CLOSED, LIGHT_LIMIT, Gate
from serving.web.front.port import Port
from serving.web.openapi import ServiceInputs
from serving.web.recycle import NOTICE_SECONDS, Recycling

log = logging.getLogger("monopod.start")
drain_log = logging.getLogger("monopod.drain")

LATE_SECONDS = 0.5  # to accept the connections that were made just before the port refuses new ones
NEXT_REQUEST_SECONDS = 3.0  # that an idle connection has for its next request, once the port is closed
LOOK_SECONDS = 0.02
GIB = 2**30
Environment = Mapping[str, str]


@dataclass(frozen=True)
class ServiceContext:
    """The parts of a running service. version: of the platform. digest: of the image, "" where it is not known."""

    settings: Settings
    service: Service
    models: ModelRegistry
    metrics: Metrics
    gate: Gate
    core: Core
    version: str
    digest: str = ""

    def health(self) -> dict[str, Any]:
        """Return whether the pod may be sent requests, its state, and its use of memory, cores and queue."""
        return {"ready": self.gate.unready() is None, "state": self.gate.state, **self.service.vitals()}

    def status(self) -> dict[str, Any]:
        """Return the service's name, its state, its queue, and how many requests were answered with each code."""
        return {
            "service": self.settings.service_name,
            "username": self.settings.username,
            "ready": self.gate.unready() is None,
            "state": self.gate.state,
            "queue": {
                "rows": self.models.waiting_rows(),
                "oldest_seconds": self.models.oldest_age(),
                "limit": self.settings.queue_limit,
            },
            "in_progress": self.gate.working(),
            "requests": self.metrics.codes(),
            "models": self.models.names(),
        }

    def document(self, prefix: str) -> dict[str, Any]:
        """Return the OpenAPI document as it is served under a prefix, with the models that are loaded now."""
        service = self.service
        routes = [route for route, _ in routes_of(service)]
        specs = [model.spec for model in self.models.loaded()]
        data, mounted = takes_data(service), isinstance(service, Application)
        inputs = ServiceInputs(files_of(service), service.example, service.fields, data, service.streams, mounted)
        return openapi.document(self.settings, specs, routes, prefix=prefix, inputs=inputs, version=self.version)


class End:
    """The reason to end, once there is one: a signal's number, the words of a start that failed, or memory that has grown."""

    def __init__(self, loop: asyncio.AbstractEventLoop):
        self.signal, self.failure, self.recycled = 0, "", False
        self._come = asyncio.Event()
        self._loop = loop
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, self._note, number)

    async def wait(self) -> None:
        """Wait until there is a reason."""
        await self._come.wait()

    def fail(self, words: str) -> None:
        """Note that the start failed. Any thread may call it."""
        self.failure = words
        self._loop.call_soon_threadsafe(self._come.set)

    def recycle(self) -> None:
        """End for the memory that has grown. The loop calls it."""
        self.recycled = True
        self._come.set()

    def _note(self, number: int) -> None:
        if self.signal and number == signal.SIGINT:
            os._exit(128 + number)  # a second Ctrl-C ends the process at once
        self.signal = self.signal or number
        self._come.set()


def run(main: Callable[[float], Coroutine[Any, Any, int]]) -> int:
    """Run a process on a loop, and return the exit code. Mistakes are told on standard error, in a pod in the log.

    main: gets the time at which the process began, in seconds of time.monotonic().
    """
    use_one_arena()
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))  # a connection takes one; the soft limit is often 1024
    try:
        return uvloop.run(main(time.monotonic()))
    except SettingsError as error:
        return give_up(*error.mistakes)
    except (StartError, OSError) as error:
        return give_up(str(error))
    except Exception as error:
        if not is_in_pod():
            raise  # the command says it in a sentence
        return give_up(f"unexpected: {type(error).__name__}: {error}; please report it", error=error)


def settings_of(folder: Path, log_to_error: bool = False) -> Settings:
    """Return the settings of value.py in this pod's region, start the log, and log the warnings.

    log_to_error: whether lines go to standard error, because stdout is for answers.
    """
    settings, warnings = read_settings(folder)
    logs.start(origin_of(os.environ, settings.service_name, settings.username), log_to_error)
    for warning in warnings:
        log.warning(warning)
    return settings


def build(folder: Path, settings: Settings, loop: asyncio.AbstractEventLoop, platform: str) -> ServiceContext:
    """Return the running service's parts, with no model loaded. Raises StartError."""
    metrics = Metrics(settings.timeout_second, latency_objective(settings))
    version = os.environ.get("MONOPOD_VERSION", "dev")
    show_release(metrics, settings, os.environ, platform)
    show_size(metrics, settings, os.environ)
    models = ModelRegistry(folder, settings, metrics, loop=loop)
    kind = service_class(folder)
    with blaming(folder / "src" / "server.py"):
        service = kind(settings, models, metrics, folder)
    if settings.threads > 1 and not isinstance(service, Application):
        log.warning("value.py: threads is for an application in src/server.py; hooks run on several threads at once anyhow")
    at_once = max(settings.threads, settings.ins_num_per_gpu * max(1, settings.max_batch_size))
    limit = settings.queue_limit + at_once

    # The gate asks for the queue of model_path's model. Another model's queue refuses its requests itself.
    gate = Gate(limit, partial(models.has_waiting, settings.service_name, settings.queue_limit))
    core = Core(service, limit + LIGHT_LIMIT, loop, result_cache(service))
    show_work(metrics, models, gate, core)
    show_gpu(metrics, settings, models)
    return ServiceContext(settings, service, models, metrics, gate, core, version, os.environ.get("MONOPOD_DIGEST", ""))


def result_cache(service: Service) -> ResultCache | None:
    """Return the cache that value.py asks for. Raises StartError for a Redis that cannot be used."""
    settings, store = service.settings, None
    if settings.cache == "none":
        return None
    if settings.cache == "redis":
        try:
            from serving.core.redis_store import RedisStore  # its library is in images that need it alone
        except ModuleNotFoundError:
            raise StartError(
                'value.py: cache is "redis", and the package redis is not installed: `pip install -c requirements.lock redis`'
            ) from None
        most, url = size_in_bytes(settings.cache_memory), os.environ.get("REDIS_URL", "")
        store = RedisStore(url, most, settings.cache_second, service.metrics)
    return ResultCache(service, store)


def load(context: ServiceContext, folder: Path, began: float, end: End, loaded: Callable[[], object]) -> None:
    """Load and warm the models, run the service's own setup, and call `loaded`. end: is told where that fails.

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
        cache = context.core.cache
        if cache is not None:
            cache.prepare()
        trim()
        kept = size_in_bytes(settings.cache_memory) if cache else 0
        kept += size_in_bytes(settings.decode_memory) if context.core.video_decoders else 0
        limit_work(context.core.memory, settings, resident_bytes() + kept)
    except StartError as error:
        end.fail(str(error))
    except Exception as error:
        log.exception("the start failed")
        end.fail(f"unexpected: {type(error).__name__}: {error}; the traceback is above, please report it")
    else:
        log.info("ready after %.2f s", time.monotonic() - began)
        loaded()


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
    left = memory.set_limit(process_memory(settings), resident)
    if left < size_in_bytes(settings.max_body):
        log.warning(
            "value.py: memory is %r, and the process holds %d MiB at rest: %d MiB are left for requests, and one that needs "
            "more is answered 413, though max_body is %r; raise memory",
            settings.memory, resident / 2**20, left / 2**20, settings.max_body,
        )  # fmt: skip


def end_with(code: int) -> int:
    """Write the last line of the log, and return the exit code."""
    log.info("the process ends with exit code %d", code)
    logs.stop()
    return code


def give_up(*mistakes: str, error: BaseException | None = None) -> int:
    """Tell why the process ends, and return its exit code: in lines of the log in a pod, else on standard error.

    error: its traceback stands in the log, too.
    """
    if is_in_pod() and not logs.is_started():
        logs.start(origin_of(os.environ))
    for mistake in mistakes if is_in_pod() else ():
        log.critical("the process ends: %s", mistake, exc_info=error)
    logs.stop()
    for mistake in () if is_in_pod() else mistakes:
        print(printable(mistake), file=sys.stderr)
    return 1


def show_release(metrics: Metrics, settings: Settings, environment: Environment, platform: str) -> None:
    """Show what runs here, and its price where the plan knows one. platform: its version. Raises StartError."""
    track, region = environment.get("MONOPOD_TRACK", ""), environment.get("MONOPOD_REGION", "")
    version = environment.get("MONOPOD_VERSION", "dev")
    _show_one(metrics, "monopod_release_info", 1, settings.username, track, region, version, platform)
    price = _number(environment, "MONOPOD_PRICE_PER_MONTH")
    if price is not None:
        _show_one(metrics, "monopod_price_per_month", price, environment.get("MONOPOD_CURRENCY", ""))


def show_size(metrics: Metrics, settings: Settings, environment: Environment) -> None:
    """Show what the pod may take, and what it takes of its temporary folder. Raises StartError."""
    _show_one(metrics, "monopod_cpu_cores", settings.cpu)
    _show_one(metrics, "monopod_memory_limit_bytes", size_in_bytes(settings.memory))
    folder = tempfile.gettempdir()
    metrics.show("monopod_tmp_bytes", lambda: {(): float(bytes_on_disk(folder))})
    limit = _number(environment, "MONOPOD_TMP_LIMIT_BYTES")
    if limit is not None:
        _show_one(metrics, "monopod_tmp_limit_bytes", limit)


def show_work(metrics: Metrics, models: ModelRegistry, gate: Gate, core: Core) -> None:
    """Show what waits and what is worked on."""

    def queues(value: Callable[[str], float]) -> Callable[[], Values]:
        return lambda: {(name,): float(value(name)) for name in models.queue_names()}

    def running() -> Values:
        return {(model.spec.name,): model.batcher.stuck_seconds() for model in models.loaded()}

    metrics.show("monopod_queue_rows", queues(models.waiting_rows))
    metrics.show("monopod_queue_oldest_age_seconds", queues(models.oldest_age))
    metrics.show("monopod_batch_running_seconds", running)
    metrics.show("monopod_requests_in_progress", lambda: {(): float(gate.working())})
    metrics.show("monopod_working_memory_bytes", lambda: {(): float(core.memory.held())})
    metrics.show("monopod_ready", lambda: {(): float(gate.unready() is None)})


def show_gpu(metrics: Metrics, settings: Settings, models: ModelRegistry) -> None:
    """Show what is declared and what is taken of the card; nothing where there is none."""

    def arenas() -> Values:
        found = ((model.spec.name, model.options) for model in models.loaded())
        return {(name,): float(options.instances * limit) for name, options in found if (limit := options.hardware.arena_bytes)}

    def device() -> Values:
        found = card()
        return {} if found is None else {(found.uuid,): float(found.used)}

    if models.options.hardware.provider == "cpu":
        return
    metrics.show("monopod_gpu_device_used_bytes", device)
    if settings.gpu_memory:
        _show_one(metrics, "monopod_gpu_memory_declared_bytes", settings.gpu_memory * GIB)
        metrics.show("monopod_gpu_arena_limit_bytes", arenas)


def recycling_of(context: ServiceContext, held: Callable[[], int], end: End, environment: Environment) -> Recycling:
    """Return what ends the process for its memory, with its figures on show. held: the bytes that requests hold now.

    A pod of an arm never ends so: the arm may have one pod, and its share of the requests goes nowhere else.
    """
    pods = replicas(context.settings, environment.get("MONOPOD_TRACK", ""))
    has_sibling = pods > 1 and not environment.get("MONOPOD_ARM")
    found = Recycling(context.settings, environment.get("HOSTNAME", ""), has_sibling, held, end.recycle)
    context.metrics.show("monopod_recycles", lambda: {(): float(found.count())})
    context.metrics.show("monopod_recycle_due", lambda: {(): float(found.over)})
    return found


def show_connections(metrics: Metrics, ports: Mapping[str, Sized]) -> None:
    """Show the connections of each port. ports: its name -> its open connections."""
    metrics.show("monopod_connections", lambda: {(port,): float(len(found)) for port, found in ports.items()})


def _show_one(metrics: Metrics, name: str, value: float, *labels: str) -> None:
    values = {labels: float(value)}
    metrics.show(name, lambda: values)


def _number(environment: Environment, name: str) -> float | None:
    """Return a number of the environment, None where there is none. Raises StartError."""
    text = environment.get(name, "")
    try:
        return float(text) if text else None
    except ValueError:
        raise StartError(
            f"the environment says {name}={text!r}, which is not a number; the plan sets it: deploy again"
        ) from None


async def serve_until_drained(port: Port, gate: Gate, end: End, delay: float, longest: float) -> bool:
    """Serve until there is a reason to end, then drain. Return whether every accepted request was finished.

    The port closes delay seconds after SIGTERM, but at once after Ctrl-C, and where the pod was never ready. After longest
    seconds unfinished requests are given up, and answers that their clients have not taken.
    """
    await end.wait()
    gently = gate.drain() and end.signal != signal.SIGINT
    delay, late, grace = (delay, LATE_SECONDS, NEXT_REQUEST_SECONDS) if gently else (0.0, 0.0, 0.0)
    if end.signal:
        drain_log.info("signal %d: draining for %g s", end.signal, delay)
    elif end.recycled:  # no endpoint of the pod goes before readiness is seen to be off, and no preStop hook waits for that
        delay += NOTICE_SECONDS
        drain_log.info("memory has grown: draining for %g s", delay)
    await asyncio.sleep(delay)
    port.turn_away()
    await asyncio.sleep(late)
    port.stop_listening()
    await _until(lambda: port.idle(grace) and port.quiet(), grace)
    gate.state = CLOSED
    finished = await _until(lambda: gate.empty() and port.quiet(), longest)
    if not finished:
        drain_log.info("gave up on %d requests, and on answers that were not taken, after %g s", gate.working(), longest)
    elif end.signal or end.recycled:
        drain_log.info("drained")
    return finished


async def _until(done: Callable[[], bool], seconds: float) -> bool:
    """Wait at most this many seconds. Return whether it is done; new input is always read first."""
    end = time.monotonic() + seconds
    while True:
        await asyncio.sleep(LOOK_SECONDS)
        if done():
            return True
        if time.monotonic() >= end:
            return False
