"""`monopod new`: a clone of the platform becomes a service of its own.

In: an ONNX file, or the name of an example. Out: the service's files, in place of the demo's.
"""
