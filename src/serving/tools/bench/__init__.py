"""`monopod bench`: measure a running service under load.

Knows a URL and the requests for it. Does not know what answers there, or whether a figure is good.
"""
