"""Names that forks from before version 0.2 import from modules that moved: they are found where they are now, with a warning.

An update of the platform replaces no server.py, so an old import must go on working.
"""

import importlib
import sys
import warnings
from collections.abc import Callable, Collection, Sequence
from importlib.abc import Loader, MetaPathFinder
from importlib.machinery import ModuleSpec
from types import ModuleType
from typing import Any

MODULES = {  # a module that is gone -> the module that holds its names now
    "serving.alone": "serving.service.loader",
    "serving.engine": "serving.models.engine",
    "serving.errors": "serving.base.errors",
    "serving.lifetime": "serving.base.lifetime",
    "serving.memory": "serving.base.process",
    "serving.metrics": "serving.telemetry.metrics",
    "serving.model": "serving.models.model",
    "serving.progress": "serving.base.terminal",
    "serving.schema": "serving.settings",
    "serving.tensors": "serving.models.tensors",
}
RENAMED = {"Models": "ModelRegistry", "SchemaError": "SettingsError"}


def getattr_of(module: str, names: Collection[str] = (), home: str = "serving.api") -> Callable[[str], Any]:
    """Return a module's __getattr__, which finds names in serving.api, or else in their new home, and warns.

    names: those that it finds, by default all. It raises AttributeError for other names. It imports modules by their names,
    since no folder imports one above it.
    """

    def find(name: str) -> Any:
        if not name.startswith("_") and (not names or name in names):
            new = RENAMED.get(name, name)
            for place in map(importlib.import_module, ("serving.api", home)):
                if hasattr(place, new):
                    words = f"{name} is imported from {module}; import {'it' if new == name else new} from {place.__name__}"
                    warnings.warn(words, FutureWarning, stacklevel=2)
                    return getattr(place, new)
        raise AttributeError(f"{module} has no {name!r}; a service's code imports from serving.api")

    return find


class _MovedModules(MetaPathFinder, Loader):
    def find_spec(self, fullname: str, path: Sequence[str] | None, target: ModuleType | None = None) -> ModuleSpec | None:
        return ModuleSpec(fullname, self) if fullname in MODULES else None

    def create_module(self, spec: ModuleSpec) -> None:
        return None

    def exec_module(self, module: ModuleType) -> None:
        module.__dict__["__getattr__"] = getattr_of(module.__name__, home=MODULES[module.__name__])


def find_moved_modules() -> None:
    """Have Python find the modules that are gone."""
    sys.meta_path.append(_MovedModules())
