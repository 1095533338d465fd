"""A checkout of a service, from which tests deploy: its folder, its regions.yaml, and the `monopod` command run in it."""

import json
import os
import subprocess
import sys
import time
import uuid
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tests.conf.rollout.gateways import ENVOY_GATEWAY, Gateway
from tests.conf.rollout.images import REGISTRY, image, value
from tests.running import PYTHONPATH, ROOT

# No node has this label until a test gives it to one. It is new in each run, since killed runs leave theirs on nodes.
UNUSED_LABEL = {"monopod-test": uuid.uuid4().hex}
REGION_FIELDS: dict[str, Any] = {
    "host": "*",
    **ENVOY_GATEWAY.region,
    "sidecars": False,
    "mesh": {},
    "prometheus": {"namespace": "monitoring", "url": "http://prometheus.monitoring:9090", "labels": {}},
    "gpu": {"resource": "aliyun.com/gpu-mem", "unit": "GiB"},
    "reserved": {"cpu": 0, "memory": "0"},
    "nodes": [{"name": "any", "cpu": 32, "memory": "64Gi", "cards": 1, "card_memory": 16, "price": 1, "labels": UNUSED_LABEL}],
}
NO_VARIABLES: Mapping[str, str] = {}
NO_NOTIFICATIONS = {"MONOPOD_WECHAT_ROBOT": "", "MONOPOD_WEBHOOK": ""}  # tests send no notification
CI_VARIABLES = {"GITLAB_USER_LOGIN": "ann", "CI_PROJECT_PATH": "like/models", "CI_COMMIT_REF_NAME": "cats"}


def regions_of(gateway: Gateway, contexts: Mapping[str, str]) -> str:
    """Return the text of a regions.yaml. contexts: region -> context. The gateway is in hk, which has the real node."""
    regions: dict[str, Any] = {
        name: {**REGION_FIELDS, **gateway.region, "context": context} for name, context in contexts.items()
    }
    if "hk" in regions:
        regions["hk"]["way_in"] = gateway.url
    found = {"currency": "USD", "registry": REGISTRY, "grey": [*regions][-1], "ab": [*regions][0], "regions": regions}
    return json.dumps(found)  # JSON is YAML


@dataclass(frozen=True)
class Done:
    """A command that has ended."""

    status: int
    out: str
    err: str

    @property
    def text(self) -> str:
        return self.out + self.err


@dataclass
class Started:
    """A command that runs."""

    process: subprocess.Popen[bytes]
    file: Path

    @property
    def text(self) -> str:
        return self.file.read_text()

    def wait_for(self, words: str, seconds: float = 120) -> float:
        """Wait until the command has printed some words, and return how many seconds that took."""
        begin = time.monotonic()
        while words not in self.text:
            assert self.process.poll() is None, f"it ended before {words!r}:\n{self.text}"
            assert time.monotonic() < begin + seconds, f"it did not say {words!r} in {seconds} s:\n{self.text}"
            time.sleep(0.05)
        return time.monotonic() - begin

    def wait_exit(self, status: int, seconds: float = 180) -> str:
        """Wait until the command has ended with a status, and return all that it printed."""
        try:
            found = self.process.wait(seconds)
        except subprocess.TimeoutExpired:
            found = None
        assert found == status, f"status {found}:\n{self.text}"
        return self.text


@dataclass
class Checkout:
    """A checkout of one service, and the clusters that its regions.yaml names."""

    folder: Path
    user: str
    contexts: dict[str, str]  # region -> context
    name: str = "digits"
    gateway: Gateway = ENVOY_GATEWAY
    environment: dict[str, str] = field(default_factory=dict)
    started: list[Started] = field(default_factory=list)

    def __post_init__(self) -> None:
        (self.folder / "model").mkdir(parents=True)
        (self.folder / "model" / "digits.onnx").symlink_to(ROOT / "bench/digits/model/digits.onnx")
        self.regions_file.write_text(regions_of(self.gateway, self.contexts))
        self.write_value()

    @property
    def regions_file(self) -> Path:
        return self.folder / "regions.yaml"

    def write_value(self, **settings: Any) -> None:
        """Write value.py with the usual settings and these."""
        (self.folder / "value.py").write_text(value(service_name=self.name, username=self.user, **settings))

    def set_windows(self, **windows: str) -> None:
        """Write regions.yaml again with release windows. windows: region -> window; other regions have none."""
        found = json.loads(self.regions_file.read_text())
        for name, region in found["regions"].items():
            region["windows"] = [windows[name]] if name in windows else []
        self.regions_file.write_text(json.dumps(found))

    def set_region(self, **fields: Any) -> None:
        """Write regions.yaml again with these fields in every region."""
        found = json.loads(self.regions_file.read_text())
        for region in found["regions"].values():
            region.update(fields)
        self.regions_file.write_text(json.dumps(found))

    def let_prometheus_scrape(self) -> None:
        """Write regions.yaml again with the label by which the cluster's Prometheus finds monitors."""
        self.set_region(prometheus={**REGION_FIELDS["prometheus"], "labels": {"release": "prometheus"}})

    def command(self, name: str, *words: str, tag: str = "") -> list[str]:
        named = ["--image", image(tag)] if tag else []
        command = [sys.executable, "-m", "monopod", name, "--service", str(self.folder), "--regions", str(self.regions_file)]
        return [*command, *named, *words]

    def command_environment(self, more: Mapping[str, str]) -> dict[str, str]:
        own = {"PYTHONPATH": PYTHONPATH, "NO_PROXY": "*", **CI_VARIABLES, **NO_NOTIFICATIONS}
        return {**os.environ, **own, **self.environment, **more}

    def run(
        self, name: str, *words: str, tag: str = "", status: int | None = 0, more: Mapping[str, str] = NO_VARIABLES
    ) -> Done:
        """Run a command, which must end with a status. status: None for any. more: added to its environment."""
        command = self.command(name, *words, tag=tag)
        done = subprocess.run(command, env=self.command_environment(more), capture_output=True, text=True, timeout=300)
        assert status in (None, done.returncode), f"status {done.returncode}:\n{done.stdout}{done.stderr}"
        assert "Traceback" not in done.stderr
        return Done(done.returncode, done.stdout, done.stderr)

    def start(self, name: str, *words: str, tag: str = "", more: Mapping[str, str] = NO_VARIABLES) -> Started:
        """Start a command and do not wait for it."""
        file = self.folder / f"{name}-{time.monotonic_ns()}.log"
        with file.open("wb") as out:
            command = self.command(name, *words, tag=tag)
            environment = self.command_environment({"PYTHONUNBUFFERED": "1", **more})
            process = subprocess.Popen(command, stdout=out, stderr=subprocess.STDOUT, env=environment)
        self.started.append(Started(process, file))
        return self.started[-1]

    def clear(self) -> None:
        """End the commands that a failed test left running."""
        for each in self.started:
            each.process.kill()
            each.process.wait()


MakeCheckout = Callable[..., Checkout]  # of the fixture `make_checkout`: regions in their order, and a name


def deployed(make_checkout: MakeCheckout, tag: str, replicas: int) -> Checkout:
    """Return a checkout whose service runs in hk. tag: of its image. replicas: the number of its pods."""
    made = make_checkout("hk")
    made.write_value(replicas=replicas)
    made.run("deploy", tag=tag)
    return made
