"""The class that a service writes, the request that its hooks read, and the loading of its own code.

In: a service's folder. Out: an instance of its subclass of Service. Does not know HTTP.
"""

import importlib
import warnings
from typing import Any

MOVED_TO_API = frozenset(
    {"Answer", "Array", "Arrays", "BadInput", "QueueFull", "Request", "Service", "StartError", "TensorSpec", "TooLarge"}
    | {"make_request", "route"}
)


def __getattr__(name: str) -> Any:
    """Return a name that forks from before version 0.2 import from here, and warn that it is in serving.api now."""
    if name not in MOVED_TO_API:
        raise AttributeError(f"{__name__} has no {name!r}; a service's code imports from serving.api")
    warnings.warn(f"{name} is imported from serving.service; import it from serving.api", FutureWarning, stacklevel=2)
    return getattr(importlib.import_module("serving.api"), name)  # not an import statement: no folder imports one above it
