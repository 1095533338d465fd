"""The begins of a request's stages, made from seconds and told as seconds."""

import math
from collections.abc import Sequence

import numpy as np

from serving.settings.exported_metrics import STAGES
from serving.telemetry.request_metrics import END, NUMBERS, stage_seconds


def begins_of(**seconds: float) -> tuple[float, ...]:
    """Return the begins of a request that has these stages, one after the other from 0 s on."""
    found, now = [], 0.0
    for stage, spent in seconds.items():
        found += [NUMBERS[stage], now]
        now += spent
    return (*found, END, now)


def seconds_of(begins: Sequence[float]) -> dict[str, float]:
    """Return the seconds of each stage that a request had."""
    row = stage_seconds(np.array(begins).reshape(-1, 2))[0]
    return {stage: seconds for stage, seconds in zip(STAGES, row.tolist(), strict=True) if not math.isnan(seconds)}
