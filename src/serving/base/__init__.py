"""Errors, deadlines, JSON, memory, addresses and thread priorities, for every other folder of the runtime.

In and out: plain values. Knows no model, no service and no HTTP.
"""
