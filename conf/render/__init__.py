"""Plans become YAML, by the templates in templates/.

In: a plan. Out: text, the same for the same plan, or an error where a template misses a value.
"""
