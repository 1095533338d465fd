"""A branch from a push to an answer through Envoy, on real clusters, by every job of .gitlab-ci.yml.

KUBECONFIG names the clusters, MONOPOD_TEST_REGISTRY the registry of the images, and MONOPOD_TEST_GATEWAY Envoy's address.
"""

import json
import os
import re
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from uuid import uuid4

import pytest
import yaml

from tests import prerequisites
from tests.conf.cluster import clusters
from tests.conf.rollout.images import REGISTRY
from tests.image.building import STORAGE
from tests.locks import shared
from tests.pipeline.forks import Pipelines, artifact, commit, fork, git, platform, without_checkout
from tests.running import PYTHONPATH, ROOT

pytestmark = [pytest.mark.cluster, pytest.mark.long]

GATEWAY = os.environ.get("MONOPOD_TEST_GATEWAY", "http://127.0.0.1:30080")
REGIONS = ("hk", "eu", "na")
REGION = """
  {name}:
    context: {name}
    host: "*"
    routing: gateway-api
    gateway: {{namespace: gateway, name: gateway, pods: envoy-gateway-system}}
    sidecars: false
    mesh: {{}}
    prometheus: {{namespace: monitoring, url: "http://prometheus.monitoring:9090", labels: {{}}}}
    reserved: {{cpu: 0.1, memory: 256Mi}}
    nodes: [{{name: small, cpu: 2, memory: 8Gi, price: 50}}]
"""
# The settings after init_delay_second are written as the system before this one had them.
VALUE = """\
service_name = "{service}"
username = "{user}"

cpu = 0.1
memory = "512Mi"
replicas = 1
model_path = "model/digits.onnx"
init_delay_second = {start}

gpu_num = 0
ins_num_per_gpu = 1
ab_replicas = 1.
grey_sleep_after_day = 7
bmls_ret_type = "json"
use_decode_sidecar = False
use_srv = False
host_port = 0
hk_replicas = 1
"""
OLD_NAMES = ("gpu_num", "grey_sleep_after_day", "bmls_ret_type", "use_decode_sidecar")
ALERTS = """\
groups:
  - name: {service}
    rules:
      - alert: DigitsRefused
        expr: sum(rate(monopod_requests_total{{namespace="{user}", service="{service}", code="400"}}[10m])) > 1
        for: 10m
        labels: {{severity: warning}}
        annotations: {{summary: Someone sends what is no digit.}}
"""
# The second version is a program for gunicorn: a Flask application with a model of its own, as it was, and its own pages.
FLASK = """\
import os
from pathlib import Path

import numpy
import onnxruntime
from flask import Flask, jsonify, request

FOUND = Path(os.environ.get("FOUND", "/dev/null"))  # service.Dockerfile names it
app = Flask(__name__)
session = onnxruntime.InferenceSession("model/digits.onnx")


@app.route("/api/ping")
def ping():
    return "pong"


@app.route("/api/{service}", methods=["POST"])
def answer():
    app.logger.warning("a digit from %s", request.json.get("postid"))
    rows = numpy.array(request.json["data"], dtype=numpy.float32)
    (logits,) = session.run(None, {{session.get_inputs()[0].name: rows}})
    return jsonify(digit=int(logits.argmax()), shape=logits.shape, found=FOUND.read_text(encoding="utf-8"))


if __name__ == "__main__":
    app.run(port=8080)
"""
# Its image has a stage of its own, whose code looks for the password that pushes in the processes above it.
OWN_STAGE = """\
ARG PLATFORM_IMAGE
FROM ${PLATFORM_IMAGE} AS build
USER root
COPY src/hunt.py /build/
RUN python /build/hunt.py >/build/found.txt

FROM ${PLATFORM_IMAGE}
COPY --from=build /build/found.txt /usr/local/share/
ENV FOUND=/usr/local/share/found.txt
"""
HUNT = """\
import os
from pathlib import Path

process, looked = os.getpid(), 0
while process:
    folder = Path("/proc", str(process))
    try:
        if b"REGISTRY_PASSWORD=" in (folder / "environ").read_bytes():
            print("found in the environment of", (folder / "comm").read_text())
    except PermissionError:
        pass  # the builder keeps it out
    process, looked = int((folder / "stat").read_text().rpartition(")")[2].split()[1]), looked + 1
print("looked at", looked, "processes")
"""
FLASK_TEST = '''\
"""A digit is read through the real server."""

from tests.running import ROOT, post_json, running


def test_a_digit_is_read_by_the_flask_application() -> None:
    with running(ROOT) as service:
        status, answer = post_json(service.url + "/api/{user}/{service}", {{"data": [[[[0.5] * 8] * 8]]}})
    assert (status, answer["shape"]) == (200, [1, 10])
'''
TEST = '''\
"""A digit is read through the real server."""

from tests.running import ROOT, post_json, running


def test_a_digit_gets_ten_logits() -> None:
    with running(ROOT) as service:
        status, answer = post_json(service.url + "/api/{user}/{service}", {{"data": [[[[0.5] * 8] * 8]]}})
    assert status == 200
    assert len(answer["results"]["logits"][0]) == 10
'''


@dataclass
class Fork:
    """A fork on the branch cats, and how its jobs are run."""

    upstream: Path
    checkout: Path
    pipelines: Pipelines
    user: str
    service: str

    @property
    def version(self) -> str:
        return git(self.checkout, "rev-parse", "HEAD")[:8]

    def push(self, start: int) -> str:
        """Commit the service's own files, push the branch, and return the version that its image will have."""
        return self._push(f"Cats, {start} s to start", start)

    def push_flask(self, start: int) -> str:
        """Do the same for a Flask application in place of the platform's model, with a README and a list of changes."""
        names = {"user": self.user, "service": self.service}
        value = VALUE.format(**names, start=start).replace("model/digits.onnx", "")
        own = {"value.py": value, "src/server.py": FLASK.format(**names), "src/test_server.py": FLASK_TEST.format(**names)}
        own |= {"README.md": "# Cats\n", "CHANGELOG.md": "2: by Flask\n"}
        own |= {"service.Dockerfile": OWN_STAGE, "src/hunt.py": HUNT}
        return self._push("Cats by Flask", start, own)

    def _push(self, message: str, start: int, more: Mapping[str, str | bytes | None] = MappingProxyType({})) -> str:
        names = {"user": self.user, "service": self.service}
        files: dict[str, str | bytes | None] = {
            "value.py": VALUE.format(**names, start=start),
            "alerts.yaml": ALERTS.format(**names),
            "src/test_server.py": TEST.format(**names),
            "model/digits.onnx": (ROOT / "tests/models/digits.onnx").read_bytes(),
        }
        gone = ("src/server.py", "model/efficientnet-lite0.onnx", "model/imagenet_labels.txt")
        commit(self.checkout, {**files, **{name: None for name in gone if (self.checkout / name).exists()}, **more}, message)
        git(self.checkout, "push", "--quiet", "--set-upstream", "origin", "cats")
        return self.version

    def monopod(self, *words: str) -> str:
        """Run a command as a person does at the checkout, and return what it prints."""
        command = [sys.executable, "-m", "monopod", *words, "--service", ".", "--regions", "conf/regions.yaml"]
        environment = {**os.environ, "PYTHONPATH": PYTHONPATH}
        return subprocess.run(command, cwd=self.checkout, env=environment, check=True, capture_output=True, text=True).stdout

    def press(self, job: str) -> str:
        """Run a manual job, and return its output."""
        ran = self.pipelines.run(self.checkout, job)
        assert ran.code == 0, ran.output
        return ran.output


@pytest.fixture
def cats(tmp_path: Path, needs: Callable[[str, str], str]) -> Iterator[Fork]:
    needs("buildah", "buildah")
    name = f"pipeline-{uuid4().hex[:8]}"
    regions = f"currency: USD\nregistry: {REGISTRY}\ngrey: na\nab: hk\n\nregions:" + "".join(
        REGION.format(name=each) + (f"    way_in: {GATEWAY}\n" if each == "hk" else "") for each in REGIONS
    )
    secrets = {"KUBECONFIG": {f"{each}/*": kubeconfig(each) for each in REGIONS}, "REGISTRY_PASSWORD": {"registry": "secret"}}
    secrets["PIP_CONFIG_FILE"] = {"*": "[global]\nretries = 2\n"}
    secrets["KUBECONFIG"] |= {"grey/*": kubeconfig("na"), "ab/*": kubeconfig("hk")}
    secrets["REGISTRY_PULL_PASSWORD"] = dict.fromkeys([*secrets["KUBECONFIG"], "pull"], "secret to read")
    variables = {
        "REPOSITORY": f"{REGISTRY}/{name}/cats",
        "REGISTRY_USER": "pipeline",
        "REGISTRY_INSECURE": "yes",
        "CACHE": "",
        "PIP_CACHE_DIR": str(Path.home() / ".cache/pip"),
    }
    upstream = platform(tmp_path / "platform", regions)
    checkout = fork(upstream, tmp_path / "models")
    git(checkout, "checkout", "--quiet", "-b", "cats")
    made = Fork(upstream, checkout, Pipelines(tmp_path, secrets, variables), name, name)
    places = {"hk": [name, "ab-test"], "eu": [name], "na": [name, "grey"]}
    with ExitStack() as kept:
        for region, cluster in clusters(REGIONS).items():
            kept.enter_context(cluster.namespaces(places[region]))
        try:
            yield made
        finally:
            git(checkout, "push", "--quiet", "origin", "cats")
            made.pipelines.run(checkout, "stop_grey", "stop_ab", *(f"stop-{each}" for each in REGIONS))


def kubeconfig(region: str) -> str:
    """Return a kubeconfig with one context, named after a region: so that a job of one region can reach no other."""
    said = yaml.safe_load(Path(prerequisites.kubeconfig()).read_text())
    known = {each["name"]: each["context"] for each in said["contexts"]}
    context = known.get(region) or known[said["current-context"]]
    clusters = [each for each in said["clusters"] if each["name"] == context["cluster"]]
    users = [each for each in said["users"] if each["name"] == context["user"]]
    one = {"contexts": [{"name": region, "context": context}], "current-context": region, "clusters": clusters, "users": users}
    return yaml.safe_dump({"apiVersion": "v1", "kind": "Config", **one})


def curl(*words: str) -> dict[str, object]:
    """Run curl as a user does, and return the JSON of the answer."""
    done = subprocess.run(
        ["curl", "--silent", "--show-error", "--fail", "--max-time", "60", *words], capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr + done.stdout
    answer: dict[str, object] = json.loads(done.stdout)
    return answer


def test_a_pushed_branch_gets_to_the_curl_that_answers_through_envoy(cats: Fork) -> None:
    began = time.monotonic()

    def step(words: str) -> None:
        print(f"{time.monotonic() - began:6.1f} s  {words}")

    first = cats.push(start=30)
    with shared(STORAGE):
        pushed = cats.pipelines.run(cats.checkout)
    assert pushed.code == 0, pushed.output
    assert f"pushed {REGISTRY}/{cats.user}/cats:{first}" in pushed.output
    assert cats.service in artifact(cats.checkout, "lint", "rendered/hk-prod.yaml")
    assert [name for name in OLD_NAMES if f" {name}: " not in pushed.output] == []
    step("a push linted, tested and built")

    url = f"{GATEWAY}/api/{cats.user}/{cats.service}"
    for job in ("grey", "stop_grey", "ab_test"):
        cats.press(job)
        step(job)
    assert f"{cats.user}/cats@sha256:" in artifact(cats.checkout, "grey", "rendered/na-grey.yaml")
    assert curl(f"{GATEWAY}/api/ab-test/{cats.service}/v2")["version"] == first
    for job in ("deploy-hk", "deploy-eu", "deploy-na"):
        cats.press(job)
        step(job)
    digit = json.dumps({"data": [[[[0.5] * 8] * 8]]})
    assert curl(url, "--header", "Content-Type: application/json", "--data", digit)["msg"] == ""
    assert curl(f"{url}/v2")["version"] == first

    second = cats.push_flask(start=31)
    with shared(STORAGE):
        pushed = cats.pipelines.run(cats.checkout, "test", "build", "build_own", "push_own")
    assert pushed.code == 0, pushed.output
    step("a Flask application in its place, tested and built, with a stage of its own")
    cats.press("deploy-hk")
    assert curl(f"{url}/v2")["version"] == second
    named = json.dumps({"postid": "p-1", "data": [[[[0.5] * 8] * 8]]})
    answer = curl(url, "--header", "Content-Type: application/json", "--data", named)
    assert answer["shape"] == [1, 10]
    assert re.fullmatch(r"looked at \d+ processes\n", str(answer["found"])), answer
    assert "a digit from p-1" in cats.monopod("logs", "--region", "hk", "--track", "prod")
    step("a second version in hk, its answer and its log")
    cats.press("restart-hk")
    assert curl(f"{url}/v2")["version"] == second
    step("restart-hk")
    cats.press("rollback-hk")
    assert curl(f"{url}/v2")["version"] == first
    step("rollback-hk")

    bare = without_checkout(cats.checkout)
    git(cats.checkout, "push", "--quiet", "--delete", "origin", "cats")
    stopped = cats.pipelines.run(bare, "stop_ab")
    assert stopped.code == 0, stopped.output
    step("stop_ab, of a branch that was deleted")
    refused = cats.pipelines.run(bare, "stop-hk")
    assert refused.code != 0
    assert "the branch cats was deleted" in refused.output
    assert curl(f"{url}/v2")["version"] == first
    git(cats.checkout, "push", "--quiet", "origin", "cats")
    cats.press("stop-hk")
    step("stop-hk")
    on_clusters = {"grey", "stop_grey", "ab_test", "stop_ab", *(f"deploy-{region}" for region in REGIONS)}
    on_clusters |= {f"{verb}-hk" for verb in ("restart", "rollback", "stop")}
    theirs = {(job, secret) for job in on_clusters for secret in ("KUBECONFIG", "REGISTRY_PULL_PASSWORD")}
    theirs |= {("build", "REGISTRY_PASSWORD"), ("push_own", "REGISTRY_PASSWORD"), ("build_own", "REGISTRY_PULL_PASSWORD")}
    assert cats.pipelines.seen() == theirs
