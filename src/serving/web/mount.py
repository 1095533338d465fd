"""A service's own WSGI application behind the front: which requests are its own, how they are named, and its turns.

Paths that the platform serves stay the platform's, and so does /metrics, which the admin port has. All others are the
application's.

Concurrency. The loop calls `run` and `label_of`. As many of waitress' threads as the setting `threads` run the application, and
requests wait in their queue. The loop alone watches deadlines and clients, and a request that is over by its turn is not run.
Where the loop ends a request that runs, the thread stays taken until the application returns, and liveness tells of one that
never does. The thread of a request alone reads its answer, and gives the parts of a streamed one. One more thread asks the
application's own ping, which takes a turn too.
"""

import logging
import os
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future
from contextlib import closing
from functools import partial
from typing import Any, cast
from urllib.parse import unquote_to_bytes
from wsgiref.util import setup_testing_defaults

from serving.base.errors import NotReady, ServiceFailed, ServingError
from serving.core.messages import JSON, Stream
from serving.service.application import Application, is_flask
from serving.service.request import make_request
from serving.web.admission import STARTING
from serving.web.app import CYCLE, ENDS, WsgiThreads
from serving.web.front.answers import error_body
from serving.web.front.request_cycle import PING, RequestCycle
from serving.web.process import ServiceContext

logging.getLogger("waitress.queue").setLevel(logging.ERROR)  # it warns of each request that waits; a metric has their number

log = logging.getLogger("monopod.app")

PING_SECONDS = 2.0  # between an answer of the application's own ping and the next question
PING_TIMEOUT = 2.0  # seconds that it may run
Environment = dict[str, Any]


class Mount:
    """The application of a service.

    serves: returns whether the platform has a path. platform: runs a request on the platform's own routes. label_of: returns
    the label of such a request from its method and path.
    """

    def __init__(
        self,
        context: ServiceContext,
        serves: Callable[[str], bool],
        platform: Callable[[RequestCycle], None],
        label_of: Callable[[str, str], str],
    ):
        settings, self._context = context.settings, context
        self._service = cast(Application, context.service)
        self._serves, self._platform, self._platform_label = serves, platform, label_of
        self._short = f"/api/{settings.service_name}"
        self._prefixes = (f"/api/{settings.username}/{settings.service_name}", self._short)
        self._process, self._now = os.getpid(), threading.local()
        self._threads = WsgiThreads(self._answer, settings.threads, context.core.pull)
        context.metrics.expect("service", ENDS)
        self._urls: Any = None
        self._has_ping = False
        if is_flask(self._service.wsgi):
            self._know(self._service.wsgi)
        if self._has_ping or self._urls is None:
            self._service.loaded = threading.Thread(target=self._watch_ping, name="ping", daemon=True).start

    def _know(self, flask: Any) -> None:
        """Take the rules of a Flask application, and give it a handler for the errors of models where it has none."""
        self._urls = flask.url_map.bind("")
        flask.error_handler_spec[None][None].setdefault(ServingError, self._refused)
        self._has_ping = bool(self._rule("GET", PING))
        self._context.gate.veto = "has not answered yet" * self._has_ping

    def run(self, cycle: RequestCycle) -> None:
        """Have a thread answer a request. Raises NotReady before the models are loaded."""
        if self._is_platforms(cycle.head.path):
            self._platform(cycle)
        elif self._context.gate.state == STARTING:  # the gate lets a GET in
            raise NotReady("the service is still starting; try again when /v2/health/ready answers 200")
        else:
            self._threads.run(cycle)

    def label_of(self, method: str, path: str) -> str:
        """Return the name of a request's route in metrics and logs."""
        if self._is_platforms(path):
            return self._platform_label(method, path)
        return self._place(method, unquote_to_bytes(path).decode("latin-1"))[0]

    def _is_platforms(self, path: str) -> bool:
        return path == "/metrics" or self._serves(path)

    def _place(self, method: str, path: str) -> tuple[str, str, str]:
        """Return the label of a request, its SCRIPT_NAME and its PATH_INFO.

        A gateway sends /api/<user>/<service>, which an application need not have. It then gets the path without the user, or
        else without the whole prefix, which is SCRIPT_NAME. path: as it was sent, decoded as WSGI does.
        """
        places, service = [("", path)], path.rstrip("/") in self._prefixes
        for prefix in self._prefixes:
            if path == prefix or path.startswith(prefix + "/"):
                rest = path.removeprefix(prefix)
                places += [("", self._short + rest), (prefix, rest or "/")]
        if self._urls is None:
            return "service" if service else "application", *places[len(places) > 1]
        for script, inner in places:
            for found in (inner, inner + "/"):  # Flask would redirect to the second, at the host that the client names
                rule = self._rule(method, found)
                if rule:
                    return "service" if service else rule.strip("/") or "/", script, found
        return "none", "", path

    def _rule(self, method: str, path: str) -> str:
        """Return the rule of Flask's that a path has, "" where it has none."""
        text = path.encode("latin-1").decode(errors="replace")
        methods = self._urls.allowed_methods(text)
        if not methods:
            return ""
        try:
            return str(self._urls.match(text, method if method in methods else min(methods), return_rule=True)[0].rule)
        except Exception:  # werkzeug's for a redirect to the path of a rule's defaults
            return "/redirect"

    def _answer(self, environ: Environment, start: Callable[..., Any]) -> list[bytes]:
        """Run the application on the thread of a request. A streamed answer is left with the request."""
        cycle = self._now.cycle = environ[CYCLE]
        self._context.models.forget(cycle.life)  # it waits no more
        cycle.times.begin("handle")
        environ["monopod"], environ["wsgi.multithread"] = self._service, self._context.settings.threads > 1
        try:
            cycle.route, environ["SCRIPT_NAME"], environ["PATH_INFO"] = self._place(cycle.head.method, environ["PATH_INFO"])
            with self._context.core.job():
                return self._called(environ, start, cycle)
        except BaseException as error:  # sys.exit too, which nothing else would answer
            body, status, headers = self._refused(error)
            start(f"{status} {cycle.reason}", list(headers.items()), (type(error), error, error.__traceback__))
            return [body]
        finally:
            self._end_turn()

    def _end_turn(self) -> None:
        del self._now.cycle
        if os.getpid() != self._process:
            os._exit(1)  # a fork of the application, which has none of the server's other threads

    def _refused(self, error: BaseException) -> tuple[bytes, int, dict[str, str]]:
        """Return the answer to an exception, of a model too: its body, status and headers. Its cause is in the log."""
        cycle: RequestCycle = self._now.cycle
        told = self._context.core.error(error, cycle, own=True)
        cycle.reason = told.reason
        return error_body(told, cycle.id), told.status, {"Content-Type": JSON}

    def _called(self, environ: Environment, start: Callable[..., Any], cycle: RequestCycle) -> list[bytes]:
        """Return the body of an answer that is whole. Without a Content-Length, and not as a list, it is streamed."""
        written: list[bytes] = []
        headers: dict[str, str] = {}

        def begin(status: str, given: list[tuple[str, str]], failure: Any = None) -> Callable[[bytes], None]:
            start(status, given, failure)
            headers.clear()
            headers.update({name.lower(): value for name, value in given}, status=status)
            return written.append

        result = self._service.wsgi(environ, begin)
        parts = _parts(result, written)
        first = next(parts, b"")
        if not headers:
            raise RuntimeError("the application did not call start_response")
        if int(headers["status"][:3]) >= 500 and not cycle.reason:
            cycle.reason = ServiceFailed.reason
        if "content-length" in headers or isinstance(result, list | tuple):
            return [first + b"".join(parts)]
        stream = Stream(_from_first(first, parts), headers.get("content-type", "application/octet-stream"), cycle.life)
        stream.begin()
        cycle.parts = stream
        return []

    def _watch_ping(self) -> None:
        """Ask the application's own ping as long as the process lives, and have the gate tell what it objects to.

        It takes a turn like a request. Its time-out begins with that turn, so that a long queue takes no pod away.
        """
        while True:
            begun, found = threading.Event(), Future[str]()
            self._threads.call(partial(self._ping, begun, found))
            begun.wait()
            try:
                self._context.gate.veto = found.result(PING_TIMEOUT)
            except TimeoutError:
                self._context.gate.veto = f"has not answered within {PING_TIMEOUT:g} s" * self._has_ping
                self._context.gate.veto = found.result()
            time.sleep(PING_SECONDS)

    def _ping(self, begun: threading.Event, found: "Future[str]") -> None:
        """Call the application's own ping on one of its threads, and tell what it objects to, "" for nothing.

        A callable that is not Flask's has a ping once it has answered one with a status below 300.
        """
        begun.set()
        words, statuses = "", list[str]()
        self._now.cycle = make_request(seconds=PING_TIMEOUT)
        environ = {"SCRIPT_NAME": "", "PATH_INFO": PING, CYCLE: self._now.cycle, "monopod": self._service}
        setup_testing_defaults(environ)
        try:
            with self._context.core.job():
                for _ in _parts(self._service.wsgi(environ, lambda status, *_: statuses.append(status)), []):
                    pass
            words = f"answers {statuses[-1][:3]}" * (statuses[-1] >= "5")
            self._has_ping = self._has_ping or statuses[-1] < "3"
        except BaseException as error:  # sys.exit too
            words = f"fails by {type(error).__name__}"
            if self._has_ping and words != self._context.gate.veto:
                log.exception("the application's own %s failed", PING)
        finally:
            found.set_result(words * self._has_ping)
            self._end_turn()


def _parts(result: Iterable[bytes], written: list[bytes]) -> Iterator[bytes]:
    """Yield the parts of an answer, and close it as WSGI asks. written: what the application wrote by start_response."""
    try:
        for part in result:
            yield b"".join((*written, part))
            written.clear()
        yield b"".join(written)
    finally:
        getattr(result, "close", bool)()


def _from_first(first: bytes, parts: Iterator[bytes]) -> Iterator[bytes]:
    with closing(cast(Any, parts)):
        yield first
        yield from parts
