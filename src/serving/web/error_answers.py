"""The answer to a request that failed, for Flask's routes and for the front.

Knows the body of an error and a request's id. Does not know HTTP libraries.
"""

import re
from collections.abc import Mapping
from typing import Any

from serving.base import jsons
from serving.base.errors import ERROR_CLASSES, BadInput, ServiceFailed, ServingError
from serving.base.request_ids import new_request_id

REQUEST_ID = re.compile(r"[A-Za-z0-9._:/+=-]{1,128}")
DIRECT = [each for each in ERROR_CLASSES if each.__base__ in (ServingError, Exception)]  # no class under another one
BY_STATUS = {each.status: each for each in DIRECT}


def request_id(given: str) -> str:
    """Return the client's own id of a request, or a new one where it has none that is well-formed."""
    return given if given and REQUEST_ID.fullmatch(given) else new_request_id()


def body(error: ServingError, name: str, more: Mapping[str, Any]) -> bytes:
    """Return an error's JSON. The text stands under "error", as the protocols' clients read it, and under "msg".

    name: the request's id. more: further fields.
    """
    return jsons.dumps({"error": str(error), "msg": str(error), "reason": error.reason, "request_id": name, **more})


def kind_of(status: int) -> type[ServingError]:
    """Return the class of error that has an HTTP status, or else BadInput below 500 and ServiceFailed from 500 on."""
    return BY_STATUS.get(status, BadInput if status < 500 else ServiceFailed)
