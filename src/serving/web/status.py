"""The state of a service at a glance, as its page shows it live.

Knows the gate, the queues and the counts. Does not know routes.
"""

from collections.abc import Mapping
from typing import Any

from serving.models.registry import Models
from serving.settings import Settings
from serving.telemetry.metrics import Metrics
from serving.web.admission import READY, Gate


def health(gate: Gate, vitals: Mapping[str, Any]) -> dict[str, Any]:
    """Return whether the pod may be sent requests, its state, and its vitals: memory, cores and queue."""
    return {"ready": gate.state == READY, "state": gate.state, **vitals}


def status(settings: Settings, models: Models, metrics: Metrics, gate: Gate) -> dict[str, Any]:
    """Return the service's name, its state, its queue, and how many requests were answered with each code."""
    batchers = [model.batcher for model in models.loaded()]
    return {
        "service": settings.service_name,
        "username": settings.username,
        "ready": gate.state == READY,
        "state": gate.state,
        "queue": {
            "rows": sum(batcher.waiting_rows() for batcher in batchers),
            "oldest_seconds": max((batcher.oldest_age() for batcher in batchers), default=0.0),
            "limit": settings.queue_limit,
        },
        "in_progress": gate.working(),
        "requests": metrics.codes(),
        "models": models.names(),
    }
