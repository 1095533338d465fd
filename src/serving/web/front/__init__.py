"""HTTP/1.1 on one event loop: bytes of sockets in, whole requests out, answers back.

In: connections. Out: each request as a RequestCycle, given to the function `run` of the port's rules.
"""
