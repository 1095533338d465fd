"""The settings of value.py: their declarations, the reader of the file, and the rules between settings.

In: the text of value.py and the regions' names. Out: Settings, or every mistake with its line. The standard library only, since
the pod and the deploy job both read value.py.
"""

from serving.settings import gpu_memory
from serving.settings.declarations import SESSION_GIB, Declaration, Settings, declared_settings, latency_objective
from serving.settings.nearest import Nearest, misnamed_hooks
from serving.settings.partial import all_judged, judged
from serving.settings.reader import SettingsError, ValueFile, load, read
from serving.settings.text_files import UnreadableError, text_of
from serving.settings.validators import size_in_bytes

__all__ = [
    "SESSION_GIB",
    "Declaration",
    "Nearest",
    "SettingsError",
    "Settings",
    "UnreadableError",
    "ValueFile",
    "declared_settings",
    "all_judged",
    "gpu_memory",
    "judged",
    "latency_objective",
    "load",
    "misnamed_hooks",
    "read",
    "size_in_bytes",
    "text_of",
]
