"""The check of a service's own alerts: their queries, labels and templates.

In: the rules of alerts.yaml. Out: mistakes, each with its line. Asks no Prometheus.
"""
