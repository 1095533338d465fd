"""Groups of settings that stand apart from Settings, and the function that declares one.

Comes in: kinds of values. Goes out: dataclasses that Settings takes over.
"""
