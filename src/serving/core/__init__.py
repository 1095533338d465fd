"""The path of a request: decode -> preprocess -> model -> postprocess -> encode.

In: a body's bytes with a deadline. Out: a future of an answer's bytes. Knows the service's hooks and its models, and the
threads on which they run. Does not know HTTP.
"""
