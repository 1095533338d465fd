"""A week of load in rows a second, minute by minute: made by a seeded generator, and measured nowhere.

Working days have two peaks, the weekend has a flatter day, and the night has a seventh of the peak. Bursts begin within a
minute and fade. week.csv holds the rates, so that a reader sees them.
"""

from pathlib import Path

import numpy as np
import numpy.typing as npt

Rates = npt.NDArray[np.float64]
Rows = npt.NDArray[np.int64]

FILE = Path(__file__).with_name("week.csv")
SEED = 17
DAYS, MINUTES = 7, 24 * 60
PEAK = 900.0  # rows a second at the peak of a working day, without noise and bursts
NIGHT = 1 / 7  # of the peak
WEEKEND = 0.55  # of a working day
BURSTS = 24  # of a week
HEAD = (
    f"# Rows a second for each minute of a week from Monday 00:00, an hour a line. Made by bench/autoscaling/week.py with"
    f" seed {SEED}; nothing here was measured.\n"
)


def made(seed: int = SEED) -> Rates:
    """Return the rates of a week, rows a second for each of its 10,080 minutes."""
    random = np.random.default_rng(seed)
    hours = np.arange(DAYS * MINUTES) / 60
    day = np.where(hours < 5 * 24, _working_day(hours % 24), WEEKEND * _free_day(hours % 24))
    rates = PEAK * day * np.exp(_drift(random, len(hours)))
    burst = np.ones(len(hours))
    for begin in random.integers(0, len(hours) - 60, BURSTS):
        fading = 1 + random.uniform(0.5, 2.0) * np.exp(-np.arange(60) / random.integers(4, 20))
        burst[begin : begin + 60] = np.maximum(burst[begin : begin + 60], fading)
    return np.round(rates * burst)


def written(rates: Rates) -> str:
    """Return the text of week.csv."""
    return HEAD + "".join(",".join(f"{rate:.0f}" for rate in hour) + "\n" for hour in rates.reshape(-1, 60))


def read(path: Path = FILE) -> Rates:
    """Return the rates that a file holds."""
    return np.loadtxt(path, delimiter=",").reshape(-1)


def arrivals(rates: Rates, seed: int = SEED) -> Rows:
    """Return the rows that arrive in each second: Poisson numbers, whose mean rises and falls evenly between two minutes."""
    seconds = np.arange(len(rates) * 60)
    mean = np.interp(seconds, 60 * np.arange(len(rates)) + 30, rates)
    return np.random.default_rng(seed + 1).poisson(mean)


def _hump(hour: Rates, middle: float, width: float) -> Rates:
    away = np.minimum(np.abs(hour - middle), 24 - np.abs(hour - middle))
    found: Rates = np.exp(-((away / width) ** 2) / 2)
    return found


def _working_day(hour: Rates) -> Rates:
    peaks = (0.9 * _hump(hour, 10.5, 2.2), _hump(hour, 15.5, 2.2), 0.5 * _hump(hour, 20.5, 1.8))
    highest: Rates = np.maximum.reduce(peaks)
    return NIGHT + (1 - NIGHT) * highest


def _free_day(hour: Rates) -> Rates:
    return NIGHT + (1 - NIGHT) * np.maximum(_hump(hour, 14, 4.0), 0.8 * _hump(hour, 21, 2.0))


def _drift(random: np.random.Generator, count: int) -> Rates:
    """Return noise that moves slowly: each minute keeps 95 % of the one before; its standard deviation is about 0.1."""
    noise = np.zeros(count)
    for minute, step in enumerate(random.normal(0, 0.03, count - 1), start=1):
        noise[minute] = 0.95 * noise[minute - 1] + step
    return noise
