"""The state of a service at a glance, as its page shows it live.

Knows the gate, the queues and the counts. Does not know routes.
"""

from collections.abc import Mapping
from typing import Any

from serving.models.registry import ModelRegistry
from serving.settings import Settings
from serving.telemetry.metrics import Metrics
from serving.web.admission import READY, Gate


def health(gate: Gate, vitals: Mapping[str, Any]) -> dict[str, Any]:
    """Return whether the pod may be sent requests, its state, and its vitals: memory, cores and queue."""
    return {"ready": gate.state == READY, "state": gate.state, **vitals}


def status(settings: Settings, models: ModelRegistry, metrics: Metrics, gate: Gate) -> dict[str, Any]:
    """Return the service's name, its state, its queue, and how many requests were answered with each code."""
    return {
        "service": settings.service_name,
        "username": settings.username,
        "ready": gate.state == READY,
        "state": gate.state,
        "queue": {
            "rows": models.waiting_rows(),
            "oldest_seconds": models.oldest_age(),
            "limit": settings.queue_limit,
        },
        "in_progress": gate.working(),
        "requests": metrics.codes(),
        "models": models.names(),
    }
