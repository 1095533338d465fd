"""What experience asks of a service beyond schemas: one small function a rule, each named after its rule.

A rule yields what is broken, in words that end with the cure. Rules that need one region see a Case; rules that need the
whole service, or its neighbours, see them all.
"""
