"""From value.py to running pods: load, plan, render, check. Imports nothing of the runtime but serving.schema.

Read in the order of tests/test_layers.py, the lowest module first. A plan is data; only files are read, no cluster is asked.
"""
