"""A real node of OpenSearch, of the programs that pom.xml names, on a port of its own."""

import json
import random
import socket
import subprocess
import uuid
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from tests.charts.logs.bulk_receiver import Document
from tests.prerequisites import program
from tests.running import get, post_json
from tests.waiting import until

POM = Path(__file__).with_name("pom.xml")
MAIN = "org.codelibs.opensearch.runner.OpenSearchRunner"
JAVA = ["-Xms256m", "-Xmx256m", "-XX:TieredStopAtLevel=1"]  # it is up sooner so
FIRST_PORT, LAST_PORT = 9201, 9299  # the runner takes no other
MOST = 10_000  # documents of one answer


class Node:
    """One node, whose documents outlive its process. Ports and folders are kept across a restart."""

    def __init__(self, folder: Path):
        self._folder, self._name = folder, f"monopod-{uuid.uuid4().hex}"
        self._programs = programs(folder)
        self.port = _free_port()
        self.url = f"http://127.0.0.1:{self.port}"
        self.start()

    def start(self) -> None:
        """Start it, and wait until it answers. Its indices are there again then."""
        place = ["-basePath", str(self._folder / "node"), "-clusterName", self._name]
        command = [program("java", "openjdk-17-jre-headless"), *JAVA, "-cp", self._programs, MAIN, *place]
        command += ["-numOfNode", "1", "-baseHttpPort", str(self.port - 1)]  # its first node has the port after it
        with (self._folder / "out").open("ab") as out:
            self._process = subprocess.Popen(command, stdout=out, stderr=out)
        try:
            until(self._answers, seconds=500, pause=0.2)
        except BaseException:
            self.kill()
            raise

    def kill(self) -> None:
        """End its process without a warning."""
        self._process.kill()
        self._process.wait(30)

    def stored(self) -> list[Document]:
        """Return all documents of the services' indices, within one index in the order in which they came."""
        get(f"{self.url}/_refresh", b"")
        search = f"{self.url}/macl_*/_search", {"size": MOST, "seq_no_primary_term": True}
        status, found = post_json(*search)
        while status == 503:  # an index was made a moment ago
            status, found = post_json(*search)
        assert status == 200, found
        hits = sorted(found["hits"]["hits"], key=lambda each: each["_seq_no"])
        return [Document(each["_index"], each["_id"], each["_source"]) for each in hits]

    def clear(self) -> None:
        """Delete the services' indices."""
        status, body = get(f"{self.url}/macl_*", method="DELETE")
        assert status == 200, body

    def set(self, setting: str, value: str | None) -> None:
        """Change a setting of the running node. None: its default again."""
        body = json.dumps({"transient": {setting: value}}).encode()
        status, answer = get(f"{self.url}/_cluster/settings", body, {"Content-Type": "application/json"}, "PUT")
        assert status == 200, answer

    def _answers(self) -> bool:
        assert self._process.poll() is None, (self._folder / "out").read_text()[-5000:]
        with suppress(OSError):
            status, body = get(f"{self.url}/_cluster/health?wait_for_status=yellow&timeout=1s")
            return status == 200 and self._name.encode() in body
        return False


def programs(folder: Path) -> str:
    """Return the class path of a node. Maven downloads what its own cache lacks. folder: a file is written there."""
    java, maven, out = program("java", "openjdk-17-jre-headless"), program("mvn", "maven"), folder / "programs"
    assert java
    command = [maven, "--batch-mode", "--quiet", "--file", str(POM), "dependency:build-classpath", f"-Dmdep.outputFile={out}"]
    ended = subprocess.run(command, capture_output=True, text=True, timeout=300)
    assert ended.returncode == 0, ended.stdout + ended.stderr
    return out.read_text()


@contextmanager
def running(folder: Path) -> Iterator[Node]:
    """Run a node for the length of a block."""
    node = Node(folder)
    try:
        yield node
    finally:
        node.kill()


def _free_port() -> int:
    """Return a free port of those that the runner takes. Test processes begin at different ones."""
    ports = list(range(FIRST_PORT, LAST_PORT + 1))
    random.shuffle(ports)
    for port in ports:
        with socket.socket() as probe, suppress(OSError):
            probe.bind(("127.0.0.1", port))
            return port
    raise AssertionError(f"no port of {FIRST_PORT} to {LAST_PORT} is free")
