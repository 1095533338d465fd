"""regions.yaml, read and checked as strictly as value.py.

Knows which fields must agree with one another. Does not know services.
"""

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

from conf.base.yaml_settings import FileError, Reader, Table
from conf.base.yamls import compose
from conf.clusters.region import Kafka, NodeKind, Region, Regions
from serving.settings import UnreadableError, declared_settings, text_of

DECLARATIONS = tuple(declared_settings())
LARGEST_FILE = 256  # KiB, enough for some hundred regions


class RegionsError(FileError):
    """regions.yaml cannot be used."""


def load(path: Path, shown: str = "conf/regions.yaml") -> Regions:
    """Return the regions of a file. shown: the file's name in mistakes. Raises RegionsError with every mistake."""
    try:
        text = text_of(path, LARGEST_FILE)
    except UnreadableError as error:
        raise RegionsError([f"{shown}: {error}; it names the clusters, and lies in the platform's conf/"]) from None
    return read(text, shown)


def read(text: str, shown: str = "conf/regions.yaml") -> Regions:
    """Return the regions of the file's text. shown: the file's name in mistakes. Raises RegionsError with every mistake."""
    root, mistakes = compose(text)
    reader = Reader(shown, mistakes)
    regions = reader.read(Table(Regions), root, "") if root else None
    if isinstance(regions, Regions):
        for path, message in _disagreements(regions):
            reader.add_mistake(path, message)
    if reader.mistakes or not isinstance(regions, Regions):
        raise RegionsError(reader.sentences())
    return replace(regions, file=shown, lines=reader.lines)


def _disagreements(regions: Regions) -> Iterator[tuple[str, str]]:
    """Yield path and message of each mistake that only two fields together show."""
    known = ", ".join(regions.regions) or "none"
    if not regions.regions:
        yield "regions", "regions is empty: name one cluster at least"
    for track, name in (("grey", regions.grey), ("ab", regions.ab)):
        if name not in regions.regions:
            yield track, f"{track} is {name!r}, which is no region: name one of {known}"
    contexts: dict[str, str] = {}
    for name, region in regions.regions.items():
        if region.context in contexts:
            yield (
                f"regions.{name}.context",
                (f"{name} and {contexts[region.context]} have the context {region.context!r}: two regions are two clusters"),
            )
        contexts.setdefault(region.context, name)
        for clash in (setting for setting in DECLARATIONS if setting.startswith(name + "_")):
            yield f"regions.{name}", f"region {name!r} begins the setting {clash!r} of value.py: name the region otherwise"
        yield from _in_region(f"regions.{name}", region)


def _in_region(path: str, region: Region) -> Iterator[tuple[str, str]]:
    if not region.nodes:
        yield (
            f"{path}.nodes",
            f"{path}.nodes is empty, so that no pod could be placed or priced: name one kind of node at least",
        )
    if region.sidecars and not region.mesh:
        yield f"{path}.mesh", f"{path}.sidecars is true and mesh is empty: name the labels of the mesh's namespaces"
    yield from _in_gateway(f"{path}.gateway", region)
    yield from _in_kafka(f"{path}.kafka", region.kafka) if region.kafka else ()
    if region.alerting and not region.alerting.robot and not region.alerting.webhook:
        yield f"{path}.alerting", f"{path}.alerting: robot and webhook are false, so that alerts reach nobody: set one to true"
    if region.srv and region.srv.first_port > region.srv.last_port:
        yield f"{path}.srv", f"{path}.srv: first_port is above last_port: exchange the two"
    if region.gpu and region.gpu.beside == region.gpu.resource:
        yield f"{path}.gpu", f"{path}.gpu: beside is the resource itself: leave beside out"
    seen = set()
    for index, node in enumerate(region.nodes):
        if node.name in seen:
            yield f"{path}.nodes[{index}]", f"{path}: two kinds of machines are called {node.name!r}: name one otherwise"
        seen.add(node.name)
        yield from _in_node(f"{path}.nodes[{index}]", region, node)


def _in_gateway(path: str, region: Region) -> Iterator[tuple[str, str]]:
    gateway = region.gateway
    if gateway.create and region.routing == "gateway-api" and not gateway.class_:
        yield path, f"{path}: create is true and class is missing: add class: envoy, or as the cluster's GatewayClass is called"
    if gateway.create and region.routing == "istio" and not gateway.selector:
        yield (
            path,
            f"{path}: create is true and selector is missing: add the labels of the proxies, as selector: {{istio: ingress}}",
        )


def _in_kafka(path: str, kafka: Kafka) -> Iterator[tuple[str, str]]:
    if not kafka.brokers:
        yield f"{path}.brokers", f"{path}.brokers is empty: name one broker at least, or leave kafka out"
    if kafka.has_password and not kafka.mechanism:
        words = "add mechanism: PLAIN, SCRAM-SHA-256 or SCRAM-SHA-512"
        yield path, f"{path}: security is {kafka.security} and mechanism is missing: {words}"
    if kafka.mechanism and not kafka.has_password:
        words = f"set security to sasl_ssl or sasl_plaintext, or leave mechanism {kafka.mechanism} out"
        yield f"{path}.mechanism", f"{path}: security is {kafka.security}, which asks for no password: {words}"
    if kafka.ca_secret and not kafka.has_tls:
        yield f"{path}.ca_secret", f"{path}: security is {kafka.security}, which checks no CA: leave ca_secret out"


def _in_node(path: str, region: Region, node: NodeKind) -> Iterator[tuple[str, str]]:
    if bool(node.cards) != bool(node.card_memory):
        yield path, f"{path}: cards is {node.cards} and card_memory {node.card_memory:g}: set both, or neither"
    if node.cards and not region.gpu:
        yield path, f"{path} has cards, and its region does not say how they are asked for: add gpu to the region"
