"""What value.py may say. Standard library only, since the pod and the deploy job both read it."""

from serving.schema.kinds import size_in_bytes
from serving.schema.reader import SchemaError, ValueFile, load, read
from serving.schema.settings import About, Settings, about

__all__ = ["About", "SchemaError", "Settings", "ValueFile", "about", "load", "read", "size_in_bytes"]
