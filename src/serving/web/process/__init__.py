"""A serving process from its start to its end, whatever brings its requests.

In: a service's folder. Out: its settings, models and core, its admin port and gauges, and an exit code.
"""
