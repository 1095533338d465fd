"""The relay's image, built by buildah as its make target does."""

from collections.abc import Callable
from pathlib import Path

import pytest

from tests.image.building import about, mounted, refused
from tests.relay.relay_image import built
from tests.running import ROOT

pytestmark = pytest.mark.cluster


@pytest.fixture(scope="module")
def image(needs: Callable[[str, str], str]) -> str:
    needs("buildah", "buildah")
    return built()


def test_it_holds_the_relay_and_of_conf_one_module(image: str) -> None:
    own = {f"relay/{path.name}" for path in (ROOT / "relay").glob("*.py")}
    with mounted(image) as root:
        found = {str(path.relative_to(root / "app")) for path in (root / "app").rglob("*.py")}
        packages = {path.name.partition("-")[0] for path in root.glob("venv/lib/*/site-packages/*.dist-info")}
        compiled = {path.name.partition(".")[0] for path in (root / "app/relay/__pycache__").iterdir()}
        writable = [path for path in (root / "app").rglob("*") if path.stat().st_mode & 0o022 or path.stat().st_uid]
    assert found == {*own, "conf/__init__.py", "conf/remote/__init__.py", "conf/remote/wechat_robot.py"}
    assert {"aiohttp", "yarl"} <= packages
    assert packages & {"pip", "setuptools", "kubernetes", "flask", "numpy", "monopod"} == set()
    assert compiled == {Path(name).stem for name in own}
    assert writable == []


def test_it_runs_as_a_user_without_rights_and_says_what_is_wrong_with_a_setting(image: str) -> None:
    config = about(image)["Docker"]["config"]
    assert (config["User"], config["Cmd"]) == ("65532:65532", ["python", "-m", "relay"])
    status, words = refused(image, "env", "RELAY_PORT=x", "python", "-m", "relay")
    assert status == 1
    assert words.startswith("RELAY_PORT is 'x': ")
    assert "Traceback" not in words
