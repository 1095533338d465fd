"""The values of the charts in charts/, made from regions.yaml.

In: regions and a region's name. Out: plain tables that a chart places, and that its values.schema.json judges. Asks no cluster.
"""
