"""The start and the end of every process of a service: settings, models, service, core, admin port, exit code.

Knows the order of these steps. Does not know where requests come from.

Concurrency. The main thread runs one loop, so probes are answered while the models load. `load` runs on the loader thread and
ends with it. Its callers hand its result to the loop.
"""

import asyncio
import logging
import os
import resource
import sys
import time
from collections.abc import Callable, Coroutine
from functools import partial
from pathlib import Path
from typing import Any

import uvloop

from serving.base.errors import StartError
from serving.base.process_memory import peak_bytes, resident_bytes, trim, use_one_arena
from serving.base.terminal import printable
from serving.base.working_memory import WorkingMemory
from serving.core.result_cache import ResultCache
from serving.core.stages import Core, WorkerThreads
from serving.models.registry import ModelRegistry
from serving.service.embedded import read_settings
from serving.service.own_code import blaming, service_class
from serving.service.service import Service
from serving.settings import Settings, SettingsError, latency_objective, size_in_bytes
from serving.telemetry import logs
from serving.telemetry.log_lines import is_in_pod, origin_of
from serving.telemetry.metrics import Metrics
from serving.web import drain
from serving.web.admin import Admin
from serving.web.admission import LIGHT_LIMIT, Gate
from serving.web.context import ServiceContext
from serving.web.data_port import refusal_counter
from serving.web.front.held_bytes import Bodies
from serving.web.front.port import CONNECTION_LIMIT, Port
from serving.web.front.request_cycle import Deadlines, Rules
from serving.web.process import gauges

log = logging.getLogger("monopod.start")

ADMIN_BODY = 0  # bytes of a body on the admin port


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
    gauges.show_release(metrics, settings, os.environ, platform)
    gauges.show_size(metrics, settings, os.environ)
    models = ModelRegistry(folder, settings, metrics, loop=loop)
    kind = service_class(folder)
    with blaming(folder / "src" / "server.py"):
        service = kind(settings, models, metrics, folder)
    limit = settings.queue_limit + settings.ins_num_per_gpu * max(1, settings.max_batch_size)

    # The gate asks for the queue of model_path's model. Another model's queue refuses its requests itself.
    gate = Gate(limit, partial(models.has_waiting, settings.service_name, settings.queue_limit))
    core = Core(service, limit + LIGHT_LIMIT, loop, result_cache(service))
    gauges.show_work(metrics, models, gate, core)
    gauges.show_gpu(metrics, settings, models)
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


def admin_port(
    context: ServiceContext,
    shared: tuple[Bodies, Deadlines],
    loop: asyncio.AbstractEventLoop,
    host: str,
    port: int,
    stuck: Callable[[], str] = lambda: "",
) -> Port:
    """Return the admin port, bound. shared: with another port, if there is one. Raises OSError where the port is taken.

    stuck: says which further part of the process hangs, "" where none does.
    """
    settings, gate, metrics = context.settings, Gate(CONNECTION_LIMIT, lambda: False, CONNECTION_LIMIT), context.metrics
    gate.open()  # a probe is never refused
    times = settings.stuck_after_second, settings.timeout_second
    threads = WorkerThreads(1, "metrics")
    pages = Admin(context.gate, context.models, context.core.stuck_seconds, metrics.page, *times, threads, stuck)
    timeouts = settings.timeout_second, settings.upload_timeout_second
    refused = refusal_counter(metrics)
    rules = Rules(loop, gate, context.gate, *shared, *timeouts, ADMIN_BODY, pages.run, lambda *told: None, refused)
    return Port(rules, host, port)


def load(context: ServiceContext, folder: Path, began: float, end: drain.End, loaded: Callable[[], object]) -> None:
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
        limit_work(context.core.memory, settings, resident_bytes() + (size_in_bytes(settings.cache_memory) if cache else 0))
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
    left = memory.set_limit(size_in_bytes(settings.memory), resident)
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
