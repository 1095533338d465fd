"""Images of the digits in a registry: three versions that serve, one for each way to fail, and some of other names.

Their repository is named after a digest of their sources, since a node that has pulled a tag never asks for it again.
"""

import hashlib
import os
import subprocess
import tempfile
from functools import cache
from pathlib import Path
from typing import Any

from tests.image.building import FOLDERS, PARTS, buildah, context, made, remove
from tests.locks import alone
from tests.running import ROOT, get

REGISTRY = os.environ.get("MONOPOD_TEST_REGISTRY", "localhost:5000")
SETTINGS: dict[str, Any] = {
    "cpu": 0.1,
    "memory": "512Mi",
    "init_delay_second": 20,
    "timeout_second": 5,
    "upload_timeout_second": 2,
    "drain_delay_second": 0.5,
    "queue_limit": 256,
    "max_rows_per_request": 8,
    "max_body": "4Mi",
    "model_path": "model/digits.onnx",
}
DRAIN_DELAY = 5  # seconds, above two probes of a gateway that probes every 2 s
OWN = "from serving.api import Service\n\n\nclass Own(Service):\n    def setup(self):\n        "
MANIFEST = "application/vnd.docker.distribution.manifest.v2+json"
SERVING = ("1", "2", "3")
DIGITS = ROOT / "bench/digits/model/digits.onnx"


def value(**settings: Any) -> str:
    """Return a value.py with the usual settings and these."""
    found = {"service_name": "digits", "username": "like", **SETTINGS, **settings}
    return "".join(f"{name} = {value!r}\n" for name, value in found.items())


MOODY = (ROOT / "tests/services/moody/src/server.py").read_text()
SEEN = (ROOT / "tests/services/seen/src/server.py").read_text()
LOOPBACK = (ROOT / "tests/services/loopback/src/sitecustomize.py").read_text()
SEEN_SETTINGS: dict[str, Any] = {"service_name": "seen", "replicas": 2, "queue_limit": 8, "max_body": "16Mi"}
WORSE = (ROOT / "tests/services/worse/src/server.py").read_text()
OFFLINE_SETTINGS: dict[str, Any] = {
    "offline_source": "kafka:monopod-test-rollout-digits",
    "offline_sinks": ["kafka:monopod-test-rollout-answers"],
    "offline_group": "monopod-test-rollout",
    "offline_start": "earliest",
    "offline_revoke_second": 5,
}
SLEEPING = (ROOT / "tests/services/sleeping/src/server.py").read_text()
SLEEPING_SETTINGS: dict[str, dict[str, Any]] = {
    name: {
        "service_name": name,
        "model_path": "",
        "max_batch_size": 1,
        "timeout_second": 20,
        "objective_latency_ms": 2000,
        "queue_limit": 64,
        "options": options,
    }
    for name, options in {"sleeping": {"sleeps": 0.25}, "working": {"works": 0.01}}.items()
}
STEADY = (ROOT / "tests/services/steady/src/server.py").read_text()
STEADY_SETTINGS: dict[str, Any] = {"model_path": "", "max_batch_size": 8}
STEADY_SERVERS = {
    "steady": STEADY,
    "steady-fails": STEADY.replace("FAILING = 0.001", "FAILING = 0.02"),
    "steady-slower": STEADY.replace("SECONDS = 0.04", "SECONDS = 0.052"),
}
PROGRAM = (ROOT / "tests/services/program/src/server.py").read_text()
PROGRAM_SETTINGS: dict[str, Any] = {"model_path": "", "stuck_after_second": 2}
LEAKING = (ROOT / "tests/services/leaking/src/server.py").read_text()
# Each of three pods at 40 requests a second takes over ten minutes to its level. Kubernetes has forgotten its back-off by then.
SLOWLY_LEAKING = LEAKING.replace("256 * 1024", "4 * 1024").replace("0.2, 1.0, 2.0", "5.0, 60.0, 660.0")
LEAKING_SETTINGS: dict[str, Any] = {"model_path": "", "memory": "256Mi", "recycle_at_memory": 0.35, "replicas": 3}
SECURE_SETTINGS: dict[str, Any] = {
    **OFFLINE_SETTINGS,
    "offline_sinks": ["postgresql:labels"],
    "offline_secret": "like-offline",
    "offline_rate": 20,
    "offline_max_replicas": 2,
    "offline_lag_per_replica": 100,
}
SEEN_BY = {routing: {**SEEN_SETTINGS, "username": f"seen-by-{routing}"} for routing in ("gateway-api", "istio")}
# Tag -> files that replace others of the serving image.
OTHERS = {
    "crash": {"model/digits.onnx": "this is no model"},
    "no-model": {"value.py": value(model_path="model/other.onnx")},
    "sleeps": {"src/server.py": f"import time\n{OWN}time.sleep(600)\n"},
    "swells": {"src/server.py": f"{OWN}self.kept = b'x' * 2**30\n"},
    "moody": {"src/server.py": MOODY},
    "refuses": {"src/server.py": MOODY, "value.py": value(queue_limit=8)},
    "reads": {"src/server.py": (ROOT / "tests/services/reads/src/server.py").read_text()},
    "fails": {"src/server.py": WORSE.replace("FAILING = 0.0", "FAILING = 0.2")},
    "other": {"src/server.py": (ROOT / "tests/services/other/src/server.py").read_text()},
    **{name: {"src/server.py": SLEEPING, "value.py": value(**found)} for name, found in SLEEPING_SETTINGS.items()},
    **{name: {"src/server.py": text, "value.py": value(**STEADY_SETTINGS)} for name, text in STEADY_SERVERS.items()},
    **{f"seen-{routing}": {"src/server.py": SEEN, "value.py": value(**settings)} for routing, settings in SEEN_BY.items()},
    "program": {"src/server.py": PROGRAM, "value.py": value(**PROGRAM_SETTINGS)},
    "program-fails": {
        "src/server.py": PROGRAM.replace("FAILING = 0.0", "FAILING = 0.2"),
        "value.py": value(**PROGRAM_SETTINGS),
    },
    "leaking": {"src/server.py": SLOWLY_LEAKING, "value.py": value(**LEAKING_SETTINGS)},
    "drains": {"value.py": value(drain_delay_second=DRAIN_DELAY)},
    "ab": {"value.py": value(service_name="rollout-ab")},
    "offline": {"value.py": value(**OFFLINE_SETTINGS)},
    "offline-secure": {"value.py": value(**SECURE_SETTINGS), "src/sitecustomize.py": LOOPBACK},
    "demo": {"value.py": value(service_name="demo")},
    "demo-2": {"value.py": value(service_name="demo-2")},
}
NOT_ASKED = "1@sha256:" + "0" * 64  # a digest that no registry has; deploys ask no registry for an image by digest
KEPT = "localhost/rollout-test/digits"  # kept on this machine, since the next images share most of its layers
LAST = [*OTHERS][-1]


def image(tag: str) -> str:
    return f"{REGISTRY}/rollout-test/{_content()}/digits:{tag}"


def tagged(tag: str, content: str) -> str:
    """Point a tag to the image of another tag, as a push does, and return the digest. content: the other tag."""
    name, _, _ = image(tag).removeprefix(f"{REGISTRY}/").rpartition(":")
    where = f"http://{REGISTRY}/v2/{name}/manifests"
    status, body = get(f"{where}/{content}", headers={"Accept": MANIFEST})
    assert status == 200, body
    assert get(f"{where}/{tag}", body, {"Content-Type": MANIFEST}, "PUT")[0] == 201
    return f"sha256:{hashlib.sha256(body).hexdigest()}"


def pushed() -> bool:
    """Put all images into the registry, and return whether this process made them. Of several that run at once, one does."""
    with alone("images"):
        if _is_there(LAST):
            return False
        with tempfile.TemporaryDirectory() as folder:
            _make(Path(folder) / "context")
        for tag in (*SERVING, *OTHERS):
            _push(image(tag))
        buildah("tag", image(SERVING[0]), KEPT)
        return True


def remove_local() -> None:
    """Remove the images from this machine; the registry keeps them."""
    remove(*map(image, (*SERVING, *OTHERS)))


def _push(name: str) -> None:
    subprocess.run(["buildah", "push", "--quiet", "--tls-verify=false", name], check=True, capture_output=True)


@cache
def _content() -> str:
    """Return a digest of all sources of the images."""
    files = [ROOT / part for part in PARTS]
    files += [path for folder in FOLDERS for path in (ROOT / folder).rglob("*") if path.is_file() and path.suffix != ".pyc"]
    digest = hashlib.sha256(repr((value(offline_source=""), OTHERS)).encode())
    for path in sorted(files):
        digest.update(path.read_bytes())
    return digest.hexdigest()[:12]


def _is_there(tag: str) -> bool:
    name, _, _ = image(tag).removeprefix(f"{REGISTRY}/").rpartition(":")
    return get(f"http://{REGISTRY}/v2/{name}/manifests/{tag}", headers={"Accept": MANIFEST}, method="HEAD")[0] == 200


def _make(folder: Path) -> None:
    context(folder)
    (folder / "src/server.py").unlink()
    for model in (folder / "model").iterdir():
        model.unlink()
    (folder / "model/digits.onnx").write_bytes(DIGITS.read_bytes())
    (folder / "value.py").write_text(value(offline_source=""))  # so that the image holds what offline pods need
    made(folder, image(SERVING[0]))
    for tag in SERVING[1:]:
        buildah("tag", image(SERVING[0]), image(tag))
    for tag, files in OTHERS.items():
        _lay_over(folder, tag, files)


def _lay_over(folder: Path, tag: str, files: dict[str, str]) -> None:
    """Make an image from the serving one, with some files replaced."""
    container = buildah("from", "--pull-never", image(SERVING[0]))
    for name, text in files.items():
        file = folder / tag / Path(name).name
        file.parent.mkdir(exist_ok=True)
        file.write_text(text)
        buildah("copy", "--chmod", "0644", container, str(file), f"/app/{name}")
    buildah("commit", "--quiet", "--format", "docker", container, image(tag))
    buildah("rm", container)
