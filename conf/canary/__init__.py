"""Judges a canary by counts: whether the new version is worse than the old one, good, or not known yet.

In: counts of the canary's pods and of the baseline's since a step began, and what the service's settings allow. Out: a verdict
with its figures and words. Pure, and of the standard library alone: asks no cluster, no Prometheus and no clock.

In the order in which a driver of a canary needs them:

  counts.latency_edges(buckets)                      the histogram's bounds to judge by, before the first step
  sample_size.seconds_until_found(rate, share, ...)  for how long a step must last to find more errors
  sample_size.requests_until_good(share, ...)        how many requests show that a canary is like its baseline
  counts.Counts, errors(...), alike(...)             the counts of one metric of one arm, as their counters give them
  verdict.passed_limits(canary, baseline, ...)       the limits of memory, restarts and batch cost that the canary passed
  verdict.sample_ratio_error(canary, baseline, ...)  why no verdict is possible: routing did not give the share
  verdict.judge(canary, baseline, share, settings)   the verdict, after every scrape

`share` is always the canary's part of the requests to both arms together. Beside a baseline of its own it is 0.5. Where the old
pods are the baseline, they get all other requests, so it is s / 100 in a step of s %.

docs/canary.md has the reasons and the figures.
"""
