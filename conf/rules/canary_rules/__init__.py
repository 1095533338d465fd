"""Rules about canaries: their room, their names, and callers beside the gateway.

In: a service's plan in a region, and other services. Out: violations.
"""
