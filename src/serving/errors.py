"""What can go wrong with a request, and the HTTP status of each.

  * ServingError                500
    x BadInput                  400  the request's content is wrong; a service raises it too
    x NotFound                  404  no such model or route
    x MethodNotAllowed          405
    x SlowBody                  408  the body took too long to arrive
    x TooLarge                  413  body, rows or picture over a limit
    x WrongContentType          415
    x QueueFull                 429  overload; never 503, since a mesh retries 503 and ejects the pod
    x HeadTooLarge              431
    x ClientGone                499  nobody waits for the answer; only logs and metrics ever see it
    x ModelFailed               500  the model raised, or gave the wrong rows
    x ServiceFailed             500  the service's own code raised
    x NotReady                  503  still loading, or draining
    x DeadlinePassed            504

Knows statuses and words. Does not know HTTP libraries.
"""


class ServingError(Exception):
    """A request's failure. The text goes to the client: it says what was wrong and what to do.

    status: the HTTP status. reason: the label in metrics and logs, one a class.
    """

    status = 500
    reason = "internal"


class BadInput(ServingError):
    status = 400
    reason = "bad_input"


class NotFound(ServingError):
    status = 404
    reason = "not_found"


class MethodNotAllowed(ServingError):
    status = 405
    reason = "method_not_allowed"


class SlowBody(ServingError):
    status = 408
    reason = "slow_body"


class TooLarge(ServingError):
    status = 413
    reason = "too_large"


class WrongContentType(ServingError):
    status = 415
    reason = "wrong_content_type"


class QueueFull(ServingError):
    status = 429
    reason = "queue_full"


class HeadTooLarge(ServingError):
    status = 431
    reason = "head_too_large"


class ClientGone(ServingError):
    status = 499
    reason = "client_gone"


class ModelFailed(ServingError):
    reason = "model_failed"


class ServiceFailed(ServingError):
    reason = "service_failed"


class NotReady(ServingError):
    status = 503
    reason = "not_ready"


class DeadlinePassed(ServingError):
    status = 504
    reason = "deadline_passed"
