"""Models in memory: arrays in, arrays out.

In: calls, each with its arrays and its deadline. Out: futures of arrays. Calls of one model share batches; the registry loads
models and unloads them. Knows no request, no bytes and no HTTP.
"""
