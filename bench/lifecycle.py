"""A server's start, and its memory at rest."""

import time
from dataclasses import dataclass
from statistics import median

from bench import process, tools
from bench.served import serve
from bench.work import Work

REST_SECONDS = 5.0
CONNECTIONS = 32


@dataclass(frozen=True)
class Life:
    """Seconds and MB. start: from the command to ready. model_seconds: the part of it for loading and warming the model."""

    start: float
    model_seconds: float
    beyond: float
    idle: float
    loaded: float
    after: float


def measure(work: Work, starts: int, load_seconds: int) -> Life:
    """Start a server several times, then load the last one, and measure its memory at rest."""
    seconds, model_seconds, idle = [], [], []
    for number in range(starts):
        with serve(work.folder) as server:
            seconds.append(server.seconds)
            model_seconds.append(server.model_seconds)
            time.sleep(1.0)
            idle.append(process.resident(server.pid))
            if number == starts - 1:
                with process.Watch(server.pid) as watch:
                    tools.closed(server.url, work, CONNECTIONS, load_seconds)
                time.sleep(REST_SECONDS)
                after = process.resident(server.pid)
    beyond = median(whole - model for whole, model in zip(seconds, model_seconds, strict=True))
    return Life(median(seconds), median(model_seconds), beyond, median(idle), watch.most, after)
