"""A service as its metrics show it: figures now, its health, its logs, and a report on days.

In: a service's tracks, and a region's Prometheus. Out: figures, reasons for concern, pages.
"""
