"""The gauges of a running pod: what runs here, its size, its work, its card, its connections.

Knows where each value is asked for. Does not know how it is written: serving.telemetry.metrics does.
"""

import tempfile
from collections.abc import Callable, Mapping, Sized

from serving.base.errors import StartError
from serving.core.stages import Core
from serving.models.registry import ModelRegistry
from serving.settings import Settings, size_in_bytes
from serving.telemetry.gpu_device import card
from serving.telemetry.metrics import Metrics, Values
from serving.telemetry.temporary_files import bytes_on_disk
from serving.web.admission import Gate

GIB = 2**30
Environment = Mapping[str, str]


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
        raise StartError(f"the environment says {name}={text!r}, which is no number; the plan sets it: deploy again") from None
