"""Records of files and queries, for refilling what sinks hold.

Comes in: paths or a query. Goes out: records, and a note of those that are done.
"""
