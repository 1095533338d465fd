"""Metrics for Prometheus, and log lines.

In: numbers and messages from every later folder. Out: the metrics page, and JSON lines on stdout.
"""
