"""The plan: every name, path, number and label that a service's objects hold in one region.

In: settings and a region. Out: data. Reads no file but alerts.yaml, and asks no cluster.
"""
