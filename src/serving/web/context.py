"""The running service as the routes use it, and what they tell about it: its health, its status, its OpenAPI document.

Knows the service, its models, the gate and the metrics. Does not know Flask or paths.
"""

from dataclasses import dataclass
from typing import Any

from serving.core.stages import Core
from serving.models.registry import ModelRegistry
from serving.service.service import Service, files_of, routes_of, takes_data
from serving.settings import Settings
from serving.telemetry.metrics import Metrics
from serving.web import openapi
from serving.web.admission import Gate
from serving.web.openapi import ServiceInputs


@dataclass(frozen=True)
class ServiceContext:
    """The parts of a running service. version: of the platform. digest: of the image, "" where it is not known."""

    settings: Settings
    service: Service
    models: ModelRegistry
    metrics: Metrics
    gate: Gate
    core: Core
    version: str
    digest: str = ""

    def health(self) -> dict[str, Any]:
        """Return whether the pod may be sent requests, its state, and its use of memory, cores and queue."""
        return {"ready": self.gate.unready() is None, "state": self.gate.state, **self.service.vitals()}

    def status(self) -> dict[str, Any]:
        """Return the service's name, its state, its queue, and how many requests were answered with each code."""
        return {
            "service": self.settings.service_name,
            "username": self.settings.username,
            "ready": self.gate.unready() is None,
            "state": self.gate.state,
            "queue": {
                "rows": self.models.waiting_rows(),
                "oldest_seconds": self.models.oldest_age(),
                "limit": self.settings.queue_limit,
            },
            "in_progress": self.gate.working(),
            "requests": self.metrics.codes(),
            "models": self.models.names(),
        }

    def document(self, prefix: str) -> dict[str, Any]:
        """Return the OpenAPI document as it is served under a prefix, with the models that are loaded now."""
        service = self.service
        routes = [route for route, _ in routes_of(service)]
        specs = [model.spec for model in self.models.loaded()]
        inputs = ServiceInputs(files_of(service), service.example, service.fields, takes_data(service), service.streams)
        return openapi.document(self.settings, specs, routes, prefix=prefix, inputs=inputs, version=self.version)
