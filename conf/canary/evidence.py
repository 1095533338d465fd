"""The evidence that a canary is worse: an e-process over bad requests, each of which is either the canary's or the baseline's.

Knows two counts and a share. Does not know metrics or settings.
"""

import math

from conf.canary.beta_functions import log_beta, log_incomplete_beta


def share_of_bad(share: float, tolerance: float) -> float:
    """Return the probability that a bad request is the canary's, where its bad share is `tolerance` times the baseline's.

    share: the canary's part of both arms' requests, r. The result is t r / (t r + 1 - r). As only bad requests are looked at,
    it does not matter how often both arms fail, nor whether that changes with time.
    """
    return tolerance * share / (tolerance * share + 1 - share)


def log_evidence(canary: float, baseline: float, most: float) -> float:
    """Return ln E of the evidence that a bad request is the canary's with a probability over `most`.

    canary, baseline: numbers of bad requests, which need not be whole. E is the mean, over all p between `most` and 1, of the
    likelihood of p as a multiple of that of `most`: Beta(1, 1) cut to p above it. Where the probability is `most` or less, E
    is a non-negative supermartingale that begins at 1. So it ever reaches 1 / error with probability `error` at most,
    however often somebody looks (Ville's inequality). The source is Theorem 2.4 of Lindon and Malek, Anytime-Valid Inference
    for Multinomial Count Data, NeurIPS 2022, and the cut makes it one-sided. Where `most` is 0 or 1 nothing can be told: 0.0.
    """
    if not 0 < most < 1:
        return 0.0
    above = log_incomplete_beta(1 - most, baseline + 1, canary + 1)
    mixture = log_beta(canary + 1, baseline + 1) + above - math.log1p(-most)
    return mixture - canary * math.log(most) - baseline * math.log1p(-most)
