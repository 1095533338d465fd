"""A service without a server: for scripts that use its code offline, and for commands that look at its models.

Knows how a service is put together. Does not know ports, queues' limits or probes.
"""

import dataclasses
import logging
import os
from pathlib import Path

from serving.base.errors import ModelFailed, StartError
from serving.models.engine import quiet
from serving.models.registry import ModelRegistry
from serving.service.own_code import ABOVE, blaming, service_class
from serving.service.service import Service
from serving.settings import Settings, load
from serving.telemetry.metrics import Metrics


def read_settings(folder: Path) -> tuple[Settings, list[str]]:
    """Return what a service's value.py says in this process's region, and its warnings. Raises SettingsError."""
    names = os.environ.get("MONOPOD_REGIONS", "")
    file = load(folder / "value.py", names.split(",") if names else None)
    return file.in_region(os.environ.get("MONOPOD_REGION", "")), list(file.warnings)


def open_service(folder: Path, provider: str = "", kind: type[Service] | None = None) -> Service:
    """Return the service of a folder: its value.py read, its src/server.py imported. Its `setup` is the caller's to call.

    Its models are opened as they are first used. provider stands in for value.py's, kind for the class in src/server.py.
    Raises SettingsError, StartError.
    """
    settings = read_settings(folder)[0]
    if provider:
        settings = dataclasses.replace(settings, provider=provider)
    metrics = Metrics()
    models = ModelRegistry(folder, settings, metrics, lazy=True)
    if settings.model_path:
        models.load(settings.service_name, settings.model_path)
    kind = kind or service_class(folder)
    with blaming(folder / "src" / "server.py"):
        return kind(settings, models, metrics, folder)


def set_up(service: Service) -> None:
    """Call a service's setup, for a command that shows no log. Raises StartError, which names the line that failed."""
    try:
        with blaming(service.folder / "src" / "server.py", "setup failed: "):
            service.setup()
    except StartError as error:
        if isinstance(error.__cause__, ModelFailed):  # its words point to the log; what it comes from is told here
            raise StartError(f"setup failed: {error.__cause__.__cause__ or error.__cause__}") from error
        raise StartError(str(error).removesuffix(ABOVE)) from error


def silence() -> None:
    """Show no logs, neither ours nor onnxruntime's, for a command that tells in words what failed; MONOPOD_DEBUG shows them."""
    if not os.environ.get("MONOPOD_DEBUG"):
        logging.getLogger().addHandler(logging.NullHandler())
        quiet()
