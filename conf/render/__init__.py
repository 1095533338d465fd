"""Generated YAML: the objects of a plan, by the templates in templates/, and the pipeline's jobs for each region.

In: plans and regions. Out: text, the same for equal input, or an error where a plan lacks a value that a template places. A
release's rendered objects come in too, and a canary's objects and shares go out.
"""
