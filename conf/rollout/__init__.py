"""From rendered objects to running pods, and back.

Knows releases, their order and their troubles. Only conf.cluster talks to Kubernetes, and only through it is anything changed.
"""
