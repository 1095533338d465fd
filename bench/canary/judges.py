"""Judges of simulated canaries: the platform's own, fixed thresholds, and a Mann-Whitney gate.

Each tells for every release at which look it first calls the canary worse.
"""

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from bench.canary.fixed_size import at_least
from bench.canary.world import BASELINE, CANARY, METRICS, Floats, Integers, Runs
from conf.canary.counts import Counts, alike, errors
from conf.canary.verdict import GOOD, WORSE, Judging, Metric, Verdict, judge

MARGINS = (0.005, 0.005, 0.1, 0.03, 0.015)
SHARE = 0.5  # of both arms' requests: the baseline has as many pods as the canary
NEVER = -1
GOOD_EVERY = 4  # scrapes: a verdict good is looked for once a minute, since bounds take their time

MINUTE, CHECKS = 4, 5  # scrapes; failed checks at which fixed thresholds give up, as Flagger's `threshold: 5`
THRESHOLDS = np.array([0.01, 0.01, 0.1, 0.03, 0.015])  # by which a share may be over the known one
PLAIN_ERROR = 0.01  # of each metric and step
GATE_LOOKS, GATE_Z = 40, 2.326  # scrapes that a gate compares; one-sided 1 %


@dataclass(frozen=True)
class Found:
    """look: of the first verdict worse, or NEVER. metric: its number in METRICS."""

    look: Integers
    metric: Integers


def settings(steps: int, tolerance: float = 1.25) -> Judging:
    metrics = tuple(Metric(name, margin) for name, margin in zip(METRICS, MARGINS, strict=True))
    return Judging(metrics, tolerance, steps=steps)


def worse(runs: Runs, judging: Judging, batch: float, by_cause: bool = True) -> Found:
    """Judge every look as a driver does, by the platform's own code. by_cause: False counts each bad request for itself.

    Most looks need no exact evidence, since `_most_evidence` is not below E.
    """
    requests, bad = runs.requests.cumsum(axis=1), runs.bad.cumsum(axis=1)
    failed = runs.failed_batches.cumsum(axis=1)
    limit = math.log(judging.threshold)
    maybe = _most_evidence(requests, _causes(bad, failed, batch) if by_cause else bad.astype(float), judging) >= limit
    found = Found(np.full(len(requests), NEVER), np.full(len(requests), NEVER))
    for release, look in zip(*np.nonzero(maybe.any(axis=2)), strict=True):
        if found.look[release] != NEVER:
            continue
        each = verdict(requests[release, look], bad[release, look], failed[release, look], judging, batch, by_cause)
        if each.state == WORSE:
            found.look[release] = look
            found.metric[release] = [one.state for one in each.metrics].index(WORSE)
    return found


def good(runs: Runs, judging: Judging, batch: float) -> Integers:
    """Return the first look of each release at which the verdict is good, or NEVER."""
    requests, bad = runs.requests.cumsum(axis=1), runs.bad.cumsum(axis=1)
    failed = runs.failed_batches.cumsum(axis=1)
    shares = bad / np.maximum(requests, 1)[..., None]
    maybe = (shares[:, :, CANARY] - shares[:, :, BASELINE] < MARGINS).all(axis=2)  # bounds are outside of the shares
    looks = np.full(len(requests), NEVER)
    for release, look in zip(*np.nonzero(maybe), strict=True):
        if looks[release] == NEVER and (look + 1) % GOOD_EVERY == 0:
            each = verdict(requests[release, look], bad[release, look], failed[release, look], judging, batch)
            looks[release] = look if each.state == GOOD else NEVER
    return looks


def verdict(
    requests: Integers, bad: Integers, failed: Integers, judging: Judging, batch: float, by_cause: bool = True
) -> Verdict:
    """Return the verdict on counts since a step began. requests, failed: (2,). bad: (2, m)."""
    arms = []
    for arm in (CANARY, BASELINE):
        total = int(requests[arm])
        counts = [errors(total, int(bad[arm, 0]), int(bad[arm, 0]), int(failed[arm]), batch)]
        counts += [alike(total, int(number), batch) for number in bad[arm, 1:]]
        if not by_cause:
            counts = [Counts(each.requests, each.bad) for each in counts]
        arms.append(dict(zip(METRICS, counts, strict=True)))
    return judge(arms[CANARY], arms[BASELINE], SHARE, judging)


def fixed_thresholds(runs: Runs, known: Floats) -> NDArray[np.bool_]:
    """Return for each release and minute whether its check failed, (n, minutes). known: the bad shares before the canary.

    A check fails where the canary's share of the last minute is over the known one by more than a threshold.
    """
    minutes = runs.looks // MINUTE
    bad = runs.bad[:, : minutes * MINUTE, CANARY].reshape(len(runs.bad), minutes, MINUTE, -1).sum(axis=2)
    requests = runs.requests[:, : minutes * MINUTE, CANARY].reshape(len(runs.bad), minutes, MINUTE).sum(axis=2)
    return np.asarray((bad / np.maximum(requests, 1)[..., None] > known + THRESHOLDS).any(axis=2))


def plain_tests(runs: Runs, batch: float) -> NDArray[np.bool_]:
    """Return for each release whether one of the metrics is worse in a fixed-size test at the step's end, (n,).

    Each test is an exact one of PLAIN_ERROR, without tolerance, and counts causes as the platform does.
    """
    causes = _causes(runs.bad.sum(axis=1)[:, None], runs.failed_batches.sum(axis=1)[:, None], batch)[:, 0]
    failed = np.zeros(len(causes), bool)
    for release, arms in enumerate(causes.round()):
        tails = (at_least(canary, canary + baseline, SHARE) for canary, baseline in arms.T if canary > baseline)
        failed[release] = min(tails, default=1.0) <= PLAIN_ERROR
    return failed


def mann_whitney(runs: Runs) -> NDArray[np.bool_]:
    """Return for each release and window of GATE_LOOKS scrapes whether the gate fails, (n, windows).

    The gate compares the bad shares of single scrapes, by ranks, for each metric alone, as Kayenta's judge compares series.
    """
    shares = runs.bad / np.maximum(runs.requests, 1)[..., None]
    windows = runs.looks // GATE_LOOKS
    failed = np.zeros((len(shares), windows), bool)
    for window in range(windows):
        part = shares[:, window * GATE_LOOKS : (window + 1) * GATE_LOOKS]
        failed[:, window] = (rank_z(part[:, :, CANARY], part[:, :, BASELINE]) > GATE_Z).any(axis=1)
    return failed


def rank_z(canary: Floats, baseline: Floats) -> Floats:
    """Return the standardised U of the canary's values over the baseline's. Both: (n, k, m). Result: (n, m)."""
    k = canary.shape[1]
    above = (canary[:, :, None] > baseline[:, None]).sum(axis=(1, 2)) + (canary[:, :, None] == baseline[:, None]).sum(
        axis=(1, 2)
    ) / 2
    both = np.sort(np.concatenate([canary, baseline], axis=1), axis=1)
    ties = sum((both == both[:, each : each + 1]).sum(axis=1).astype(float) ** 2 - 1 for each in range(2 * k))
    variance = k * k / 12 * (2 * k + 1 - ties / (2 * k * (2 * k - 1)))
    return np.asarray((above - k * k / 2) / np.sqrt(np.maximum(variance, 1e-9)))


def _causes(bad: Integers, failed: Integers, batch: float) -> Floats:
    """Return the causes of bad requests, as the platform counts them. bad: (n, k, 2, m). failed: (n, k, 2)."""
    together = np.full(bad.shape, batch, float)
    together[..., 0] = np.maximum(bad[..., 0] / np.maximum(failed, 1), 1)
    return np.asarray(bad / together.max(axis=2, keepdims=True))


def _most_evidence(requests: Integers, causes: Floats, judging: Judging) -> Floats:
    """Return an upper bound of ln E, (n, k, m).

    E is the mean, over all p above the tolerance's, of likelihoods as multiples of that one. By Pinsker's inequality the
    likelihood of p is at most that of the share that was seen, times exp(-2 n (p - share)^2).
    """
    share = np.maximum(requests[..., CANARY] / np.maximum(requests.sum(axis=2), 1), SHARE)[..., None]
    most = judging.tolerance * share / (judging.tolerance * share + 1 - share)
    canary, total = causes[:, :, CANARY], causes.sum(axis=2)
    with np.errstate(divide="ignore", invalid="ignore"):
        seen = canary / total
        best = np.nan_to_num(canary * np.log(seen / most)) + np.nan_to_num((total - canary) * np.log((1 - seen) / (1 - most)))
        bound = best + np.minimum(np.log(math.pi / (2 * total)) / 2 - np.log(1 - most), 0)
    return np.where((total > 0) & (seen > most), bound, -math.inf)
