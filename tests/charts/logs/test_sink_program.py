"""sink.py as rsyslog runs it, over its pipes, beside a sink that answers what no sink answers."""

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from tests.charts.logs.bulk_receiver import BulkReceiver
from tests.conf.local_servers import LocalServer, QuietHandler, running_server
from tests.running import ROOT

ACTION = json.dumps({"index": {"_index": "lines", "_id": "1"}}) + "\n"
DOCUMENT = json.dumps({"message": "line"}) + "\n"
TAKEN = json.dumps({"items": [{"index": {"status": 201}}]}).encode()
DEEPEST = [b'{"items":[{"index":{"status":400,"error":' + b"[" * depth + b"]" * depth + b"}}]}" for depth in range(960, 1000)]


class Answering(QuietHandler):
    server: "Sink"

    def do_POST(self) -> None:
        self.rfile.read(int(self.headers["Content-Length"]))
        answer = self.server.answers.pop(0)
        self.send_response(200)
        self.send_header("Content-Length", str(len(answer)))
        self.end_headers()
        self.wfile.write(answer)


class Sink(LocalServer):
    """A sink that gives its answers one after the other."""

    def __init__(self, answers: list[bytes]):
        super().__init__(Answering)
        self.answers = answers


@contextmanager
def program(state: Path, port: int) -> Iterator["subprocess.Popen[str]"]:
    """Run sink.py for the length of a block."""
    environment = {"STATE": str(state), "QUEUE_BYTES": "64m", "SINK_URL": f"http://127.0.0.1:{port}", "SINK_SECRET": "",
                   "STATS_SECONDS": "60", "PATH": os.environ["PATH"], "PYTHONPATH": str(ROOT / "charts/logs")}  # fmt: skip
    pipes: dict[str, Any] = dict.fromkeys(("stdin", "stdout", "stderr"), subprocess.PIPE)
    command = [sys.executable, "-c", "import sink; sink.FIRST_WAIT = sink.MAX_WAIT = 0.01; sink.main()"]
    with subprocess.Popen(command, env=environment, text=True, **pipes) as process:
        assert process.stdout
        assert process.stdout.readline() == "OK\n"
        yield process
        process.stdin.close()  # type: ignore[union-attr]
        assert process.wait(30) == 0


def hand_over(process: "subprocess.Popen[str]", text: str) -> str:
    """Hand over one transaction, and return the answers."""
    assert process.stdin
    assert process.stdout
    process.stdin.write(f"BEGIN TRANSACTION\n{text}COMMIT TRANSACTION\n")
    process.stdin.flush()
    return "".join(process.stdout.readline() for _ in range(3)).replace(".", "")


@pytest.mark.parametrize(
    "answer",
    [b'{"items":[{"index":{"status":1e999}}]}', b'{"items":[{"index":{"status":NaN}}]}', b"[" * 200_000, b"\xff", b"null"],
    ids=["infinite status", "no status", "deep", "no text", "null"],
)
def test_an_answer_that_cannot_be_read_is_told_and_the_lines_are_sent_again(answer: bytes, tmp_path: Path) -> None:
    with running_server(Sink([answer, TAKEN])) as sink, program(tmp_path, sink.server_port) as process:
        assert hand_over(process, ACTION + DOCUMENT) == "OK\nDEFER_COMMIT\nOK\n"
        assert process.stderr
        assert "is not that of a bulk request" in process.stderr.readline()
        assert sink.answers == []


def test_a_refusal_of_any_depth_ends_nothing(tmp_path: Path) -> None:
    with running_server(Sink([])) as sink, program(tmp_path, sink.server_port) as process:
        for answer in DEEPEST:
            sink.answers = [answer, TAKEN]
            assert hand_over(process, ACTION + DOCUMENT) == "OK\nDEFER_COMMIT\nOK\n"


def test_a_batch_that_was_in_hand_is_split_at_line_feeds_alone(tmp_path: Path) -> None:
    sink = BulkReceiver()
    (tmp_path / "in-hand").write_text(
        ACTION + DOCUMENT.replace("\n", "\r\n") + ACTION + DOCUMENT.replace(":", ":\r"), newline=""
    )
    with program(tmp_path, sink.port) as process:
        hand_over(process, ACTION + DOCUMENT)
    assert len(sink.stored()) == 3
    sink.stop()
