"""The settings of value.py: their declarations, the reader of the file, and the rules between settings.

In: the text of value.py and the regions' names. Out: Settings, or every mistake with its line. Both halves read value.py by
this package, so it uses the standard library only.
"""

from serving.settings import gpu_memory
from serving.settings.declarations import (
    SESSION_GIB,
    Declaration,
    Settings,
    declared_settings,
    latency_objective,
    process_memory,
    replicas,
)
from serving.settings.reader import Nearest, UnreadableError, text_of
from serving.settings.server_file import APPLICATION_NAMES, NOT_WSGI, faults_of_server, misnamed_hooks, names_of_server
from serving.settings.validators import size_in_bytes
from serving.settings.value_file import SettingsError, ValueFile, load, read, skip_wrong, skip_wrong_items

__all__ = [
    "APPLICATION_NAMES",
    "NOT_WSGI",
    "SESSION_GIB",
    "Declaration",
    "Nearest",
    "SettingsError",
    "Settings",
    "UnreadableError",
    "ValueFile",
    "declared_settings",
    "gpu_memory",
    "faults_of_server",
    "latency_objective",
    "load",
    "misnamed_hooks",
    "names_of_server",
    "process_memory",
    "read",
    "replicas",
    "size_in_bytes",
    "skip_wrong",
    "skip_wrong_items",
    "text_of",
]
