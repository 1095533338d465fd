"""The loading of a service: its value.py, its class or application in src/server.py, and errors that name lines of its code."""

import contextlib
import dataclasses
import importlib.util
import inspect
import logging
import os
import sys
import traceback
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from serving.base.errors import ModelFailed, StartError
from serving.models.engine import quiet
from serving.models.registry import ModelRegistry
from serving.service.application import PAGE, application_class, applications_in, is_wsgi
from serving.service.service import Service
from serving.settings import Settings, load, misnamed_hooks, names_of_server
from serving.telemetry.metrics import Metrics

log = logging.getLogger("monopod.start")

TRACEBACK_ABOVE = "; the traceback is above"
PLATFORM_CODE = Path(__file__).parents[1]  # it too lies in src/


def read_settings(folder: Path) -> tuple[Settings, list[str]]:
    """Return the settings of a folder's value.py in this process's region, and the warnings. Raises SettingsError."""
    names = os.environ.get("MONOPOD_REGIONS", "")
    file = load(folder / "value.py", names.split(",") if names else None)
    return file.in_region(os.environ.get("MONOPOD_REGION", "")), list(file.warnings)


def service_class(folder: Path) -> type[Service]:
    """Return the subclass of Service in src/server.py, or one that stands for the WSGI application there.

    Without such a file it is Service itself. Raises StartError.
    """
    path = folder / "src" / "server.py"
    if not path.is_file():
        return Service
    sys.path.insert(0, str(path.parent))
    spec = importlib.util.spec_from_file_location("server", path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules["server"] = module
    os.environ["FLASK_RUN_FROM_CLI"] = "true"  # app.run() outside of a guard then returns, as with `flask run`
    with blaming(path):
        spec.loader.exec_module(module)
    services = [c for c in vars(module).values() if isinstance(c, type) and issubclass(c, Service) and c.__module__ == "server"]
    applications = applications_in(module)
    if len(services) + len(applications) != 1:
        raise StartError(f"{path}: {_not_one([each.__name__ for each in services], list(applications), folder)}")
    for words in misnamed_hooks(folder):
        log.warning(words)
    for name, application in applications.items():
        if not is_wsgi(application):
            raise StartError(
                f"{path}, line {names_of_server(folder).get(name, 1)}: {name} is an ASGI application, as FastAPI's and "
                f"Starlette's are, and WSGI applications such as Flask's are served; {PAGE}#asgi tells how to move"
            )
        return application_class(application)
    return services[0]


def _not_one(services: list[str], applications: list[str], folder: Path) -> str:
    """Return what is wrong with a src/server.py that holds none or several, with the line of each."""
    lines = names_of_server(folder)
    cure = (
        "leave one, and move the others to modules that it does not import from"
        if services or applications
        else ("write class Mine(Service), or app = Flask(__name__)")
    )

    def where(names: list[str]) -> str:
        return f" ({', '.join(f'{name} in line {lines.get(name, 1)}' for name in names)})" * bool(names)

    return (
        f"holds {len(services)} subclasses of Service{where(services)} and {len(applications)} applications"
        f"{where(applications)}, and must hold one of either; {cure} ({PAGE})"
    )


@contextlib.contextmanager
def blaming(path: Path, what: str = "") -> Iterator[None]:
    """Turn any exception of the service's own code into a StartError, and sys.exit too, which would end without a message.

    path: the file that the message names. what: the step that failed, with a colon and a space.
    """
    try:
        yield
    except StartError:
        raise
    except ModuleNotFoundError as error:
        if (error.name or "").startswith("serving."):
            raise StartError(f"{path}: {what}there is no {error.name}; a service's code imports from serving.api") from error
        raise StartError(
            f"{path}: {what}it imports {error.name}, which is not installed; name its package in src/requirements.txt, and "
            "install it: `make model SERVICE=...`"
        ) from error
    except (Exception, SystemExit) as error:
        log.exception("src/server.py fails")
        raise StartError(f"{path}: {what}{described(error, path.parent)}{TRACEBACK_ABOVE}") from error


def described(error: BaseException, folder: Path) -> str:
    """Return an exception's type and text, and the line of the folder's code that it came from."""
    where = line_of(error, folder)
    return f"{type(error).__name__}: {error}" + (f" ({where})" if where else "")


def line_of(error: BaseException, folder: Path) -> str:
    """Return the file and line of the folder's code that an error came from, "" where it came from elsewhere."""
    files = ((Path(at.filename), at.lineno) for at in reversed(traceback.extract_tb(error.__traceback__)))
    own = ((file, line) for file, line in files if file.is_relative_to(folder) and not file.is_relative_to(PLATFORM_CODE))
    return next((f"{file.name}, line {line}" for file, line in own), "")


def place_of(function: Callable[..., Any]) -> str:
    """Return the file and line in which a function's definition begins."""
    code = inspect.unwrap(function).__code__
    return f"{Path(code.co_filename).name}, line {code.co_firstlineno}"


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
