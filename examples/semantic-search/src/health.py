"""Judges a pod's memory, cores and queue by stated thresholds."""

from collections.abc import Mapping
from typing import Any

MEMORY = 0.85  # of the limit over which the pod is killed
CORES = 0.9  # of the cores that the pod asks for
QUEUE = 0.5  # of the rows that may wait
AGE = 1.0  # seconds that the oldest row has waited


def judged(vitals: Mapping[str, Any], corpus_sentences: int) -> dict[str, Any]:
    """Return the verdict, its reasons, the figures and the thresholds.

    The verdict is "short of memory", else "busy", else "ok". The platform answers 503 until the service has started.
    """
    memory = vitals["memory_bytes"] / vitals["memory_limit_bytes"]
    cores = vitals["cpu_cores"] / vitals["cpu_cores_asked"]
    queue = vitals["queue_rows"] / vitals["queue_limit"]
    age = vitals["oldest_seconds"]
    short = [f"memory is at {memory:.0%} of its limit; {MEMORY:.0%} is much"] if memory >= MEMORY else []
    busy = [f"cores are at {cores:.0%} of those asked for; {CORES:.0%} is much"] if cores >= CORES else []
    busy += [f"the queue is at {queue:.0%} of its limit; {QUEUE:.0%} is much"] if queue >= QUEUE else []
    busy += [f"the oldest question has waited {age:.1f} s; {AGE:g} s is much"] if age >= AGE else []
    verdict = "short of memory" if short else "busy" if busy else "ok"
    return {
        "verdict": verdict,
        "reasons": short + busy,
        **vitals,
        "corpus_sentences": corpus_sentences,
        "thresholds": {"memory": MEMORY, "cores": CORES, "queue": QUEUE, "oldest_seconds": AGE},
    }
