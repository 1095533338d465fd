"""Judges a canary by counts: whether the new version is worse than the old one, good, or not known yet.

In: counts of the canary's pods and of the baseline's since a step began, and what the service's settings allow. Out: a verdict
with its figures and words. Pure, and of the standard library alone: asks no cluster, no Prometheus and no clock.

`share` is always the canary's part of the requests to both arms together. Beside a baseline of its own it is 0.5. Where the old
pods are the baseline, they get all other requests, so it is s / 100 in a step of s %.

docs/canary.md has the reasons and the figures.
"""
