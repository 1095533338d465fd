"""A service without a server: for scripts that use its code offline, and for commands that look at its models.

Knows how a service is put together. Does not know ports, queues' limits or probes.
"""

import os
from pathlib import Path

from serving.metrics import Metrics
from serving.models import Models
from serving.own_code import blaming, service_class
from serving.schema import Settings, load
from serving.service import Service, make_request

__all__ = ["make_request", "open_service", "read_settings"]


def read_settings(folder: Path) -> tuple[Settings, list[str]]:
    """Return what a service's value.py says in this process's region, and its warnings. Raises SchemaError."""
    names = os.environ.get("MONOPOD_REGIONS", "")
    file = load(folder / "value.py", names.split(",") if names else None)
    return file.in_region(os.environ.get("MONOPOD_REGION", "")), list(file.warnings)


def open_service(folder: Path) -> Service:
    """Return the service of a folder: its value.py read, its src/server.py imported. Its `setup` is the caller's to call.

    Its models are opened as they are first used. Raises SchemaError, StartError.
    """
    settings = read_settings(folder)[0]
    metrics = Metrics()
    models = Models(folder, settings, metrics, lazy=True)
    kind = service_class(folder)
    with blaming(folder / "src" / "server.py"):
        service = kind(settings, models, metrics, folder)
    if settings.model_path:
        models.load(settings.service_name, settings.model_path)
    return service
