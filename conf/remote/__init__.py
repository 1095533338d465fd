"""Requests over the network: to API servers, image registries and webhooks.

In: a request. Out: its answer, or an error with the cure. Each module is the only one that knows its kind of server.
"""
