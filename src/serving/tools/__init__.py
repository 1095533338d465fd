"""Commands beside the server: verify, bench, optimize. The server uses nothing of them.

In: a service's folder or a running service's URL. Out: a report for people or as JSON. An image holds verify alone.
"""
