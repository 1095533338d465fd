"""The relay's image in the cluster's registry. Its tag is a digest of its sources, since a node never pulls a tag twice."""

import hashlib
import os
import subprocess

from tests.image.building import STORAGE, buildah
from tests.locks import alone, shared
from tests.running import ROOT, get

REGISTRY = os.environ.get("MONOPOD_TEST_REGISTRY", "localhost:5000")
SOURCES = (
    "relay/*.py", "relay/Dockerfile", "conf/__init__.py", "conf/remote/__init__.py", "conf/remote/wechat_robot.py",
    "image/extras.py", "requirements.lock", "pyproject.toml",
)  # fmt: skip
MANIFEST = "application/vnd.docker.distribution.manifest.v2+json"


def relay_image() -> str:
    digest = hashlib.sha256()
    for path in sorted(path for pattern in SOURCES for path in ROOT.glob(pattern)):
        digest.update(path.read_bytes())
    return f"{REGISTRY}/rollout-test/relay:{digest.hexdigest()[:12]}"


def built() -> str:
    """Build the image, unless this machine has it, and return its name. Of several processes that run at once, one does."""
    name = relay_image()
    with alone("relay-image"):
        if name not in buildah("images", "--format", "{{.Name}}:{{.Tag}}").splitlines():
            with shared(STORAGE):
                done = subprocess.run(["make", "relay-image", f"IMAGE={name}"], cwd=ROOT, capture_output=True, text=True)
            assert done.returncode == 0, done.stdout + done.stderr
    return name


def pushed() -> str:
    """Have the image in the registry, and return its name."""
    name = relay_image()
    where, _, tag = name.removeprefix(f"{REGISTRY}/").rpartition(":")
    if get(f"http://{REGISTRY}/v2/{where}/manifests/{tag}", headers={"Accept": MANIFEST}, method="HEAD")[0] != 200:
        buildah("push", "--quiet", "--tls-verify=false", built())
    return name
