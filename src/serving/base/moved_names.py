"""Names that forks from before version 0.2 import from modules that moved: they are found in serving.api, with a warning.

Knows the names of those modules. An update of the platform replaces no server.py, so an old import must go on working.
"""

import importlib
import sys
import warnings
from collections.abc import Callable, Collection, Sequence
from importlib.abc import Loader, MetaPathFinder
from importlib.machinery import ModuleSpec
from types import ModuleType
from typing import Any

MODULES = frozenset(f"serving.{name}" for name in ("alone", "engine", "errors", "lifetime", "tensors"))


def found_in_api(module: str, names: Collection[str] = ()) -> Callable[[str], Any]:
    """Return a module's __getattr__, which warns. names: those that it finds, by default all of serving.api.

    It raises AttributeError for other names. It imports serving.api by its name, since no folder imports one above it.
    """

    def find(name: str) -> Any:
        if not name.startswith("_") and name in (names or importlib.import_module("serving.api").__all__):
            warnings.warn(f"{name} is imported from {module}; import it from serving.api", FutureWarning, stacklevel=2)
            return getattr(importlib.import_module("serving.api"), name)
        raise AttributeError(f"{module} has no {name!r}; a service's code imports from serving.api")

    return find


class _MovedModules(MetaPathFinder, Loader):
    def find_spec(self, fullname: str, path: Sequence[str] | None, target: ModuleType | None = None) -> ModuleSpec | None:
        return ModuleSpec(fullname, self) if fullname in MODULES else None

    def create_module(self, spec: ModuleSpec) -> None:
        return None

    def exec_module(self, module: ModuleType) -> None:
        module.__dict__["__getattr__"] = found_in_api(module.__name__)


def find_moved_modules() -> None:
    """Have Python find the modules that are gone."""
    sys.meta_path.append(_MovedModules())
