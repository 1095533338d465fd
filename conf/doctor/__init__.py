"""The way from a checkout to running pods, checked link by link.

In: a service, its regions and an environment. Out: findings, each with a cure where something is wrong. Changes nothing.
"""
