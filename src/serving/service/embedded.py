"""Embedded use of a service, without a server: in scripts, in a service's tests, and in commands that read its models.

Knows how a service is put together. Does not know ports or probes.
"""

import dataclasses
import logging
import os
from pathlib import Path

from serving.base.errors import ModelFailed, StartError
from serving.models.engine import quiet
from serving.models.registry import ModelRegistry
from serving.service.own_code import TRACEBACK_ABOVE, blaming, service_class
from serving.service.service import Service
from serving.settings import Settings, load
from serving.telemetry.metrics import Metrics


def read_settings(folder: Path) -> tuple[Settings, list[str]]:
    """Return the settings of a folder's value.py in this process's region, and the warnings. Raises SettingsError."""
    names = os.environ.get("MONOPOD_REGIONS", "")
    file = load(folder / "value.py", names.split(",") if names else None)
    return file.in_region(os.environ.get("MONOPOD_REGION", "")), list(file.warnings)


def open_service(folder: Path, provider: str = "", kind: type[Service] | None = None) -> Service:
    """Return the service of a folder, from its value.py and its src/server.py. Its `setup` is not called.

    A model is loaded on its first use. provider: replaces the setting of value.py. kind: replaces the class of src/server.py.
    Raises SettingsError for a wrong value.py, StartError where the service's own code fails.
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
    """Call a service's setup, for a command that shows no log. Raises StartError, which names the failing line."""
    try:
        with blaming(service.folder / "src" / "server.py", "setup failed: "):
            service.setup()
    except StartError as error:
        if isinstance(error.__cause__, ModelFailed):  # its text points to the log; the cause is shown in its place
            raise StartError(f"setup failed: {error.__cause__.__cause__ or error.__cause__}") from error
        raise StartError(str(error).removesuffix(TRACEBACK_ABOVE)) from error


def silence() -> None:
    """Turn off the logs of the platform and of onnxruntime, for a command that prints errors. MONOPOD_DEBUG keeps them."""
    if not os.environ.get("MONOPOD_DEBUG"):
        logging.getLogger().addHandler(logging.NullHandler())
        quiet()
