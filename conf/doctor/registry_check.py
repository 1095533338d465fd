"""The check of the registry: whether it answers, and whether it has the image that is to run.

Knows what a deploy asks of a registry. Does not know which secrets nodes pull with: the diagnosis of a failed pull tells that.
"""

from collections.abc import Mapping

from conf.base.image_names import image
from conf.clusters.regions import Regions
from conf.doctor.findings import Finding
from conf.remote import image_registry
from conf.remote.safe_http import NoAnswer, get, in_time


def registry_finding(regions: Regions, name: str, environ: Mapping[str, str]) -> Finding:
    """Return whether an image is in its registry, or, for the name "", whether the registry of regions.yaml answers."""
    return _image(regions, name, environ) if name else _registry(regions)


def _image(regions: Regions, name: str, environ: Mapping[str, str]) -> Finding:
    named = image(name)
    try:
        found = image_registry.digest(named, regions, environ, typed=True)
    except image_registry.RegistryError as error:
        return Finding("", "image", error.words, error.cure)
    return Finding("", "image", f"registry {image_registry.location(named)[0]} has {named.full}: {found}")


def _registry(regions: Regions) -> Finding:
    """Check that the registry answers. A registry that asks for a password does."""
    asked = image_registry.Registry(regions.registry.partition("/")[0], regions.http_registries)

    def ask() -> str:
        return str(get(f"{asked.url}/v2/", {}, "", asked.plain, image_registry.MAX_MANIFEST_BYTES).status)

    try:
        status = in_time(ask, image_registry.TIMEOUT, f"registry {asked.host}")
    except NoAnswer as error:
        return Finding("", "registry", error.words, f"check registry in regions.yaml; {error.cure}")
    if status in ("200", "401", "403"):
        return Finding("", "registry", f"{asked.host} answers; --image asks it for an image")
    cure = "check that registry in regions.yaml names a registry"
    return Finding("", "registry", f"{asked.host} answers with status {status}", cure)
