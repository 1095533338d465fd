"""What value.py may say. Standard library only, since the pod and the deploy job both read it."""

from serving.schema import shares
from serving.schema.files import UnreadableError, text_of
from serving.schema.kinds import size_in_bytes
from serving.schema.nearest import Nearest
from serving.schema.partial import all_judged, judged
from serving.schema.reader import SchemaError, ValueFile, load, read
from serving.schema.settings import SESSION_GIB, About, Settings, about

__all__ = [
    "SESSION_GIB",
    "About",
    "Nearest",
    "SchemaError",
    "Settings",
    "UnreadableError",
    "ValueFile",
    "about",
    "all_judged",
    "judged",
    "load",
    "read",
    "shares",
    "size_in_bytes",
    "text_of",
]
