"""Generated YAML and values: objects of a plan, the objects of a canary, the pipeline's jobs, and the values of charts.

Equal input gives equal output. A plan that lacks a value which a template places is an error.
"""
