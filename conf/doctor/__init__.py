"""Checks of everything that a deploy needs: the checkout, the pipeline, the registry, each cluster and its gateway.

In: a service, its regions and an environment. Out: findings, each with a cure where something is wrong. Changes nothing.
"""
