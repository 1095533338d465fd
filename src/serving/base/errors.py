"""The errors of a request, each with its HTTP status, and the label `reason` that it has in metrics and logs."""


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

    status, reason = 400, "bad_input"


class WrongInputs(BadInput):
    """A name, a dtype or a rank that the model does not have. It is answered with 500 where a service's own code passed it."""


class FetchFailed(BadInput):
    """Another server did not give the file of a URL. A later try may succeed."""


class NotFound(ServingError):
    status, reason = 404, "not_found"


class MethodNotAllowed(ServingError):
    status, reason = 405, "method_not_allowed"


class SlowBody(ServingError):
    """The body took too long to arrive."""

    status, reason = 408, "slow_body"


class TooLarge(ServingError):
    """A body, its rows or a picture are over a limit, which the text names."""

    status, reason = 413, "too_large"


class WrongContentType(ServingError):
    status, reason = 415, "wrong_content_type"


class QueueFull(ServingError):
    """As many rows wait for the model as queue_limit allows. The client may try again."""

    status, reason = 429, "queue_full"  # never 503, since a mesh retries 503 and ejects the pod


class MemoryFull(QueueFull):
    """Requests in progress hold as much as the pod's memory allows."""

    reason = "memory_full"


class BodiesFull(ServingError):
    """Bodies hold too many bytes. No alert counts it, since clients can cause it."""

    status, reason = 429, "bodies_full"


class HeadTooLarge(ServingError):
    status, reason = 431, "head_too_large"


class ClientGone(ServingError):
    """The client went away, so nobody waits for the answer. Only logs and metrics show it."""

    status, reason = 499, "client_gone"


class ModelFailed(ServingError):
    """The model raised, could not be loaded, or gave another number of rows than it took."""

    reason = "model_failed"


class ServiceFailed(ServingError):
    """The service's own code raised."""

    reason = "service_failed"


class WrongResults(ServiceFailed):
    """Results of the service's own code that cannot be sent. The text is for the log."""


class NotReady(ServingError):
    """The service or the model is still loading, or is being closed."""

    status, reason = 503, "not_ready"


class DecoderLost(ServingError):
    """The process that decoded the request's video has ended, by no fault of the video. The client may try again."""

    status, reason = 503, "decoder_lost"


class DeadlinePassed(ServingError):
    """The request's deadline has passed, so its work is dropped."""

    status, reason = 504, "deadline_passed"


class ShortDeadline(DeadlinePassed):
    """The client left the service less than half of its timeout. No alert counts it."""

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
