"""Fixtures of the tests that deploy to real clusters: the API servers, images, and checkouts of services."""

import os
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from conf.clusters.regions import read
from tests.conf.cluster import Cluster, clusters
from tests.conf.heartbeats import sending_heartbeats
from tests.conf.prompt_reload import reloading_promptly
from tests.conf.rollout.checkout import Checkout, MakeCheckout, regions_of
from tests.conf.rollout.gateways import ENVOY_GATEWAY, Gateway, limited, named
from tests.conf.rollout.images import pushed, remove_local

WORKER = os.environ.get("PYTEST_XDIST_WORKER", "one")


@pytest.fixture(scope="session")
def servers() -> Iterator[dict[str, Cluster]]:
    """Each region's API server, or the current context's where a region has none. Simulated nodes get heartbeats."""
    found = clusters(["hk", "eu", "na"])
    with ExitStack() as stack:
        for server in set(found.values()):
            stack.enter_context(sending_heartbeats(server))
        yield found


@pytest.fixture(scope="session")
def hk(servers: dict[str, Cluster]) -> Cluster:
    return servers["hk"]


@pytest.fixture(scope="module")
def prompt_reload(hk: Cluster) -> Iterator[None]:
    """Prometheus and Alertmanager read changes of their configuration at once, where tests wait for that alone."""
    with reloading_promptly(hk):
        yield


@pytest.fixture(scope="session")
def eu(servers: dict[str, Cluster]) -> Cluster:
    return servers["eu"]


@pytest.fixture(scope="session")
def images(needs: Callable[[str, str], str]) -> Iterator[None]:
    """Images in the registry."""
    needs("buildah", "buildah")
    made = pushed()
    yield
    if made:  # last, since a removal waits for every build
        remove_local()


@pytest.fixture(scope="module")
def user(request: pytest.FixtureRequest, servers: dict[str, Cluster]) -> Iterator[str]:
    """A namespace of the test file's own in every cluster. It is also the services' username."""
    short = request.module.__name__.rpartition("test_")[2].removesuffix("_on_a_cluster").replace("_", "-")
    name = f"rollout-test-{short}-{WORKER}"
    used = {server.context: server for server in servers.values()}
    made = [server.own_namespaces(name) for server in used.values()]
    for each in made:
        each.__enter__()
    yield name
    for each in made:
        each.__exit__(None, None, None)


@pytest.fixture(scope="module")
def gateway(request: pytest.FixtureRequest) -> Gateway:
    """The gateway that requests go through: Envoy Gateway's, or the one of the test's parameter."""
    return named(getattr(request, "param", ENVOY_GATEWAY.routing))


@pytest.fixture(scope="module")
def buffers(gateway: Gateway, hk: Cluster) -> Iterator[None]:
    """The gateway's proxies buffer as much of a request as regions.yaml says. Only one test at a time may use this."""
    with limited(hk, read(regions_of(gateway, {"hk": hk.context})).regions["hk"]):
        yield


@pytest.fixture
def make_checkout(user: str, servers: dict[str, Cluster], gateway: Gateway, tmp_path: Path) -> Iterator[MakeCheckout]:
    """Return a function that makes a checkout for some regions, in their order."""
    checkouts: list[Checkout] = []

    def make(*regions: str, name: str = "digits") -> Checkout:
        contexts = {region: servers[region].context for region in regions}
        made = Checkout(tmp_path / f"service-{name}", user, contexts, name, gateway)
        checkouts.append(made)
        return made

    yield make
    for each in checkouts:
        each.clear()
