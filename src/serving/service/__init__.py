"""The class that a service writes, the request that its hooks read, and the loading of its own code.

In: a service's folder. Out: an instance of its subclass of Service.
"""

from serving.base.moved_names import getattr_of

MOVED_TO_API = frozenset(
    {"Answer", "Array", "Arrays", "BadInput", "QueueFull", "Request", "Service", "StartError", "TensorSpec", "TooLarge"}
    | {"make_request", "route"}
)
__getattr__ = getattr_of(__name__, MOVED_TO_API)
