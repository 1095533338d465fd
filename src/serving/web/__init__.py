"""HTTP around the core: connections, admission, routes, drain, and the admin port.

In: bytes of connections. Out: answers, or refusals. Everything about HTTP is here, and nothing that computes.
"""
