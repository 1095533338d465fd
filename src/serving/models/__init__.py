"""The models of a service, their queues and their batches.

In: calls, each with its arrays and its deadline. Out: arrays, as futures or by a callback on the loop.
"""

from serving.base.moved_names import getattr_of

__getattr__ = getattr_of(__name__, {"Handle", "Models"}, "serving.models.registry")
