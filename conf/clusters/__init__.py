"""The clusters, one for each region, as conf/regions.yaml describes them.

In: regions.yaml. Out: frozen dataclasses, or every mistake at once with its line. Asks no cluster.
"""
