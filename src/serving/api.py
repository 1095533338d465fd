"""Every name that a service's own code imports: `from serving.api import Request, Service`.

Tests of a service find further names in serving.testing.
"""

from serving.base.errors import (
    BadInput,
    ClientGone,
    DeadlinePassed,
    ModelFailed,
    QueueFull,
    ServingError,
    StartError,
    TooLarge,
)
from serving.base.lifetime import HasLifetime, Lifetime
from serving.inputs.files import File
from serving.models.model import check_file
from serving.models.registry import Handle
from serving.models.tensors import DATATYPES, Array, Arrays, TensorSpec
from serving.service.loader import open_service, silence
from serving.service.request import Request, make_request
from serving.service.service import Answer, Service, route
from serving.settings import SettingsError

__all__ = [
    "DATATYPES",
    "Answer",
    "Array",
    "Arrays",
    "BadInput",
    "ClientGone",
    "DeadlinePassed",
    "File",
    "Handle",
    "HasLifetime",
    "Lifetime",
    "ModelFailed",
    "QueueFull",
    "Request",
    "Service",
    "ServingError",
    "SettingsError",
    "StartError",
    "TensorSpec",
    "TooLarge",
    "check_file",
    "make_request",
    "open_service",
    "route",
    "silence",
]
