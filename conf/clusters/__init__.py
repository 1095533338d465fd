"""The clusters: what conf/regions.yaml says of each region.

In: regions.yaml. Out: frozen dataclasses, or every mistake at once with its line. Asks no cluster.
"""
