"""A WSGI application in src/server.py, such as a Flask program: how it is recognised, and the Service that stands for it.

An application is recognised by its shape. So nothing here imports Flask.
"""

import inspect
from collections.abc import Callable, Iterable
from pathlib import Path
from types import ModuleType
from typing import Any, ClassVar

from serving.base.errors import NotFound, StartError
from serving.models.registry import ModelRegistry
from serving.service.request import Request
from serving.service.service import Service
from serving.settings import APPLICATION_NAMES, NOT_WSGI, Settings
from serving.telemetry.metrics import Metrics

Wsgi = Callable[[dict[str, Any], Callable[..., Any]], Iterable[bytes]]
PAGE = "docs/flask.md"


class Application(Service):
    """A service that is a WSGI application. Its code reaches the models as `flask.current_app.monopod.models`."""

    wsgi: ClassVar["staticmethod[[dict[str, Any], Callable[..., Any]], Iterable[bytes]]"]

    def __init__(self, settings: Settings, models: ModelRegistry, metrics: Metrics, folder: Path):
        super().__init__(settings, models, metrics, folder)
        for name, unset in (("cache", "none"), ("offline_source", "")):
            if getattr(settings, name) != unset:
                raise StartError(
                    f"value.py: {name} is for a subclass of Service, and src/server.py holds a WSGI application; take the line "
                    f"out, or write the subclass ({PAGE})"
                )
        self.loaded: Callable[[], object] = bool
        if is_flask(self.wsgi):
            vars(self.wsgi)["monopod"] = self

    def setup(self) -> None:
        """Tell the server that the models are loaded."""
        self.loaded()

    def handle(self, request: Request) -> Any:
        """Raise NotFound: an application takes its requests from the server alone."""
        raise NotFound(f"src/server.py holds a WSGI application, which `monopod serve` alone sends requests to ({PAGE})")


def application_class(application: Wsgi) -> type[Service]:
    """Return a class of Service that stands for an application."""
    return type("MountedApplication", (Application,), {"wsgi": staticmethod(application)})


def applications_in(module: ModuleType) -> dict[str, Any]:
    """Return each application of a module by its first name: Flask's by any public name, others by one of APPLICATION_NAMES.

    Applications that are not WSGI's are among them.
    """
    found: dict[int, tuple[str, Any]] = {}
    for name, value in vars(module).items():
        named = name in APPLICATION_NAMES and callable(value) and not (isinstance(value, type) and issubclass(value, Service))
        if not name.startswith("_") and (named or is_flask(value)):
            found.setdefault(id(value), (name, value))
    return dict(found.values())


def is_flask(value: object) -> bool:
    """Return whether a value is a Flask application. The type is asked, since a proxy such as current_app may not be."""
    return callable(getattr(type(value), "wsgi_app", None))


def is_wsgi(value: object) -> bool:
    """Return whether a callable may be a WSGI application: it is neither a coroutine function nor of an ASGI framework."""
    called = inspect.getattr_static(value, "__call__", None)
    asynchronous = inspect.iscoroutinefunction(value) or inspect.iscoroutinefunction(called)
    return not asynchronous and type(value).__module__.split(".")[0] not in NOT_WSGI
