"""The models of a service, their queues and their batches.

In: calls, each with its arrays and its deadline. Out: futures of arrays. Knows no request, no bytes and no HTTP.
"""

from serving.base.moved_names import found_in_api

__getattr__ = found_in_api(__name__, {"Handle"})
