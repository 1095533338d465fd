"""Sends what rsyslog hands over to Elasticsearch or OpenSearch, until the sink has taken it.

rsyslog starts it, and hands over a batch of its queue as one transaction. A message is two lines of a bulk request: the action
and the document. rsyslog gives the next batch once this one is answered, so lines wait on the disk, in rsyslog's queue.
docs/logs.md says what becomes of each answer of the sink. The protocols: rsyslog.com/doc/configuration/modules/omprog.html and
docs.opensearch.org/latest/api-reference/document-apis/bulk.

STATE           the folder of rsyslog's queue, which holds the batch in hand as well
QUEUE_BYTES     the most that the queue may hold, as 64m or 1g
SINK_URL        the sink, as https://host:port
SINK_SECRET     the folder with the files user, password and ca.crt of the sink; empty where it asks for no login
STATS_SECONDS   seconds between two lines of counters

Concurrency: one thread sends. Another one prints the counters, which it only reads.
"""

import base64
import http.client
import io
import json
import os
import select
import ssl
import sys
import threading
import time
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from urllib.parse import urlsplit

REQUEST_BYTES = 4 * 2**20  # the most of one request, unless one record is larger
FIRST_WAIT, MAX_WAIT = 1.0, 30.0  # seconds between two requests to a sink that does not take them
TIMEOUT = 60.0  # seconds without a byte from the sink; rsyslog waits for 120 in all
FILE_BYTES = 2**20  # queue.maxFileSize of rsyslog.conf
FULL = 7 / 8  # of the queue: the oldest are dropped from there on, before rsyslog would drop the newest
BUSY = {429, 503}  # of one document: it is sent again
WRONG = {400, 413}  # of a whole request: the sink takes no such request, and a smaller one may do
PRINTED_CHARACTERS = 1_000  # of a refusal: rsyslog writes up to 4 KiB at once, and another line may come between
WORDS = 300  # characters of the sink's answer that are printed


class Sink:
    """The sink's address and the connection to it. The secret's files are read anew, so that a Secret may change."""

    def __init__(self, url: str, secret: str):
        self._url, self._secret = urlsplit(url), Path(secret) if secret else None
        self._connection: http.client.HTTPConnection | None = None

    def post(self, body: bytes) -> tuple[int, str, bytes]:
        """Return status, reason and body of the answer to a bulk request.

        Raises OSError and HTTPException, and ValueError for a secret or an address that cannot be used.
        """
        kept = self._connection is not None and self._connection.sock is not None
        try:
            return self._answer(body)
        except (ConnectionError, ssl.SSLError):
            if not kept:
                raise
            return self._answer(body)  # the sink had closed a connection that nothing used

    def _answer(self, body: bytes) -> tuple[int, str, bytes]:
        if self._connection is None or self._connection.sock is None:
            self._connection = self._connected()
        try:
            with suppress(BrokenPipeError):  # a sink that refuses a large request may answer before it has all of it
                self._connection.request("POST", "/_bulk", body, self._headers())
            response = self._connection.getresponse()
            return response.status, response.reason, response.read()
        except BaseException:
            self._connection.close()
            raise

    def _connected(self) -> http.client.HTTPConnection:
        host, port = self._url.hostname or "", self._url.port or 9200
        if self._url.scheme == "http":
            return http.client.HTTPConnection(host, port, timeout=TIMEOUT)
        context = ssl.create_default_context(cafile=str(self._secret / "ca.crt") if self._secret else None)
        return http.client.HTTPSConnection(host, port, timeout=TIMEOUT, context=context)

    def _headers(self) -> dict[str, str]:
        found = {"Content-Type": "application/x-ndjson"}
        if self._secret:
            user, password = ((self._secret / name).read_text("utf-8").rstrip("\r\n") for name in ("user", "password"))
            found["Authorization"] = "Basic " + base64.b64encode(f"{user}:{password}".encode()).decode()
        return found


class Shipper:
    """Delivers batches in order. A record is the two lines of a document."""

    def __init__(self, environment: Mapping[str, str]):
        self._sink = Sink(environment["SINK_URL"], environment["SINK_SECRET"])
        self._state = Path(environment["STATE"])
        self._in_hand = self._state / "in-hand"
        size = environment["QUEUE_BYTES"]
        self._most_bytes = FULL * (int(size[:-1]) << {"m": 20, "g": 30}[size[-1]])
        self.counters = {"taken": 0, "refused": 0, "dropped": 0, "failed_requests": 0}

    def in_hand(self) -> list[bytes]:
        """Return the records that an earlier process had in hand as it ended. They are sent with the first batch."""
        lines = io.BytesIO(self._in_hand.read_bytes() if self._in_hand.exists() else b"").readlines()
        return [action + document for action, document in zip(lines[::2], lines[1::2], strict=False)]

    def deliver(self, records: list[bytes]) -> None:
        """Return once the sink has taken or refused each record, or once they were dropped."""
        self._keep(records)
        seconds = FIRST_WAIT
        while records and not self._dropped(records):
            records, failure = self._tried(records)
            if records:
                say(failure)
                self._wait(seconds)
                seconds = min(2 * seconds, MAX_WAIT)
        with suppress(OSError):
            self._in_hand.unlink()

    def _keep(self, records: list[bytes]) -> None:
        """Write the batch to the disk: rsyslog forgets a batch that it handed over, where it is ended meanwhile."""
        new = self._in_hand.with_suffix(".new")
        try:
            with new.open("wb") as file:
                file.writelines(records)
            new.replace(self._in_hand)
        except OSError as error:
            say(f"the batch in hand is not on the disk: {error}")

    def _dropped(self, records: list[bytes]) -> bool:
        """Return whether the queue was so full that the records, which are the oldest, were dropped."""
        if full := self._is_full():
            self.counters["dropped"] += len(records)
        return full

    def _is_full(self) -> bool:
        files = sum(name.startswith("sink.0") for name in os.listdir(self._state))
        return files * FILE_BYTES > self._most_bytes

    def _tried(self, records: list[bytes]) -> tuple[list[bytes], str]:
        if len(records) > 1 and sum(map(len, records)) > REQUEST_BYTES:
            return self._tried_in_halves(records)
        reply(".", end="")  # rsyslog starts this program anew where it hears nothing
        try:
            status, reason, body = self._sink.post(b"".join(records))
        except (OSError, ValueError, http.client.HTTPException) as error:
            self.counters["failed_requests"] += 1
            return records, f"the sink did not answer: {type(error).__name__}: {error}"
        words = " ".join(body[:WORDS].decode("utf-8", "replace").split())
        if status == 200:
            return self._left(records, body, words)
        self.counters["failed_requests"] += 1
        if status not in WRONG:
            return records, f"the sink refused a request as a whole: {status} {reason}: {words}"
        if len(records) > 1:
            return self._tried_in_halves(records)
        self._refuse(records[0], {"status": status, "error": words})
        return [], ""

    def _tried_in_halves(self, records: list[bytes]) -> tuple[list[bytes], str]:
        first, second = records[: len(records) // 2], records[len(records) // 2 :]
        left, why = self._tried(first)
        return (left + second, why) if left else self._tried(second)

    def _left(self, records: list[bytes], body: bytes, words: str) -> tuple[list[bytes], str]:
        """Return the records that the sink was too busy for, by the results of its answer, and words for it."""
        try:
            results = [result for item in json.loads(body)["items"] for result in item.values()]
            pairs = [(record, int(result["status"]), result) for record, result in zip(records, results, strict=True)]
        except (ValueError, LookupError, TypeError, AttributeError, OverflowError, RecursionError):
            return records, f"the sink's answer is not that of a bulk request: {words}"
        left = []
        for record, status, result in pairs:
            if 200 <= status < 300:
                self.counters["taken"] += 1
            elif status in BUSY:
                left.append(record)
            else:
                self._refuse(record, result)
        return left, f"the sink was too busy for {len(left)} of {len(records)} documents"

    def _refuse(self, record: bytes, result: object) -> None:
        self.counters["refused"] += 1
        words = ""
        with suppress(RecursionError):  # an answer that could just be read may be too deep to be written
            words = json.dumps(result)
        say(f"refused: {words} {record.decode('utf-8', 'replace').strip()}"[:PRINTED_CHARACTERS])

    def _wait(self, seconds: float) -> None:
        """Wait, at most until the queue is full. Ends the program once rsyslog has."""
        stdin, end = select.poll(), time.monotonic() + seconds
        stdin.register(0, 0)  # for nothing but its end
        while (left := end - time.monotonic()) > 0 and not self._is_full():
            if stdin.poll(1000 * min(left, 1.0)):
                raise SystemExit


def reply(words: str, end: str = "\n") -> None:
    sys.stdout.write(words + end)
    sys.stdout.flush()


def say(words: str) -> None:
    sys.stderr.write(words.replace("\n", " ") + "\n")


def count(shipper: Shipper, seconds: float) -> None:
    """Print the counters for ever, in the form of rsyslog's own."""
    while True:
        time.sleep(seconds)
        say(json.dumps({"name": "shipper", "origin": "sink.py", **shipper.counters}))


def main() -> None:
    """Serve rsyslog until it closes the pipe."""
    shipper = Shipper(os.environ)
    threading.Thread(target=count, args=(shipper, float(os.environ["STATS_SECONDS"])), daemon=True).start()
    records = shipper.in_hand()
    reply("OK")
    while line := sys.stdin.buffer.readline():
        if line == b"BEGIN TRANSACTION\n":
            reply("OK")
        elif line == b"COMMIT TRANSACTION\n":
            shipper.deliver(records)
            records = []
            reply("OK")
        else:
            records.append(line + sys.stdin.buffer.readline())
            reply("DEFER_COMMIT")


if __name__ == "__main__":
    main()
