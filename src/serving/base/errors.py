"""The errors of a request, each with its HTTP status.

  * ServingError                500
    x BadInput                  400  the request's content is wrong; a service raises it too
      - FetchFailed             400  another server did not give the file of a URL; it may do so later
      - WrongInputs             400  a name, dtype or rank that a model does not have; 500 if own code passed it
    x NotFound                  404  no such model or route
    x MethodNotAllowed          405
    x SlowBody                  408  the body took too long to arrive
    x TooLarge                  413  body, rows or picture over a limit
    x WrongContentType          415
    x QueueFull                 429  overload; never 503, since a mesh retries 503 and ejects the pod
      - MemoryFull              429  requests in progress hold as much as the pod's memory allows
    x BodiesFull                429  bodies hold too many bytes; in no alert, since clients cause it
    x HeadTooLarge              431
    x ClientGone                499  nobody waits for the answer; it stands in logs and metrics alone
    x ModelFailed               500  the model raised, or gave the wrong rows
    x ServiceFailed             500  the service's own code raised
    x NotReady                  503  still loading, or draining
    x DeadlinePassed            504
      - ShortDeadline           504  the client left the service less than half of its timeout; in no alert

Knows statuses and words. Does not know HTTP libraries.
"""


class StartError(Exception):
    """The service cannot start. The text says what is wrong and what to do."""


class ServingError(Exception):
    """A request's failure. The text goes to the client: it says what was wrong and what to do.

    status: the HTTP status. reason: the label in metrics and logs, another one for each class.
    """

    status = 500
    reason = "internal"


class BadInput(ServingError):
    """The content of the request is wrong. A service raises it with a sentence for the client."""

    status = 400
    reason = "bad_input"


class WrongInputs(BadInput):
    """Inputs that a model takes in no size: a name, a dtype or a rank is wrong. In a service's own code that is its bug."""


class FetchFailed(BadInput):
    """Another server did not give the file of a URL. A later try may succeed."""


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
    """A body, its rows or a picture are over a limit, which the text names."""

    status = 413
    reason = "too_large"


class WrongContentType(ServingError):
    status = 415
    reason = "wrong_content_type"


class QueueFull(ServingError):
    """As many rows wait for the model as queue_limit allows. The client may try again."""

    status = 429
    reason = "queue_full"


class MemoryFull(QueueFull):
    reason = "memory_full"


class BodiesFull(ServingError):
    status = 429
    reason = "bodies_full"


class HeadTooLarge(ServingError):
    status = 431
    reason = "head_too_large"


class ClientGone(ServingError):
    """The client went away, so nobody waits for the answer."""

    status = 499
    reason = "client_gone"


class ModelFailed(ServingError):
    """The model raised, could not be loaded, or gave another number of rows than it took."""

    reason = "model_failed"


class ServiceFailed(ServingError):
    reason = "service_failed"


class WrongResults(ServiceFailed):
    """Results of the service's own code that cannot be sent. The text is for the log."""


class NotReady(ServingError):
    status = 503
    reason = "not_ready"


class DeadlinePassed(ServingError):
    """The request's deadline has passed, so its work is dropped."""

    status = 504
    reason = "deadline_passed"


class ShortDeadline(DeadlinePassed):
    reason = "short_deadline"


ERROR_CLASSES: tuple[type[ServingError], ...] = (ServingError, *ServingError.__subclasses__(), MemoryFull, ShortDeadline)
# The front may refuse a request with these before any work on it. Each is a reason of monopod_shed_total.
SHED: tuple[type[ServingError], ...] = (
    BadInput,
    SlowBody,
    TooLarge,
    QueueFull,
    BodiesFull,
    HeadTooLarge,
    NotReady,
    DeadlinePassed,
    ShortDeadline,
)
