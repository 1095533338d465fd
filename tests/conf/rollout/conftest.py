"""Fixtures of the tests that deploy to real clusters: the API servers, images that fail in every way, and desks."""

import os
import subprocess
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest

from tests.conf.cluster import Cluster, clusters
from tests.conf.heartbeats import beating
from tests.conf.rollout.desk import SETTINGS, Desk, image
from tests.image.building import buildah, context, made
from tests.running import ROOT

OWN = "from serving.service import Service\n\n\nclass Own(Service):\n    def setup(self):\n        "


def value(**settings: Any) -> str:
    found = {"service_name": "digits", "username": "like", **SETTINGS, **settings}
    return "".join(f"{name} = {value!r}\n" for name, value in found.items())


SERVING = ("1", "2", "3")
# What is laid over them: tag -> files.
OTHERS = {
    "crash": {"model/digits.onnx": "this is no model"},
    "no-model": {"value.py": value(model_path="model/other.onnx")},
    "sleeps": {"src/server.py": f"import time\n{OWN}time.sleep(600)\n"},
    "swells": {"src/server.py": f"{OWN}self.kept = b'x' * 2**30\n"},
    "ab": {"value.py": value(service_name="rollout-ab")},
    "demo": {"value.py": value(service_name="demo")},
    "demo-2": {"value.py": value(service_name="demo-2")},
}
WORKER = os.environ.get("PYTEST_XDIST_WORKER", "one")


@pytest.fixture(scope="session")
def servers() -> Iterator[dict[str, Cluster]]:
    """Each region's API server; where a context is missing, the current one's. Simulated nodes are kept alive."""
    found = clusters(["hk", "eu", "na"])
    with ExitStack() as stack:
        for server in set(found.values()):
            stack.enter_context(beating(server))
        yield found


@pytest.fixture(scope="session")
def images(needs: Callable[[str, str], str], tmp_path_factory: pytest.TempPathFactory) -> None:
    """Images in the registry: three versions of the digits, one for each way to fail, and some of other names."""
    needs("buildah", "buildah")
    folder = context(tmp_path_factory.mktemp("rollout") / "context")
    (folder / "src/server.py").unlink()
    for model in (folder / "model").iterdir():
        model.unlink()
    (folder / "model/digits.onnx").write_bytes((ROOT / "bench/digits/model/digits.onnx").read_bytes())
    (folder / "value.py").write_text(value())
    made(folder, image("1"))
    for tag in SERVING[1:]:
        buildah("tag", image("1"), image(tag))
    for tag, files in OTHERS.items():
        _lay_over(folder, tag, files)
    for tag in (*SERVING, *OTHERS):
        push(image(tag))


def push(name: str) -> None:
    subprocess.run(["buildah", "push", "--quiet", "--tls-verify=false", name], check=True, capture_output=True)


def _lay_over(folder: Path, tag: str, files: dict[str, str]) -> None:
    """Make an image of the one that serves, with other files."""
    container = buildah("from", "--pull-never", image("1"))
    for name, text in files.items():
        file = folder / tag / Path(name).name
        file.parent.mkdir(exist_ok=True)
        file.write_text(text)
        buildah("copy", "--chmod", "0644", container, str(file), f"/app/{name}")
    buildah("commit", "--quiet", "--format", "docker", container, image(tag))
    buildah("rm", container)


@pytest.fixture(scope="module")
def user(request: pytest.FixtureRequest, servers: dict[str, Cluster]) -> Iterator[str]:
    """A namespace of the test file's own in every cluster; it is the services' username."""
    short = request.module.__name__.rpartition("test_")[2].removesuffix("_on_a_cluster").replace("_", "-")
    name = f"rollout-test-{short}-{WORKER}"
    used = {server.context: server for server in servers.values()}
    made = [server.own_namespaces(name) for server in used.values()]
    for each in made:
        each.__enter__()
    yield name
    for each in made:
        each.__exit__(None, None, None)


@pytest.fixture
def desk(user: str, servers: dict[str, Cluster], tmp_path: Path) -> Iterator[Callable[..., Desk]]:
    """Return what makes a desk for some regions, in their order."""
    desks: list[Desk] = []

    def make(*regions: str, name: str = "digits") -> Desk:
        contexts = {region: servers[region].context for region in regions}
        made = Desk(tmp_path / f"service-{name}", user, contexts, name)
        desks.append(made)
        return made

    yield make
    for each in desks:
        each.clear()
