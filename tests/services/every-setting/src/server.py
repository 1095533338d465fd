"""Tensors in, tensors out: the model alone answers."""

from serving.api import Service


class EverySetting(Service):
    """A service without hooks."""
