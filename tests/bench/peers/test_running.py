"""Servers of peers are started, found ready, and ended with every process that they left behind."""

import sys
from dataclasses import replace
from pathlib import Path

import pytest

from bench.peers import environments
from bench.peers.peer import HERE, Peer
from bench.peers.running import marked, run
from bench.peers.works import WORKS
from bench.served import BenchError

PROGRAMS = Path(sys.executable).parent
LEAVE = "import subprocess, sys; subprocess.Popen(['sleep', '300'], start_new_session=True)"
SERVE = """
import http.server, os
http.server.HTTPServer(("127.0.0.1", int(os.environ["PEER_PORT"])), http.server.SimpleHTTPRequestHandler).serve_forever()
"""
PEER = Peer("files", "a server of files", "parts", "numpy", ("{python}", "-c", SERVE), {}, "As it comes.", ready="/")


def test_a_server_is_ready_in_its_block_and_its_daemons_are_gone_afterwards() -> None:
    leaving = replace(PEER, command=("{python}", "-c", LEAVE + SERVE))
    with run(leaving, PROGRAMS, WORKS[0]) as server:
        assert len(marked(server.mark)) == 2
        assert server.cpu_seconds() > 0
    assert marked(server.mark) == []


def test_a_server_that_ends_says_why() -> None:
    broken = replace(PEER, command=("{python}", "-c", "import sys; sys.exit('no model at ' + sys.argv[1])", "{service}"))
    with pytest.raises(BenchError, match="a server of files is not ready for jpeg .*exit code 1.*\nno model at jpeg"):
        run(broken, PROGRAMS, WORKS[-1]).__enter__()


def test_an_environment_that_cannot_be_made_is_told_with_its_command(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(environments, "FOLDER", tmp_path)
    folder = next(path.parent.name for path in HERE.glob("*/requirements.txt"))
    with pytest.raises(BenchError, match="python9.9 -m venv"):
        environments.install(replace(PEER, folder=folder, interpreter="python9.9"))
