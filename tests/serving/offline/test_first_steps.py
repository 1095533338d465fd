"""The steps of docs/offline.md, as a person types them: from an empty branch to rows in a table.

The steps that need a cluster are in tests/conf/rollout/test_offline_on_a_cluster.py.
"""

import base64
import json
import os
import re
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from serving.settings import load
from tests.conf.golden import GOLDEN
from tests.postgresql import Server
from tests.prerequisites import program
from tests.running import PYTHONPATH, ROOT, free_port
from tests.serving.offline import broker
from tests.serving.offline.offline_process import steps
from tests.waiting import until

PICTURE = (ROOT / "examples/images/chelsea.jpg").read_bytes()
LABEL = "Egyptian cat"
COUNT = 12


@pytest.fixture
def branch(tmp_path: Path, topic: str, group: str) -> Path:
    """A branch with the first step in its value.py. The names in Kafka are no other test's."""
    folder = tmp_path / "branch"
    (folder / "src").mkdir(parents=True)
    shutil.copy(ROOT / "src/server.py", folder / "src")
    (folder / "model").symlink_to(ROOT / "model")
    own = steps()["value.py"].replace("like-videos", topic).replace('"like-demo"', f'"{group}"')
    (folder / "value.py").write_text((ROOT / "value.py").read_text() + own)
    return folder


def record(number: int) -> bytes:
    """Return a record: a picture's bytes, or JSON that holds the picture."""
    return PICTURE if number % 2 else json.dumps({"postid": f"p{number}", "image": base64.b64encode(PICTURE).decode()}).encode()


def test_the_steps_lead_from_a_branch_to_rows_in_a_table(
    branch: Path, topic: str, group: str, kafka_address: str, postgresql: Server
) -> None:
    program("psql", "postgresql-client")
    environment = {**os.environ, "PYTHONPATH": PYTHONPATH, "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}"}

    def typed(block: str) -> str:
        """Return a step as it is typed here: with this broker, this database, and a port that is free."""
        here = block.replace("localhost:9092", kafka_address)
        here = here.replace("postgresql://like:PASSWORD@localhost/like", postgresql.url())
        return re.sub(r"(monopod offline --brokers \S+)", rf"\1 --admin-port {free_port()}", here)

    def run(block: str) -> str:
        done = subprocess.run(["bash", "-ec", block], cwd=branch, env=environment, capture_output=True, text=True, timeout=240)
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout

    broker.produce(kafka_address, topic, map(record, range(COUNT)))
    export, _, tries = typed(steps()["try"]).partition("\n")
    name, _, environment["POSTGRESQL_URL"] = export.removeprefix("export ").partition("=")
    assert name == "POSTGRESQL_URL"
    answers = [json.loads(line) for line in run(tries).splitlines()]
    assert len(answers) == 10
    assert {each["answer"]["results"][0]["label"] for each in answers} == {LABEL}
    assert broker.committed(kafka_address, group, topic)[0] is None
    run(steps()["table"])
    assert postgresql.execute("SELECT count(*) FROM labels") == [(0,)]
    process = subprocess.Popen(["bash", "-ec", f"exec {typed(steps()['run']).strip()}"], cwd=branch, env=environment)
    try:
        until(lambda: postgresql.execute("SELECT count(*) FROM labels") == [(COUNT,)], 240)
    finally:
        process.send_signal(signal.SIGINT)
        status = process.wait(60)
    assert status == 0
    assert broker.committed(kafka_address, group, topic)[0] == COUNT
    rows = postgresql.execute('SELECT "offset", postid, results->0->>\'label\' FROM labels ORDER BY "offset"')
    assert rows == [(number, None if number % 2 else f"p{number}", LABEL) for number in range(COUNT)]


def test_the_regions_brokers_and_the_secret_of_the_steps_are_what_check_asks_for(branch: Path, tmp_path: Path) -> None:
    brokers, secret = steps()["brokers"], steps()["secret"]
    regions = tmp_path / "regions.yaml"
    regions.write_text((GOLDEN / "regions.yaml").read_text())
    found = yaml.safe_load(regions.read_text())
    for region in found["regions"].values():
        region.update(yaml.safe_load(brokers))
    regions.write_text(json.dumps(found))  # JSON is YAML
    command = [sys.executable, "-m", "monopod", "check", "--service", str(branch), "--regions", str(regions)]
    done = subprocess.run(command, capture_output=True, text=True, env={**os.environ, "PYTHONPATH": PYTHONPATH})
    assert done.returncode == 0, done.stdout + done.stderr
    assert "postgresql:labels_grey" in done.stdout
    settings = load(branch / "value.py", tuple(found["regions"])).settings
    name, namespace = settings.offline_secret, settings.username
    assert f"--namespace {namespace} create secret generic {name} " in secret
    keys = re.findall(r"--from-literal=(\w+)=", secret)
    assert keys == ["KAFKA_USERNAME", "KAFKA_PASSWORD", "POSTGRESQL_URL"]
