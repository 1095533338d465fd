"""The clusters, one for each region, as conf/regions.yaml describes them."""
