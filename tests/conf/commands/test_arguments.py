"""deploy and diff ask the registry before any cluster. Here no cluster is there, and the registry is a server on a socket."""

import re
from argparse import Namespace
from collections.abc import Iterator
from pathlib import Path

import pytest

from conf.clusters.regions import load
from conf.commands.arguments import checked_service, rendered
from conf.plan.plan import Plan
from conf.render import templates
from conf.render.templates import render
from tests.conf.commands.test_deploy_command import LATER, NOWHERE
from tests.conf.image_registry import Registry, running_registry
from tests.conf.rollout.checkout import Checkout
from tests.conf.rollout.images import NOT_ASKED

NO_CLUSTER = "context 'hk' cannot be used"


@pytest.fixture
def hub() -> Iterator[Registry]:
    with running_registry() as server:
        yield server


@pytest.fixture
def checkout(tmp_path: Path) -> Checkout:
    return Checkout(tmp_path / "service", "like", {"hk": "hk", "eu": "eu"})


def test_a_tag_is_asked_for_once_and_every_region_gets_its_digest(checkout: Checkout, hub: Registry, tmp_path: Path) -> None:
    digest = hub.push("like/digits", "v1", "first")
    image, out = f"{hub.host}/like/digits:v1", tmp_path / "rendered"
    done = checkout.run("deploy", "--image", image, "--output", str(out), status=11, more=NOWHERE)
    assert NO_CLUSTER in done.err
    assert done.out.splitlines()[0] == f"{image} is {digest[:19]}"
    assert [path for path, _ in hub.received] == ["/v2/like/digits/manifests/v1"]
    files = sorted(out.iterdir())
    assert [path.name for path in files] == ["eu-prod.yaml", "hk-prod.yaml"]
    for path in files:
        text = path.read_text()
        assert re.findall(r"image: (\S+)", text) == [f'"{hub.host}/like/digits@{digest}"']
        assert f'- name: "MONOPOD_DIGEST"\n              value: "{digest}"' in text
        assert '"version": "v1"' in text


def test_the_region_that_is_chosen_is_written_alone(checkout: Checkout, hub: Registry, tmp_path: Path) -> None:
    hub.push("like/digits", "v1", "first")
    words = ["--region", "eu", "--image", f"{hub.host}/like/digits:v1", "--output", str(tmp_path / "rendered")]
    checkout.run("deploy", *words, status=11, more=NOWHERE)
    assert [path.name for path in (tmp_path / "rendered").iterdir()] == ["eu-prod.yaml"]


@pytest.mark.parametrize("command", ["deploy", "diff"])
def test_an_image_that_is_not_there_ends_the_command_before_any_cluster_is_asked(
    checkout: Checkout, hub: Registry, command: str
) -> None:
    done = checkout.run(command, "--image", f"{hub.host}/like/digits:v1", status=32, more=NOWHERE)
    assert f"registry {hub.host} has no image {hub.host}/like/digits:v1;" in done.err
    assert NO_CLUSTER not in done.err
    hub.user = "ann"
    told = checkout.run(command, "--image", f"{hub.host}/like/digits:v1", status=32, more=NOWHERE).err
    assert "set REGISTRY_PULL_USER and REGISTRY_PULL_PASSWORD" in told


def test_a_deploy_job_asks_with_the_account_that_it_has(checkout: Checkout, hub: Registry) -> None:
    hub.user, hub.password = "ann", "hidden"
    hub.push("like/digits", "v1", "first")
    account = {"REGISTRY_PULL_USER": "ann", "REGISTRY_PULL_PASSWORD": "hidden"}
    done = checkout.run("deploy", "--image", f"{hub.host}/like/digits:v1", status=11, more={**NOWHERE, **account})
    assert "hidden" not in done.text
    assert len(hub.received) == 3


@pytest.mark.parametrize("command", ["deploy", "diff"])
def test_an_image_by_its_digest_is_asked_for_nowhere(checkout: Checkout, command: str) -> None:
    assert NO_CLUSTER in checkout.run(command, tag=NOT_ASKED, status=11, more=NOWHERE).err


@pytest.mark.parametrize("command", ["deploy", "diff"])
def test_without_an_image_the_push_is_named(checkout: Checkout, command: str) -> None:
    told = checkout.run(command, status=2, more=NOWHERE).err
    image = "localhost:5000/like/digits:1"
    assert told.startswith(f"--image is missing: {command} takes")
    assert f"make push IMAGE={image}, then --image {image}" in told


def test_mistakes_and_windows_come_before_the_registry(checkout: Checkout, hub: Registry) -> None:
    image = f"{hub.host}/like/digits:v1"
    checkout.set_windows(hk=LATER)
    checkout.run("deploy", "--image", image, status=31, more=NOWHERE)
    checkout.write_value(cpu="much")
    checkout.run("deploy", "--image", image, status=1, more=NOWHERE)
    assert hub.received == []


def test_each_chosen_region_is_rendered_once_from_the_check_to_the_cluster(
    checkout: Checkout, monkeypatch: pytest.MonkeyPatch
) -> None:
    regions, asked = load(checkout.regions_file), list[str]()

    def counted(plan: Plan) -> str:
        asked.append(plan.region)
        return render(plan)

    monkeypatch.setattr(templates, "render", counted)
    flags = {"name": "deploy", "service": checkout.folder, "image": f"like/digits:{NOT_ASKED}", "json": False}
    arguments = Namespace(track="prod", region="eu", **flags)
    made = rendered(arguments, checked_service(arguments, regions), regions)
    assert [item["kind"] for item in made["eu"].items][0] == "ServiceAccount"
    assert (list(made), made["eu"].text.count("MONOPOD_DIGEST"), asked) == (["eu"], 1, ["eu"])
