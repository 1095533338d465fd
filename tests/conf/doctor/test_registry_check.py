"""The doctor's findings about a registry and an image, over real sockets."""

from dataclasses import replace

from conf.doctor.registry_check import registry_finding
from tests.conf.golden import regions
from tests.conf.image_registry import running_registry


def test_a_registry_that_answers_passes_whether_or_not_it_asks_for_a_password() -> None:
    with running_registry() as hub:
        ours = replace(regions(), registry=f"{hub.host}/models")
        for hub.status in (200, 401, 403):
            found = registry_finding(ours, "", {})
            assert (found.words, found.cure) == (f"{hub.host} answers; --image asks it for an image", "")
        hub.status = 404
        assert registry_finding(ours, "", {}).cure == "check that registry in regions.yaml names a registry"
    found = registry_finding(ours, "", {})
    assert "Connection refused" in found.words
    assert found.cure.startswith("check registry in regions.yaml; is its name right")


def test_an_image_is_asked_for_as_a_deploy_does_and_told_with_its_digest_or_the_cure() -> None:
    account = {"REGISTRY_PULL_USER": "ann", "REGISTRY_PULL_PASSWORD": "hidden"}
    with running_registry() as hub:
        digest = hub.push("like/demo", "1", "first")
        name = f"{hub.host}/like/demo:1"
        found = registry_finding(regions(), name, {})
        assert (found.words, found.cure) == (f"registry {hub.host} has {name}: {digest}", "")
        assert "was it pushed" in registry_finding(regions(), f"{name}2", {}).cure
        assert "it was deleted there" in registry_finding(regions(), f"{name}@sha256:{'0' * 64}", {}).cure
        hub.user, hub.password = "ann", "hidden"
        assert "set REGISTRY_PULL_USER" in registry_finding(regions(), name, {}).cure
        assert registry_finding(regions(), name, account).cure == ""
