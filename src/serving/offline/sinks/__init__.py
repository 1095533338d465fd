"""Where answers go: a topic, a table, or lines.

Comes in: answers. Goes out: their acknowledgement or refusal.
"""
