"""The plan: every name, path, number and label that a service's objects hold in one region.

In: settings and a region. Out: data. Pure: reads no file, asks no cluster.
"""
