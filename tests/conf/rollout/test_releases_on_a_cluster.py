"""Releases of the platform beside each other, on a real node: a service of one is deployed, judged and rolled back by another.

The other one is each release of conf/RELEASES, and one to come, which changes the objects.
"""

import io
import json
import os
import subprocess
import sys
import tarfile
from pathlib import Path
from typing import Any

import pytest

from ci.releases import read
from tests.charts import helm
from tests.conf.rollout.checkout import MakeCheckout
from tests.conf.rollout.load import loaded
from tests.conf.rollout.service_state import status_row, until, url, version
from tests.running import ROOT

pytestmark = [pytest.mark.cluster, pytest.mark.usefixtures("images", "buffers")]
LISTED = {release.tag: release.commit for release in read((ROOT / "conf/RELEASES").read_text())}
TO_COME = "to-come"
REPLICAS = "{% if workload.sets_replicas %}\n"
SETTINGS: dict[str, Any] = {"replicas": 2, "canary_step_second": 180, "canary_margin": 0.0001}  # no verdict comes meanwhile
BUSY = 16


@pytest.fixture(params=[*LISTED, TO_COME])
def other(request: pytest.FixtureRequest, tmp_path: Path) -> dict[str, str]:
    """The environment in which a command is another release's."""
    command = ["git", "-C", str(ROOT), "archive", LISTED.get(request.param, "HEAD"), "src", "conf", "templates", "charts"]
    folder = tmp_path / "platform"
    with tarfile.open(fileobj=io.BytesIO(subprocess.run(command, stdout=subprocess.PIPE, check=True).stdout)) as packed:
        packed.extractall(folder)
    if request.param == TO_COME:
        template = folder / "templates/deployment.yaml"
        template.write_text(template.read_text().replace(REPLICAS, f"  minReadySeconds: 2\n{REPLICAS}", 1))
    return {"PYTHONPATH": f"{folder / 'src'}:{folder}"}


@pytest.mark.parametrize("chart", helm.CHARTS, ids=lambda chart: chart.name)
def test_a_chart_takes_the_values_of_another_release(chart: Path, other: dict[str, str]) -> None:
    command = [sys.executable, "-P", "-m", "monopod", "values", "--region", "hk", "--chart", chart.name, "--json"]
    command += ["--regions", str(ROOT / "conf/regions.yaml")]
    said = subprocess.run(command, env=os.environ | other, stdout=subprocess.PIPE, check=True)
    assert helm.rendered(chart, json.loads(said.stdout)) != []


def test_a_service_goes_from_one_release_to_another_and_back_with_no_request_lost(
    make_checkout: MakeCheckout, other: dict[str, str]
) -> None:
    mine = make_checkout("hk")
    mine.let_prometheus_scrape()
    mine.write_value(**SETTINGS)
    mine.run("deploy", tag="1", more=other)
    with loaded(url(mine), 20.0) as load:
        mine.run("deploy", tag="2")
        assert version(url(mine)) == "2"
        told = json.loads(mine.run("history", "--json", "--track", "prod", more=other).out)
        assert [each["version"] for each in told] == ["2", "1"]
        mine.run("rollback", more=other)
        assert version(url(mine)) == "1"
        for first, then in ((other, {}), ({}, other)):
            mine.environment = first
            job = mine.start("deploy", "--canary", "50", tag="2")
            until(lambda: (status_row(mine, status=None)["canary"] or {"phase": ""})["phase"] == "judging")
            mine.environment = then
            assert status_row(mine, status=None)["canary"]["share"] == 50
            assert "has been deploying it since" in mine.run("rollback", status=BUSY).err
            job.process.kill()
            mine.run("rollback", "--wait", "60")
            assert version(url(mine)) == "1"
            assert status_row(mine)["canary"] is None
    assert load.lost() == []
